"""The same bits for the same image, whatever other images are asked for with it.

The last bits of a matrix product depend on how many rows it has, on where a row stands among
them, and on how many threads share the work. So every row goes through alone, on one thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from threadpoolctl import threadpool_limits

Matrix = npt.NDArray[np.float64]


def row_by_row(
    function: Callable[[npt.NDArray[np.float32]], npt.ArrayLike], X: npt.ArrayLike
) -> Matrix:
    """Apply a function of rows to one row at a time.

    Parameters
    ----------
    function
        Takes float32 of shape (1, D), gives shape (1, ...).
    X : array, shape (n, D)

    Returns
    -------
    ndarray of float64, shape (n, ...)
    """
    rows = np.asarray(X, dtype=np.float32)
    alone = np.zeros((1, rows.shape[1]), dtype=np.float32)  # always the same place in memory
    results = []
    with threadpool_limits(1):
        if not len(rows):
            return np.array(function(alone), dtype=np.float64)[:0]
        for row in rows:
            alone[0] = row
            results.append(np.array(function(alone), dtype=np.float64))
    return np.concatenate(results)


class RowByRow(BaseEstimator):
    """A fitted classifier that gives an image the same bits in any company.

    Parameters
    ----------
    estimator
        A fitted classifier, or one per label as `cxrfeat.evaluation.refit.PerLabel`.
    """

    def __init__(self, estimator: Any = None) -> None:
        self.estimator = estimator

    def predict_proba(self, X: npt.ArrayLike) -> Matrix:
        """Probability of each class or label, shape (n, K)."""
        return row_by_row(self.estimator.predict_proba, X)
