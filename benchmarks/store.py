"""How fast large embedding files are written and read, against bare h5py on the same disk.

    python benchmarks/store.py --rows 1000000 --dimension 2048 --folder /some/disk

Every stage runs in a process of its own, so that its peak memory is its own, and ends with
fsync, so that the disk is part of the time. The files are deleted at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from cxrfeat.inputs import Dataset
from cxrfeat.store import DONE, load, open_writer, verify

BLOCK = 4096
SPEC = {"backbone": "synthetic"}


def blocks(rows: int, dimension: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield synthetic rows; every row differs, at the price of one addition."""
    base = np.random.default_rng(0).random((BLOCK, dimension), dtype=np.float32)
    for start in range(0, rows, BLOCK):
        yield start, base[: min(BLOCK, rows - start)] + np.float32(start)


def bare(
    path: Path, rows: int, dimension: int, chunks: tuple[int, int] | None = None
) -> dict[str, float]:
    """Write the same numbers with plain h5py: no ids, no checksums, no crash safety."""
    start = time.perf_counter()
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("embeddings", (rows, dimension), "<f4", chunks=chunks)
        for first, block in blocks(rows, dimension):
            dataset[first : first + len(block)] = block
        file.flush()
        os.fsync(file.id.get_vfd_handle())
    return {"seconds": time.perf_counter() - start}


def bare_chunked(path: Path, rows: int, dimension: int) -> dict[str, float]:
    """Write them in the chunks of 1 MiB that the store uses."""
    return bare(path, rows, dimension, (max(1, (1 << 20) // (4 * dimension)), dimension))


def ours(path: Path, rows: int, dimension: int) -> dict[str, float]:
    """Write through the store: allocated and filled first, checksums, a commit per block."""
    ids = [f"patient{i // 3:06d}/{i:07d}.png" for i in range(rows)]
    digest = ["0" * 64] * BLOCK
    start = time.perf_counter()
    dataset = Dataset(ids=ids, paths=[])
    with open_writer(path, spec=SPEC, dataset=dataset, dimension=dimension) as writer:
        created = time.perf_counter()
        for first, block in blocks(rows, dimension):
            writer.write(ids[first : first + len(block)], block, digest[: len(block)])
            writer.commit()
    end = time.perf_counter()
    return {"create": created - start, "rows": end - created, "seconds": end - start}


def read(path: Path, rows: int, dimension: int) -> dict[str, float]:
    """Open, count, and read 10,000 random rows, nothing of the file being in memory yet."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    chosen = np.random.default_rng(1).choice(rows, min(10_000, rows), replace=False)
    start = time.perf_counter()
    with load(path) as embeddings:
        opened = time.perf_counter()
        assert int((embeddings.status == DONE).sum()) == rows
        counted = time.perf_counter()
        assert embeddings[chosen].shape == (len(chosen), dimension)
    end = time.perf_counter()
    return {"open": opened - start, "count": counted - opened, "random_rows": end - counted}


def check(path: Path, rows: int, dimension: int) -> dict[str, float]:
    """Read everything against its checksums."""
    start = time.perf_counter()
    assert verify(path).sound
    return {"seconds": time.perf_counter() - start}


STAGES = {"bare": bare, "bare_chunked": bare_chunked, "ours": ours, "read": read, "check": check}


def run(stage: str, path: Path, rows: int, dimension: int) -> dict[str, float]:
    """Run one stage in a process of its own."""
    command = [sys.executable, __file__, "--stage", stage, "--path", str(path)]
    command += ["--rows", str(rows), "--dimension", str(dimension)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout)
    print(f"{stage}: " + ", ".join(f"{key} {value:.2f}" for key, value in result.items()))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dimension", type=int, default=2048)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        result = STAGES[options.stage](options.path, options.rows, options.dimension)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({**result, "peak_MiB": peak}))
        return
    size = options.rows * options.dimension * 4
    free = shutil.disk_usage(options.folder).free
    if 1.2 * size > free:
        options.rows = int(free / 1.2 / options.dimension / 4)
        print(f"scaled down to {options.rows} rows: {free / 1e9:.0f} GB free")
    print(f"{options.rows} x {options.dimension} float32: {size / 1e9:.2f} GB")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for _ in range(options.repeats):
            plain, store = Path(folder) / "bare.h5", Path(folder) / "store.h5"
            baselines = {}
            for stage in ("bare", "bare_chunked"):
                baselines[stage] = run(stage, plain, options.rows, options.dimension)["seconds"]
                plain.unlink()
            written = run("ours", store, options.rows, options.dimension)
            for stage, seconds in baselines.items():
                print(
                    f"speed of writing rows: {seconds / written['rows']:.2f} of {stage}; "
                    f"with making the file: {seconds / written['seconds']:.2f}"
                )
            run("read", store, options.rows, options.dimension)
            run("check", store, options.rows, options.dimension)
            store.unlink()


if __name__ == "__main__":
    main()
