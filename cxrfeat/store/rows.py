"""Rows as they are stored: their checksum, their rounding error, their status."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from cxrfeat.store.format1 import ERROR_BYTES

READ_BYTES = 16 << 20
"""What is read or copied at a time."""
_GAP_BYTES = 256 << 10


def checksums(sha256: npt.NDArray[np.bytes_], stored: npt.NDArray[Any]) -> npt.NDArray[np.uint32]:
    """Compute the CRC-32 of each row: the 64 characters of its sha256, then its bytes as stored."""
    stored = np.ascontiguousarray(stored)
    return np.array(
        [
            zlib.crc32(row, zlib.crc32(digest))
            for digest, row in zip(sha256.tolist(), stored.view(np.uint8), strict=True)
        ],
        dtype=np.uint32,
    )


def finite_rows(rows: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Tell which rows hold finite numbers alone, shape (k,).

    A sum shows NaN and infinity, and is quicker than a look at each number; a row whose numbers are
    finite and whose sum is not is looked at.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        finite = np.isfinite(rows.sum(axis=1, dtype=np.float32))
    for row in np.flatnonzero(~finite).tolist():
        finite[row] = np.isfinite(rows[row]).all()
    return finite


def rounding_errors(
    vectors: npt.NDArray[np.float32], stored: npt.NDArray[Any]
) -> npt.NDArray[np.float32]:
    """Measure what storing cost each row: |stored - computed| / |computed|, Euclidean norms."""
    exact = vectors.astype(np.float64)
    lost = np.linalg.norm(stored.astype(np.float64) - exact, axis=1)
    norm = np.linalg.norm(exact, axis=1)
    return np.asarray(lost / np.where(norm > 0, norm, 1), dtype=np.float32)


def runs(*columns: npt.NDArray[np.int64], limit: int | None = None) -> Iterator[slice]:
    """Cut positions into slices along which every column counts up by one."""
    length = len(columns[0])
    if not length:
        return
    breaks = np.zeros(length - 1, dtype=bool)
    for column in columns:
        breaks |= np.diff(column) != 1
    edges = [0, *(np.flatnonzero(breaks) + 1).tolist(), length]
    for start, stop in pairwise(edges):
        step = limit or stop - start
        for part in range(start, stop, step):
            yield slice(part, min(part + step, stop))


def read_rows(dataset: h5py.Dataset, rows: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """Read rows by number, in any order, each as often as it is asked for.

    Rows that lie near each other are read together with what is between them: a call into HDF5
    costs as much as a few hundred kilobytes, and where every tenth image is gone, there would be
    one for every nine rows.
    """
    out = np.empty((len(rows), *dataset.shape[1:]), dtype=dataset.dtype)
    order = np.argsort(rows, kind="stable")
    in_order = np.array_equal(order, np.arange(len(rows)))
    ordered = rows[order]
    row_bytes = max(1, dataset.dtype.itemsize * math.prod(dataset.shape[1:]))
    stretch = ordered // max(1, READ_BYTES // row_bytes)  # so that no read takes more memory
    breaks = (np.diff(ordered) > max(1, _GAP_BYTES // row_bytes)) | (np.diff(stretch) != 0)
    edges = [0, *(np.flatnonzero(breaks) + 1).tolist(), len(rows)]
    for start, stop in pairwise(edges):
        if start < stop:
            some = ordered[start:stop]
            first = int(some[0])
            block = dataset[first : int(some[-1]) + 1]
            # Rows mostly come in file order, without a gap: then they are copied once.
            if not np.array_equal(some, np.arange(first, first + len(block))):
                block = block[some - first]
            out[slice(start, stop) if in_order else order[start:stop]] = block
    return out


def shorten(text: str) -> bytes:
    """Encode an error so that it fits its field, cut between characters."""
    encoded = " ".join(text.split()).encode(errors="replace")
    return encoded[:ERROR_BYTES].decode(errors="ignore").encode()


def set_status(file: h5py.File, decided: Mapping[int, int]) -> None:
    """Write the status of some rows."""
    rows = np.array(sorted(decided), dtype=np.int64)
    values = np.array([decided[row] for row in rows.tolist()], dtype=np.uint8)
    for run in runs(rows):
        file["status"][int(rows[run.start]) : int(rows[run.stop - 1]) + 1] = values[run]
