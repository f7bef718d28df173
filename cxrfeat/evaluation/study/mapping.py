"""Embeddings as one matrix: in memory, or mapped from a file where they do not fit.

What is mapped is read from the disk when it is used, and the system lets go of it when it needs
the room. Extractors are worked on one after the other, so that it is one matrix at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from cxrfeat.arrays import Matrix32
from cxrfeat.errors import StorageError

BLOCK_BYTES = 64 << 20
"""What is read or written at a time."""


def blocks(rows: int, dimension: int) -> Iterator[slice]:
    """Cut rows of so many float32 numbers into blocks."""
    step = max(1, BLOCK_BYTES // (4 * max(1, dimension)))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def matrix_of_blocks(
    block: Callable[[slice], Matrix32],
    shape: tuple[int, int],
    mapped: Path | None,
    name: str,
) -> Matrix32:
    """Fill a matrix block by block.

    Parameters
    ----------
    block
        Gives some rows.
    mapped
        The folder in which it is kept as ``name.npy``, and mapped from; None keeps it in memory.

    Raises
    ------
    StorageError
        No room for the file.
    """
    if mapped is None:
        X = np.empty(shape, np.float32)
        for rows in blocks(*shape):
            X[rows] = block(rows)
        return X
    path = mapped / f"{name}.npy"
    try:
        mapped.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            for rows in blocks(*shape):
                file.write(np.ascontiguousarray(block(rows), "<f4").data)
        return np.load(path, mmap_mode="r")
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written ({error.strerror}): the embeddings do not fit into the"
            " memory and need room there; choose another place (--out)"
        ) from error
