"""From files to embeddings: the usual way, plain torch, and cxrfeat, in turn in one run.

`python benchmarks/extract.py` draws synthetic radiographs (or takes `--images FOLDER`), runs every
way of `ways.py` several times in turn, and prints medians and ratios. Loading a network is left out
of all of them; `--start` measures it.

`--cache` measures an extraction whose pictures were kept by a run of another network before,
against the network alone.

The table also gives the measured rate of matrix products of the processor, and which share of it
each network alone reaches (direct convolution counted, so that Winograd's may be above 1).
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import cycle
from pathlib import Path

import numpy as np
from ways import in_process, sources

NETWORKS = ("vgg16", "vgg19", "resnet50")
DRAWN = 64
"""Different ones of the large pictures; further ones are copies, as drawing one takes seconds."""


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory() as folder:
        if options.memory:
            memory(options, Path(folder))
        elif options.scores:
            scores(options, Path(folder))
        elif options.start:
            start(options, Path(folder))
        elif options.cache:
            kept(options, Path(folder))
        elif options.large:
            large(options, Path(folder))
        else:
            table(options, prepare(options, Path(folder) / "images", options.count))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=Path, help="radiographs; default: synthetic, 640 x 640")
    parser.add_argument("--count", type=int, default=48, help="images in each run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--weights", action="append", default=[], help="as cxrfeat extract takes")
    parser.add_argument("--network", action="append", help=f"default: {', '.join(NETWORKS)}")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--runtime", default="auto")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--without-plain", action="store_true", help="saves a fifth of the time")
    parser.add_argument("--large", action="store_true", help="2,500 x 3,000 JPEG and 16-bit PNG")
    parser.add_argument("--cache", action="store_true", help="from kept pictures")
    parser.add_argument("--memory", type=int, nargs="+", metavar="N", help="peak memory, N images")
    parser.add_argument("--image-size", type=int, help="for --memory: a small one saves time")
    parser.add_argument("--start", action="store_true", help="from the command to the first row")
    parser.add_argument(
        "--scores", action="store_true",
        help="what --precision changes in the embeddings and in AUROC; --images in class folders",
    )  # fmt: skip
    options = parser.parse_args()
    options.network = options.network or list(NETWORKS)
    return options


def table(options: argparse.Namespace, images: Path) -> None:
    """Every way in turn, several rounds; medians and ratios."""
    describe(options, images)
    ways = ["usual", "plain", "memory", "cxrfeat"]
    if options.without_plain:
        ways.remove("plain")
    rates: dict[tuple[str, str], list[float]] = {}
    reading: list[float] = []
    limits = in_process(options, "limit", options.network, images)
    for round_ in range(options.rounds):
        for network in options.network:
            for way in ways:
                done = in_process(options, way, [network], images)
                rates.setdefault((network, way), []).append(done["rate"])
        if len(options.network) > 1:
            done = in_process(options, "cxrfeat", options.network, images)
            rates.setdefault(("together", "cxrfeat"), []).append(done["rate"])
        reading.append(done["reading"])
        so_far = ", ".join(f"{name} {way} {found[-1]:.2f}" for (name, way), found in rates.items())
        print(f"round {round_ + 1} of {options.rounds}: {so_far}", file=sys.stderr, flush=True)
    middle = {key: statistics.median(values) for key, values in rates.items()}
    header = ["images/s", *ways, "/ usual", "/ memory", "share of products"]
    print(f"| {' | '.join(header)} |\n|{'---|' * len(header)}")
    for network in options.network:
        cells = [network, *(f"{middle[network, way]:.2f}" for way in ways)]
        cells.append(f"{ratio(rates, (network, 'cxrfeat'), (network, 'usual')):.2f}")
        cells.append(f"{ratio(rates, (network, 'cxrfeat'), (network, 'memory')):.3f}")
        cells.append(f"{middle[network, 'memory'] * limits[network] / limits['products']:.2f}")
        print(f"| {' | '.join(cells)} |")
    print(f"\nmatrix products, {options.precision}: {limits['products'] / 1e9:.0f} GFLOP/s")
    if len(options.network) > 1:
        together = middle["together", "cxrfeat"]
        alone = sum(1 / middle[network, "memory"] for network in options.network)
        print(
            f"all in one run: {together:.2f} images/s, {1 / together / alone:.3f} times the sum of "
            "the networks alone"
        )
    print(f"reading is {statistics.median(reading):.1%} of the work")


def ratio(
    rates: dict[tuple[str, str], list[float]], over: tuple[str, str], under: tuple[str, str]
) -> float:
    """Return the median over the rounds of a ratio within one round."""
    return statistics.median(a / b for a, b in zip(rates[over], rates[under], strict=True))


def large(options: argparse.Namespace, folder: Path) -> None:
    """Repeat the table with pictures of 2,500 x 3,000 pixels."""
    for kind in ("jpg", "png"):
        images = prepare(options, folder / kind, options.count, large=kind)
        print(f"\n2,500 x 3,000, {'JPEG' if kind == 'jpg' else '16-bit PNG'}\n")
        table(options, images)


def kept(options: argparse.Namespace, folder: Path) -> None:
    """Compare an extraction that decodes no image with the network alone.

    A run has a part that does not grow with it (its files are opened, the first image of each
    thread is slower, the last rows are written), so that short ones are behind by more.
    """
    describe(options, options.images)
    images = prepare(options, folder / "images", options.count, "png" if options.large else "")
    cache = folder / "cache"
    done = in_process(options, "cxrfeat", ["squeezenet1_1"], images, cache)
    print(f"keeping them with squeezenet1_1: {done['rate']:.2f} images/s")
    os.sync()  # what was written above is not written while the clock runs
    print("| images/s | memory | cache | cache / memory | ends later, s |\n|---|---|---|---|---|")
    for network in options.network:
        alone, ours = [], []
        for _ in range(options.rounds):
            alone.append(in_process(options, "memory", [network], images)["rate"])
            ours.append(in_process(options, "cxrfeat", [network], images, cache)["rate"])
        pairs = list(zip(ours, alone, strict=True))
        later = statistics.median(options.count / a - options.count / b for a, b in pairs)
        print(
            f"| {network} | {statistics.median(alone):.2f} | {statistics.median(ours):.2f} "
            f"| {statistics.median(a / b for a, b in pairs):.3f} | {later:.2f} |",
            flush=True,
        )


def memory(options: argparse.Namespace, folder: Path) -> None:
    """Peak memory of one process with all networks, for several numbers of images."""
    describe(options, options.images)
    for count in options.memory:
        images = prepare(options, folder / str(count), count)
        done = in_process(options, "cxrfeat", options.network, images)
        print(f"{count} images: peak {done['peak']:.0f} MiB, {done['seconds']:.0f} s", flush=True)


def start(options: argparse.Namespace, folder: Path) -> None:
    """From the command to the first row, conversions cached."""
    images = prepare(options, folder / "images", 1)
    describe(options, images)
    for network in options.network:
        seconds = []
        for _ in range(options.rounds + 1):
            out = tempfile.mkdtemp(dir=folder)
            run = "from cxrfeat.cli import main; main()"
            command = [sys.executable, "-c", run, "extract", str(images), "--out", out]
            command += ["--backbone", network, "--device", options.device]
            for source in sources(options, network):
                command += ["--weights", source]
            begun = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            seconds.append(time.perf_counter() - begun)
        print(f"{network}: {statistics.median(seconds[1:]):.2f} s ({len(seconds) - 1} runs)")


def scores(options: argparse.Namespace, folder: Path) -> None:
    """Compare the embeddings of two precisions, and logistic regression on them, same folds."""
    import cxrfeat

    describe(options, options.images)
    print(f"| {options.precision} against fp32 | largest relative error of a row | AUROC fp32 "
          "| change of AUROC | 95 % by patients |\n|---|---|---|---|---|")  # fmt: skip
    for network in options.network:
        files = [
            cxrfeat.extract(
                options.images, backbone=[network], weights=sources(options, network),
                precision=precision, runtime=options.runtime, device=options.device, out=folder,
            ).files[0].path
            for precision in ("fp32", options.precision)
        ]  # fmt: skip
        exact, ours = (cxrfeat.load(file).numpy() for file in files)
        errors = np.linalg.norm(ours - exact, axis=1) / np.linalg.norm(exact, axis=1)
        done = cxrfeat.fit(files, head=["logreg"], out=folder / network, report=False)
        (pair,) = done.comparisons
        whole = {score.extractor: score.mean["auroc"] for score in done.ranking}
        sign = -1 if pair.first == files[0].stem else 1
        low, high = sorted(sign * bound for bound in pair.bootstrap)
        print(
            f"| {network} | {errors.max():.1e} | {whole[files[0].stem]:.4f} "
            f"| {sign * pair.difference:+.4f} | {low:+.4f} to {high:+.4f} |",
            flush=True,
        )


def prepare(options: argparse.Namespace, folder: Path, count: int, large: str = "") -> Path:
    """Copy or draw images into a folder; numbers beyond the originals repeat them."""
    from PIL import Image

    folder.mkdir(parents=True)
    originals = [p for p in sorted(options.images.rglob("*.*")) if p.is_file()] if options.images \
        else drawn(folder.parent / "drawn")  # fmt: skip
    # Not one class only, whatever the number.
    originals = [originals[i] for i in np.random.default_rng(0).permutation(len(originals))]
    for number, original in zip(range(count), cycle(originals), strict=False):
        name = folder / f"{number:06d}{original.suffix}"
        if not large:
            try:
                os.link(original, name)
            except OSError:
                name.write_bytes(original.read_bytes())
            continue
        if number >= DRAWN:
            first = next(folder.glob(f"{number % DRAWN:06d}.*"))
            shutil.copyfile(first, name.with_suffix(first.suffix))
            continue
        whole = Image.open(original).convert("L").resize((2500, 3000), Image.Resampling.BICUBIC)
        if large == "jpg":
            whole.save(name.with_suffix(".jpg"), quality=92)
        else:
            grain = np.random.default_rng(number).integers(0, 256, (3000, 2500), dtype=np.uint16)
            samples = np.asarray(whole, dtype=np.uint16) * np.uint16(256) + grain // 16
            Image.fromarray(samples).save(name.with_suffix(".png"))
    return folder


def drawn(folder: Path) -> list[Path]:
    """Draw synthetic radiographs."""
    from cxrfeat.images.drawing.phantom import write_phantoms

    if not folder.exists():
        write_phantoms(folder, patients=24, size=640)
    return sorted(folder.rglob("*.png"))


def describe(options: argparse.Namespace, images: Path | None) -> None:
    from cxrfeat.cores import available_cores
    from cxrfeat.features.runtimes.processor import processor

    print(
        f"{available_cores()} cores, {processor()}, {platform.system()}; {options.count} images a "
        f"run, {options.precision}, {options.rounds} rounds"
    )


if __name__ == "__main__":
    main()
