"""How long `cxrfeat extract` takes when nothing has changed, and what of it is slow.

    python benchmarks/rerun.py --images 100000 --folder /some/disk

Draws tiny images, lets the verb make the file from the first few of them, adds rows for all the
others through the store (computing them is not what is measured), and runs the verb again. The
second run is made once with the times of every image as the file knows them and once with all of
them touched, so that each must be hashed again. Everything is deleted at the end.
"""

from __future__ import annotations

import argparse
import cProfile
import hashlib
import io
import os
import pstats
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

import cxrfeat
from cxrfeat import inputs as datasets
from cxrfeat.store import open_writer

OPTIONS = {"backbone": ["squeezenet1_1"], "weights": ["random"], "image_size": 64, "device": "cpu"}


def draw(folder: Path, images: int) -> None:
    """Write tiny pictures of two classes, 1,000 to a folder."""
    for number in range(images):
        place = folder / ("clear", "opaque")[number % 2] / f"{number // 1000:03d}"
        if number % 1000 < 2:
            place.mkdir(parents=True, exist_ok=True)
        grey = np.full((2, 2), number % 256, dtype=np.uint8)
        grey[0, 0] = number // 256 % 256
        Image.fromarray(grey).save(place / f"{number:06d}.png")


def fill(folder: Path, file: Path) -> None:
    """Add a row for every image, as an extraction would have."""
    with cxrfeat.load(file) as embeddings:
        spec, dimension = embeddings.spec, embeddings.dimension
    found = datasets.find(folder)
    paths = dict(zip(found.ids, found.paths, strict=True))
    with open_writer(file, spec=spec, dataset=found, dimension=dimension) as writer:
        todo = writer.pending
        for start in range(0, len(todo), 1000):
            some = todo[start : start + 1000]
            stats = [paths[name].stat() for name in some]
            writer.write(
                some,
                np.zeros((len(some), dimension), dtype=np.float32),
                [hashlib.sha256(paths[name].read_bytes()).hexdigest() for name in some],
                [(stat.st_size, stat.st_mtime_ns) for stat in stats],
            )
        writer.commit()


def rerun(folder: Path, out: Path, what: str) -> None:
    """Time the verb, then profile it once more."""
    start = time.perf_counter()
    result = cxrfeat.extract(folder, out=out, **OPTIONS)
    seconds = time.perf_counter() - start
    assert result.read == 0
    print(f"{what}: {result.images} images in {seconds:.1f} s, {result.files[0].reused} reused")
    profile = cProfile.Profile()
    profile.runcall(cxrfeat.extract, folder, out=out, **OPTIONS)
    told = io.StringIO()
    pstats.Stats(profile, stream=told).sort_stats("cumulative").print_stats("cxrfeat|h5py", 14)
    print("\n".join(line for line in told.getvalue().splitlines() if "/" in line))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as work:
        folder, out = Path(work) / "images", Path(work) / "embeddings"
        draw(folder, 10)
        file = cxrfeat.extract(folder, out=out, **OPTIONS).files[0].path
        draw(folder, options.images)
        fill(folder, file)
        rerun(folder, out, "unchanged")
        for path in folder.rglob("*.png"):
            os.utime(path)
        rerun(folder, out, "touched")


if __name__ == "__main__":
    main()
