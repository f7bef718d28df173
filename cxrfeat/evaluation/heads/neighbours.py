"""The rows most like each row by cosine: found exactly, tile by tile, with no n x n matrix.

Each pair of rows is multiplied once. A tile of cosines serves its rows and its columns, and of it
only what beats a row's worst neighbour so far is looked at again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from multiprocessing.pool import ThreadPool
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrfeat.arrays import Matrix32, RowNumbers

KEPT = 192
"""Neighbours that are kept of each row: parts of the training rows still hold enough of them."""

CANDIDATES_FROM = 20_000
"""Rows from which it pays to look for candidates once for all folds, see `by_cosine`."""

TILE = 4096

Neighbours = npt.NDArray[np.int32]
Keys = npt.NDArray[np.uint64]
"""A cosine and a row in one number: the larger cosine is larger, of equal ones the lower row."""

_LOW = np.uint64(0xFFFFFFFF)
_SIGN = np.uint32(0x80000000)


def most_alike(
    X: Matrix32,
    n: int,
    jobs: int = 1,
    kept: int = KEPT,
    *,
    progress: Callable[[float], None] | None = None,
) -> Neighbours:
    """Find the rows among the first n that are most like each row.

    Parameters
    ----------
    X : ndarray of float32, shape (N, D)
    n : int
        The first n rows are candidates, also for themselves.
    jobs : int
        Tiles worked on at a time. The result does not depend on it where the linear algebra below
        has as many threads.
    progress
        Called after each tile with the share of them that is done.

    Returns
    -------
    ndarray of int32, shape (N, min(kept, n))
        Best first; of equal ones the lower number.
    """
    inverse = inverse_lengths(X)
    best = np.zeros((len(X), min(kept, n)), np.uint64)
    among = _blocks(0, n)
    locks = [Lock() for _ in among]

    def within(rows: RowNumbers) -> None:
        _take(best[rows[0] : rows[-1] + 1], _cosines(X, inverse, rows, rows), rows)

    def between(left: int, right: int) -> None:
        rows, columns = among[left], among[right]
        tile = _cosines(X, inverse, rows, columns)
        with locks[left]:
            _take(best[rows[0] : rows[-1] + 1], tile, columns)
        with locks[right]:
            _take(best[columns[0] : columns[-1] + 1], tile, rows, across=True)

    def towards(rows: RowNumbers) -> None:
        best[rows] = _most_alike_among(X, inverse, rows, among, best.shape[1])

    pairs = [(left, right) for right in range(len(among)) for left in range(right)]
    others = [(rows,) for rows in _blocks(n, len(X))]
    done, tiles = 0, len(among) + len(pairs) + len(others)
    # Those within come first: they tell what a row need not look at elsewhere.
    steps = ((within, [(rows,) for rows in among]), (between, pairs), (towards, others))
    for work, tasks in steps:
        for _ in _each(work, tasks, jobs):
            done += 1
            if progress is not None:
                progress(done / tiles)
    return _rows_of(best)


def most_alike_among(X: Matrix32, rows: RowNumbers, among: RowNumbers, k: int) -> Neighbours:
    """Find the k rows of some that are most like each of `rows`, best first: (len(rows), k)."""
    inverse = inverse_lengths(X)
    parts = np.array_split(among, -(-len(among) // TILE))
    found = np.empty((len(rows), k), np.int32)
    for start in range(0, len(rows), TILE):
        block = slice(start, start + TILE)
        found[block] = _rows_of(_most_alike_among(X, inverse, rows[block], parts, k))
    return found


def by_cosine(X: Matrix32, listed: Neighbours) -> Neighbours:
    """Put candidates in order by their exact cosine.

    Candidates are found under one scaling of all rows, and each fold scales by its own training
    rows. That moves a cosine a little, and so the order; it hardly moves what lies beyond a list
    of many times the length that is asked for.

    Parameters
    ----------
    listed : ndarray of int32, shape (N, M)
        Rows; -1 for none.

    Returns
    -------
    ndarray of int32, shape (N, M)
        Best first, of equal ones the lower number, then -1.
    """
    inverse = inverse_lengths(X)
    ordered = np.full_like(listed, -1)
    gathered = np.empty((listed.shape[1], X.shape[1]), np.float32)
    for row, candidates in enumerate(np.sort(listed, axis=1)):
        candidates = candidates[np.searchsorted(candidates, 0) :]
        # One row at a time: what is gathered for it stays in the processor's cache.
        near = np.take(X, candidates, axis=0, out=gathered[: len(candidates)], mode="clip")
        cosine = (near @ X[row]) * inverse[candidates]
        ordered[row, : len(candidates)] = candidates[np.argsort(-cosine, kind="stable")]
    return ordered


def inverse_lengths(X: Matrix32) -> npt.NDArray[np.float32]:
    """One over the length of each row, 1 for a row of zeros, shape (N,)."""
    length = np.sqrt(np.einsum("ij,ij->i", X, X))
    length[length == 0] = 1.0
    return np.float32(1.0) / length


def _blocks(start: int, stop: int) -> list[RowNumbers]:
    """Divide rows into tiles of nearly equal size."""
    return (
        np.array_split(np.arange(start, stop), -(-(stop - start) // TILE)) if stop > start else []
    )


def _each(work: Callable[..., None], tasks: Sequence[tuple[Any, ...]], jobs: int) -> Iterator[None]:
    """Do tasks side by side; yield after each, in the caller's thread."""
    if jobs == 1 or len(tasks) < 2:
        for task in tasks:
            work(*task)
            yield
        return
    with ThreadPool(min(jobs, len(tasks))) as pool:
        for _ in pool.imap_unordered(lambda task: work(*task), tasks):
            yield


def _cosines(
    X: Matrix32, inverse: npt.NDArray[np.float32], rows: RowNumbers, columns: RowNumbers
) -> Matrix32:
    left = X[rows] * inverse[rows, None]
    return np.asarray(left @ (left if rows is columns else X[columns] * inverse[columns, None]).T)


def _most_alike_among(
    X: Matrix32,
    inverse: npt.NDArray[np.float32],
    rows: RowNumbers,
    parts: list[RowNumbers],
    k: int,
) -> Keys:
    best = np.zeros((len(rows), k), np.uint64)
    for part in parts:
        _take(best, _cosines(X, inverse, rows, part), part)
    return best


def _take(best: Keys, tile: Matrix32, numbers: RowNumbers, *, across: bool = False) -> None:
    """Keep the best of what each row had and what a tile brings, in place.

    Parameters
    ----------
    best : ndarray, shape (rows, k)
        0 for none; in no order.
    tile : ndarray, shape (rows, len(numbers)), or turned over where it is `across`
    numbers
        Of the tile's columns.
    """
    k = best.shape[1]
    worst = best.min(axis=1)
    floor = _cosines_of(worst)
    if not worst.any() and len(numbers) > k and not across:
        # The first tile: no more than its own k best can stay.
        floor = np.partition(tile, len(numbers) - k, axis=1)[:, len(numbers) - k]
    place = np.flatnonzero(tile >= (floor[None, :] if across else floor[:, None]))
    if not len(place):
        return
    row, column = np.divmod(place, tile.shape[1])
    cosine = tile.ravel()[place]
    if across:
        order = np.argsort(column, kind="stable")
        row, column, cosine = column[order], row[order], cosine[order]
    count = np.bincount(row, minlength=len(best))
    most = int(count.max())
    first = np.cumsum(count) - count
    together = np.zeros((len(best), k + most), np.uint64)
    together[:, :k] = best
    together[row, k + np.arange(len(row)) - first[row]] = _keys(cosine, numbers[column])
    together.partition(most, axis=1)
    best[:] = together[:, most:]


def _keys(cosine: npt.NDArray[np.float32], numbers: RowNumbers) -> Keys:
    bits = cosine.view(np.uint32)
    ordered = np.where(bits & _SIGN, ~bits, bits | _SIGN).astype(np.uint64)
    return (ordered << np.uint64(32)) | (_LOW - numbers.astype(np.uint64))


def _cosines_of(keys: Keys) -> npt.NDArray[np.float32]:
    ordered = (keys >> np.uint64(32)).astype(np.uint32)
    cosine = np.where(ordered & _SIGN, ordered ^ _SIGN, ~ordered).view(np.float32)
    return np.where(keys == 0, np.float32(-np.inf), cosine)


def _rows_of(keys: Keys) -> Neighbours:
    """Numbers of rows, best first."""
    keys = np.sort(keys, axis=1)[:, ::-1]
    return (_LOW - (keys & _LOW)).astype(np.int32)
