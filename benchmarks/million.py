"""What a million images cost `cxrfeat extract` besides its network: time, memory, rows per second.

    python benchmarks/million.py --images 1000000 --dimension 2048 --folder /some/disk

The images are real files (hard links to tiny pictures, 1,000 to a folder) and everything is the real
path of the verb but the network: its rows come from memory, as fast as they are taken. Each run is a
process of its own, of a tenth of the images and of all of them, so that memory per image is the
difference of two peaks and nothing that does not grow. Everything is deleted at the end; 2,048 numbers
and a million images take 17 GB meanwhile.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import resource
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import cxrfeat
from cxrfeat import features
from cxrfeat.commands import extract as verb
from cxrfeat.extraction.job import ComputedImage
from cxrfeat.extraction.plan import WorkItem
from cxrfeat.extraction.sources import NO_STAMP

PER_FOLDER = 1000
BATCH = 4096
"""Rows that come at a time: what eight GPUs that take 512 images each hand over together."""

GPUS, PER_GPU = 8, 3000
"""What has to be fed: so many GPUs of so many images a second."""


def draw(folder: Path, images: range) -> str:
    """Make folders of tiny pictures, each a hard link to the first of its folder; return a sha256."""
    picture = folder / "picture.png"
    if not picture.exists():
        folder.mkdir(parents=True)
        Image.fromarray(np.full((2, 2), 90, dtype=np.uint8)).save(picture)
    data = picture.read_bytes()
    for number in images:
        part, place = divmod(number, PER_FOLDER)
        below = folder / "images" / f"site{part // 100:02d}" / f"{part:05d}"
        if place == 0:
            below.mkdir(parents=True)
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
        return {"runtime": "stub"}


class StubEngine:
    """Hands over rows from memory; what it takes itself is told apart."""

    def __init__(self, dimension: int, sha256: str) -> None:
        self._rows = np.random.default_rng(0).random((BATCH, dimension), dtype=np.float32)
        self._sha256 = sha256
        self.seconds: dict[str, float] = {"stub": 0.0}

    def run(self, items: Sequence[WorkItem]) -> Generator[list[ComputedImage]]:
        begun = time.perf_counter()
        batch: list[ComputedImage] = []
        for item in items:
            stamp = item.source.stamp() or NO_STAMP
            row = {"stub": self._rows[len(batch)]}
            batch.append(ComputedImage(item.source.id, stamp, self._sha256, row))
            if len(batch) == BATCH:
                self.seconds["stub"] += time.perf_counter() - begun
                yield batch
                begun, batch = time.perf_counter(), []
        self.seconds["stub"] += time.perf_counter() - begun
        if batch:
            yield batch


@contextlib.contextmanager
def stubbed(dimension: int, sha256: str, steps: dict[str, float]) -> Iterator[None]:
    """Let the verb have no network, and time its steps."""
    stub = StubNetwork(dimension)
    replaced: dict[tuple[Any, str], Any] = {
        (verb, "prepare_named"): lambda *_, **__: ([stub], []),
        (verb, "LocalEngine"): lambda *_, **__: StubEngine(dimension, sha256),
    }
    for owner, name, step in (
        (verb.inputs, "find", "walk"),
        (verb, "settle", "heads"),
        (verb, "current_hashes", "stat"),
        (verb.store, "open_writer", "open"),
        (verb, "plan", "plan"),
        (verb, "drain", "drain"),
        (verb, "results_of", "close"),
    ):
        if hasattr(owner, name):
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
        begun = time.perf_counter()
        try:
            return call(*given, **options)
        finally:
            steps[step] = steps.get(step, 0.0) + time.perf_counter() - begun

    return measured


def extract(folder: Path, out: Path, dimension: int, sha256: str) -> dict[str, Any]:
    """Run the verb once."""
    steps: dict[str, float] = {}
    before = peak()
    with stubbed(dimension, sha256, steps):
        begun = time.perf_counter()
        result = cxrfeat.extract(folder / "images", out=out)
        seconds = time.perf_counter() - begun
    changes = result.files[0].changes
    steps["the rest"] = seconds - sum(steps.values())
    return {
        "images": result.images,
        "computed": result.files[0].computed,
        "reused": changes.reused,
        "rewritten": changes.rewritten,
        "seconds": seconds,
        "steps": steps,
        "stub": result.steps.get("stub", 0.0),
        "writing": result.steps["writing"],
        "before": before,
        "peak": peak(),
    }


def peak() -> int:
    """The most memory that this process had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


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


if __name__ == "__main__":
    main()
