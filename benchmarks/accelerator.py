"""How near an accelerator comes to its own limit, and whether its rows are right.

    python benchmarks/accelerator.py                      # cuda; random weights, drawn pictures
    python benchmarks/accelerator.py --device cpu --count 64 --precision fp32

For each network and precision, in one run: the largest relative error of a row against the CPU in
float32; images/s of the network alone (pictures on the device already), of the extractor (pictures
in memory to rows in memory), and of `cxrfeat extract` from files, and from pictures that were kept
(`--cache`); and which share of the device's measured rate of matrix products the network alone
reaches. From files and kept, the images of the first tenth are not counted: processes start
meanwhile, which takes a second or two of a run of any length.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from extract import drawn
from limits import fastest, operations, product_rate

import cxrfeat
from cxrfeat.cores import available_cores
from cxrfeat.errors import CxrfeatError
from cxrfeat.extraction.batch_memory import BatchMemory
from cxrfeat.features import Extractor, assign_weights, open_extractor
from cxrfeat.features.runtimes.accelerator_runtime import Accelerator
from cxrfeat.images import read_image, resize

NETWORKS = ("vgg16", "vgg19", "resnet50")
COMPARED = 32
"""Pictures whose rows are compared with the CPU's."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--network", nargs="+", default=NETWORKS)
    parser.add_argument("--precision", nargs="+", default=["fp32", "tf32", "bf16", "fp16"])
    parser.add_argument("--weights", nargs="+", default=[], help="as cxrfeat extract takes")
    parser.add_argument("--images", type=Path, help="radiographs; default: synthetic, 640 x 640")
    parser.add_argument("--count", type=int, default=4096, help="images in each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    device = torch.device(options.device)
    told = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(f"{told}, torch {torch.__version__}, {available_cores()} cores, {options.count} images")
    rates = {precision: product_rate(device, precision) for precision in options.precision}
    said = ", ".join(f"{precision} {rate / 1e12:.1f}" for precision, rate in rates.items())
    print(f"matrix products, TFLOP/s: {said}")
    with tempfile.TemporaryDirectory() as folder:
        files = many(options.images, Path(folder), options.count)
        pictures = np.stack([picture(path) for path in files[: min(256, len(files))]])
        print("| network | precision | GFLOP | error | network alone | share of products "
              "| extractor | / alone | from files | / alone | kept | / alone |")  # fmt: skip
        print(f"|{'---|' * 12}")
        cxrfeat.extract(
            Path(folder) / "images", backbone=["squeezenet1_1"], weights=["random"],
            device=options.device, out=Path(folder) / "kept", cache=Path(folder) / "cache",
        )  # fmt: skip
        for network, precision in product(options.network, options.precision):
            line(options, network, precision, rates[precision], pictures, Path(folder))


def line(
    options: argparse.Namespace,
    network: str,
    precision: str,
    rate: float,
    pictures: np.ndarray,
    folder: Path,
) -> None:
    """Print one row of the table."""
    source = [w for w in options.weights if w.startswith(f"{network}=")] or [f"{network}=random"]
    choice = assign_weights([network], source)[network]
    try:
        extractor = open_extractor(
            network, weights=choice, precision=precision, device=options.device
        )
    except CxrfeatError as error:
        print(f"| {network} | {precision} | {error} |", flush=True)
        return
    compared = pictures[:COMPARED]
    reference = open_extractor(network, weights=choice, device="cpu", runtime="torch")
    exact, rows = reference(compared), extractor(compared)
    error = (np.linalg.norm(rows - exact, axis=1) / np.linalg.norm(exact, axis=1)).max()
    flop, alone = operations(reference), of_network(extractor, options)
    there, _ = extractor.with_maps(compared)
    same = "" if np.array_equal(there, rows) else " (other bits with maps)"
    times = -(-options.count // len(pictures))
    batches = times * [
        pictures[start : start + extractor.batch]
        for start in range(0, len(pictures), extractor.batch)
    ]
    memory, room = [], BatchMemory(pinned=extractor.pinned)
    for _ in range(options.rounds):
        begun = time.perf_counter()
        with ThreadPoolExecutor(extractor.at_once) as calls:
            deque(calls.map(lambda batch: extractor(room.together(batch)), batches), maxlen=0)
        memory.append(times * len(pictures) / (time.perf_counter() - begun))
    files, kept = (
        of_extraction(
            folder / "images",
            backbone=[network],
            weights=source,
            precision=precision,
            device=options.device,
            out=folder / f"{network}-{precision}-{cache is not None}",
            cache=cache,
        )
        for cache in (None, folder / "cache")
    )
    middle = statistics.median(memory)
    print(
        f"| {network} | {precision} | {flop / 1e9:.2f} | {error:.1e}{same} | {alone:.0f} "
        f"| {alone * flop / rate:.2f} | {middle:.0f} | {middle / alone:.2f} | {files:.0f} "
        f"| {files / alone:.2f} | {kept:.0f} | {kept / alone:.2f} |",
        flush=True,
    )


def of_extraction(images: Path, **options: Any) -> float:
    """Measure images/s of an extraction after its first tenth."""
    seen: list[tuple[float, int]] = []
    cxrfeat.extract(
        images, progress=lambda told: seen.append((time.perf_counter(), told.done)), **options
    )
    counted = [(at, done) for at, done in seen if done >= seen[-1][1] / 10]
    (begun, first), (ended, last) = counted[0], counted[-1]
    return (last - first) / (ended - begun)


def of_network(extractor: Extractor, options: argparse.Namespace) -> float:
    """Measure images/s with the pictures on the device already."""
    runtime = extractor._runtime
    if not isinstance(runtime, Accelerator):
        return float("nan")
    lane = runtime._lane
    batches = max(1, options.count // runtime.batch)

    def play() -> None:
        with lane.computing.on():
            for _ in range(batches):
                if lane.by_batch is not None:
                    lane.computing.play(lane.by_batch)
                else:
                    for _ in range(runtime.batch // runtime.block):
                        lane.computing.play(lane.by_block)
            done = lane.computing.mark()
        done.synchronize()

    return batches * runtime.batch / fastest(play, torch.device(options.device), options.rounds)


def many(images: Path | None, folder: Path, count: int) -> list[Path]:
    """Link files to a number of images; numbers beyond the originals repeat them."""
    found = [path for path in sorted(images.rglob("*.*")) if path.is_file()] if images else []
    originals = found or drawn(folder / "drawn")
    (folder / "images").mkdir()
    files = []
    for number in range(count):
        original = originals[number % len(originals)]
        files.append(folder / "images" / f"{number:06d}{original.suffix}")
        files[-1].write_bytes(original.read_bytes())
    return files


def picture(path: Path) -> np.ndarray:
    return resize(read_image(path.read_bytes()).pixels, 224)


if __name__ == "__main__":
    main()
