"""The nearest others of each row in the embedding, those of its own patient left out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from cxrfeat.arrays import Matrix32, RowNumbers
from cxrfeat.cores import available_cores
from cxrfeat.evaluation.heads.neighbours import most_alike

LISTED = 32
"""Neighbours that are looked for, of which those of the same patient are left out."""
ROWS = 4096
"""Rows that are measured at a time."""


def standardised(X: Matrix32) -> Matrix32:
    """Rows of length 1, of channels with mean 0 and the same spread."""
    mean = X.mean(axis=0, dtype=np.float64).astype(np.float32)
    Z: Matrix32 = X - mean
    spread = np.sqrt(np.einsum("ij,ij->j", Z, Z) / max(len(Z), 1))
    Z /= np.where(spread > 1e-6 * np.maximum(np.abs(mean), 1e-12), spread, np.float32(np.inf))
    length = np.sqrt(np.einsum("ij,ij->i", Z, Z))
    Z /= np.where(length > 0, length, 1.0)[:, None]
    return Z


def nearest(
    Z: Matrix32, codes: RowNumbers, k: int, jobs: int | None = None
) -> tuple[RowNumbers, Matrix32]:
    """Find the k rows of other patients that are most like each row, exactly and block by block.

    Parameters
    ----------
    Z : ndarray of float32, shape (n, D)
        From `standardised`.
    codes : ndarray of int, shape (n,)
        The patient of each row.
    k : int
        Fewer where a row's `LISTED` nearest are mostly of its own patient.
    jobs : int or None
        Threads; one per core when left out.

    Returns
    -------
    rows : ndarray of int, shape (n, k)
        Best first; -1 for none.
    cosine : ndarray of float32, shape (n, k)
        NaN for none.
    """
    n = len(Z)
    with threadpool_limits(1):
        listed = most_alike(Z, n, jobs or available_cores(), min(n, max(LISTED, k + 1)))
    other = codes[listed] != codes[:, None]
    place = np.argsort(~other, axis=1, kind="stable")[:, :k]
    rows = np.take_along_axis(listed, place, axis=1).astype(np.intp)
    rows[~np.take_along_axis(other, place, axis=1)] = -1
    cosine = np.full(rows.shape, np.nan, dtype=np.float32)
    for start in range(0, n, ROWS):
        of = slice(start, start + ROWS)
        for column in range(rows.shape[1]):
            cosine[of, column] = np.einsum("ij,ij->i", Z[of], Z[rows[of, column]])
    cosine[rows < 0] = np.nan
    return rows, cosine


def numbered(names: npt.NDArray[np.str_] | None, n: int) -> RowNumbers:
    """Give the same number to the same name, e.g. a patient; n different ones without names."""
    if names is None:
        return np.arange(n)
    return np.asarray(np.unique(names, return_inverse=True)[1], dtype=np.intp)
