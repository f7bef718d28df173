"""What a million images cost `cxrfeat extract` besides its network: time, memory, rows per second.

    python benchmarks/million.py --images 1000000 --dimension 2048 --folder /some/disk

The images are real files (hard links to tiny pictures, 1,000 to a folder), and everything is the
real path of the verb but the network: its rows come from memory, as fast as they are taken. Each
run is a process of its own, with a tenth of the images and with all of them, so that memory per
image is the difference of two peaks, without what does not grow. Everything is deleted at the end;
2,048 numbers and a million images take 17 GB meanwhile.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import pickle
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import cxrfeat
from cxrfeat import features, inputs, store
from cxrfeat.commands import extract as verb
from cxrfeat.extraction.job import ComputedImage
from cxrfeat.extraction.plan import WorkItem
from cxrfeat.extraction.ray_engine import Computed
from cxrfeat.extraction.sources import NO_STAMP, Stamp
from cxrfeat.store import writer

PER_FOLDER = 1000
BATCH = 4096
"""Rows that come at a time: what eight GPUs that take 512 images each hand over together."""

GPUS, PER_GPU = 8, 3000
"""What has to be fed: so many GPUs of so many images a second."""

STEPS = ("walk", "heads", "stat", "open", "plan", "drain")
PARTS = ("checksums", "HDF5 writes", "syncs")
"""Parts of the drain."""


def draw(folder: Path, images: range) -> str:
    """Make tiny pictures, each a hard link to the first of its folder; return their sha256."""
    picture = folder / "picture.png"
    if not picture.exists():
        folder.mkdir(parents=True)
        Image.fromarray(np.full((2, 2), 90, dtype=np.uint8)).save(picture)
    data = picture.read_bytes()
    for number in images:
        part, place = divmod(number, PER_FOLDER)
        below = folder / "images" / f"site{part // 100:02d}" / f"{part:05d}"
        if place == 0 or number == images[0]:
            below.mkdir(parents=True, exist_ok=True)
            first = below / f"{number:08d}.png"
            first.write_bytes(data)
        else:
            os.link(first, below / f"{number:08d}.png")
    return hashlib.sha256(data).hexdigest()


class StubNetwork:
    """A network of which nothing is known but how long its rows are."""

    def __init__(self, dimension: int) -> None:
        self.name = "stub"
        self.spec = {"backbone": "stub", "precision": "fp32"}
        self.options = None
        self.notes: tuple[str, ...] = ()
        self.seconds = 0.0
        self.extractor = self
        self.description = features.Description("stub", "random", 224, dimension, self.spec)

    def environment(self) -> dict[str, str]:
        """Say what computes the rows."""
        return {"runtime": "stub"}


class StubEngine:
    """Hands over rows from memory; what it takes itself is told apart."""

    def __init__(self, dimension: int, sha256: str) -> None:
        self._rows = np.random.default_rng(0).random((BATCH, dimension), dtype=np.float32)
        self._sha256 = sha256
        self.seconds: dict[str, float] = {"stub": 0.0, "stub, core": 0.0}

    def run(self, items: Sequence[WorkItem]) -> Generator[list[ComputedImage]]:
        """Hand over a row for every item."""
        begun, worked = time.perf_counter(), time.process_time()
        batch: list[ComputedImage] = []
        for item in items:
            stamp = item.source.stamp() or NO_STAMP
            row = {"stub": self._rows[len(batch)]}
            batch.append(ComputedImage(item.source.id, stamp, self._sha256, row))
            if len(batch) == BATCH:
                self._took(begun, worked)
                yield batch
                begun, worked, batch = time.perf_counter(), time.process_time(), []
        self._took(begun, worked)
        if batch:
            yield batch

    def _took(self, begun: float, worked: float) -> None:
        self.seconds["stub"] += time.perf_counter() - begun
        self.seconds["stub, core"] += time.process_time() - worked


@contextlib.contextmanager
def stubbed(dimension: int, sha256: str, steps: dict[str, float]) -> Iterator[None]:
    """Let the verb have no network, and time its steps."""
    stub = StubNetwork(dimension)
    replaced: dict[tuple[Any, str], Any] = {
        (verb, "prepare_named"): lambda *_, **__: ([stub], []),
        (verb, "LocalEngine"): lambda *_, **__: StubEngine(dimension, sha256),
    }
    for owner, name, step in (
        (inputs, "find", "walk"),
        (verb, "settle", "heads"),
        (verb, "current_hashes", "stat"),
        (store, "open_writer", "open"),
        (verb, "plan", "plan"),
        (verb, "drain", "drain"),
        (writer, "checksums", "checksums"),
        (writer.StoreWriter, "_write_columns", "HDF5 writes"),
        (writer, "sync", "syncs"),
    ):
        replaced[owner, name] = timed(getattr(owner, name), step, steps)
    kept = {(owner, name): getattr(owner, name) for owner, name in replaced}
    for (owner, name), value in replaced.items():
        setattr(owner, name, value)
    try:
        yield
    finally:
        for (owner, name), value in kept.items():
            setattr(owner, name, value)


def timed(call: Callable[..., Any], step: str, steps: dict[str, float]) -> Callable[..., Any]:
    def measured(*given: Any, **options: Any) -> Any:
        begun, worked = time.perf_counter(), time.process_time()
        try:
            return call(*given, **options)
        finally:
            steps[step] = steps.get(step, 0.0) + time.perf_counter() - begun
            core = f"{step}, core"
            steps[core] = steps.get(core, 0.0) + time.process_time() - worked

    return measured


def extract(folder: Path, out: Path, dimension: int, sha256: str) -> dict[str, Any]:
    """Run the verb once."""
    steps: dict[str, float] = {}
    with stubbed(dimension, sha256, steps):
        begun, worked = time.perf_counter(), time.process_time()
        result = cxrfeat.extract(folder / "images", out=out)
        seconds, cpu = time.perf_counter() - begun, time.process_time() - worked
    steps["the rest"] = seconds - sum(steps[step] for step in steps if step in STEPS)
    return {
        "images": result.images,
        "computed": result.files[0].computed,
        "rewritten": result.files[0].changes.rewritten,
        "seconds": seconds,
        "cpu": cpu,
        "steps": steps,
        "stub": {name: result.steps.get(name, 0.0) for name in ("stub", "stub, core")},
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def unpack(dimension: int, sha256: str) -> float:
    """Return how many rows a second come out of what a worker sends, as Ray unpickles it."""
    rows = np.random.default_rng(0).random((512, dimension), dtype=np.float32)
    images = [
        ComputedImage(f"site00/00000/{n:08d}.png", Stamp(n, n), sha256, {"stub": row.copy()})
        for n, row in enumerate(rows)
    ]
    buffers: list[pickle.PickleBuffer] = []
    sent = pickle.dumps(
        Computed(images, frozenset(), {}, 0.1), protocol=5, buffer_callback=buffers.append
    )
    kept = [bytes(buffer.raw()) for buffer in buffers]
    begun = time.process_time()
    for _ in range(20):
        pickle.loads(sent, buffers=kept)
    return 20 * len(images) / (time.process_time() - begun)


def disk(folder: Path, dimension: int, batches: int) -> float:
    """Return how many rows a second the disk takes, a sync after each batch."""
    block = np.random.default_rng(0).random((BATCH, dimension), dtype=np.float32).tobytes()
    path = folder / "bare"
    begun = time.perf_counter()
    with path.open("wb", buffering=0) as file:
        for _ in range(batches):
            file.write(block)
            os.fsync(file.fileno())
    seconds = time.perf_counter() - begun
    path.unlink()
    return batches * BATCH / seconds


class Runs:
    """Runs of the verb in processes of their own, and what they are said to have cost."""

    def __init__(self, work: Path, dimension: int) -> None:
        self._work = work
        self._dimension = dimension
        self.found: dict[tuple[str, int], dict[str, Any]] = {}

    def run(self, what: str, images: int, sha256: str) -> dict[str, Any]:
        """Run it over a folder of `work`, and print its steps."""
        folder = self._work / str(images)
        command = [sys.executable, __file__, "--one", str(folder), str(folder / "out"), sha256]
        command += ["--dimension", str(self._dimension)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found: dict[str, Any] = json.loads(done.stdout)
        self.found[what, images] = found
        number, each = found["images"], 1e6 / found["images"]
        shown = ", ".join(
            f"{step} {found['steps'].get(step, 0):.1f}" for step in (*STEPS, "the rest")
        )
        print(
            f"{what}, {number:,} images: {found['seconds']:.1f} s, {found['seconds'] * each:.1f} us"
            f" an image ({found['cpu'] * each:.1f} us of a core): {shown}; peak"
            f" {found['peak'] / 1e6:.0f} MB"
        )
        return found

    def growth(self, what: str, few: int, many: int) -> float:
        """Return by how many bytes the peak grows for an image."""
        one, other = self.found[what, few], self.found[what, many]
        return float((other["peak"] - one["peak"]) / (other["images"] - one["images"]))


def told(first: dict[str, Any], dimension: int) -> None:
    """Say how fast rows go through the driver, and what bounds them."""
    rows, steps = first["computed"], first["steps"]
    size = 4 * dimension
    for clock, suffix in (("by the clock", ""), ("of a core", ", core")):
        seconds = steps[f"drain{suffix}"] - first["stub"][f"stub{suffix}"]
        parts = {name: steps[f"{name}{suffix}"] for name in PARTS if name in steps}
        parts["Python around it"] = seconds - sum(parts.values())
        each = ", ".join(f"{name} {1e6 * part / rows:.1f}" for name, part in parts.items())
        print(
            f"rows through the driver to HDF5, {clock}: {rows / seconds:,.0f} a second,"
            f" {rows * size / seconds / 1e6:,.0f} MB/s; us a row: {each}"
        )
    print(
        f"{GPUS} GPUs of {PER_GPU:,} images/s make {GPUS * PER_GPU:,} rows a second,"
        f" {GPUS * PER_GPU * size / 1e6:,.0f} MB/s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--dimension", type=int, default=2048)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        folder, out, sha256 = options.one
        print(json.dumps(extract(Path(folder), Path(out), options.dimension, sha256)))
        return
    few, many, dimension = options.images // 10, options.images, options.dimension
    with tempfile.TemporaryDirectory(dir=options.folder) as work:
        runs = Runs(Path(work), dimension)
        for images in (few, many):
            sha256 = draw(Path(work) / str(images), range(images))
            first = runs.run("first", images, sha256)
            runs.run("again", images, sha256)
        for what in ("first", "again"):
            print(f"memory an image, {what}: {runs.growth(what, few, many):.0f} bytes")
        told(first, dimension)
        print(f"the disk alone, synced as often: {disk(Path(work), dimension, 50):,.0f} rows/s")
        print(f"unpickled of what workers send: {unpack(dimension, sha256):,.0f} rows/s of a core")
        draw(Path(work) / str(many), range(many, many + many // 1000))
        added = runs.run("with a thousandth more", many, sha256)
        assert added["rewritten"]
        for path in (Path(work) / str(many) / "images").rglob("*0000.png"):
            os.utime(path)  # the time of a file is that of all its names
        runs.run("touched", many, sha256)


if __name__ == "__main__":
    main()
