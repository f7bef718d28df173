"""What a score is where it is undefined: NaN, and left out of every mean."""

from __future__ import annotations

import numpy as np

from cxrfeat.arrays import Matrix


def ratio(above: Matrix, below: Matrix) -> Matrix:
    """Divide; NaN where there is nothing to divide by."""
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)


def mean_of_defined(values: Matrix) -> Matrix:
    """Mean over the classes that are defined, shape (B,)."""
    defined = np.isfinite(values)
    return ratio(np.where(defined, values, 0.0).sum(axis=1), defined.sum(axis=1).astype(float))


def known_truth(truth: Matrix, p: Matrix) -> Matrix:
    """Truth of shape (n, K), NaN also where `p`, of shape (n, K) or (K,), says nothing."""
    return np.where(np.isfinite(p), truth, np.nan)


def mean_of_known(values: Matrix) -> float:
    """Mean of what is finite; NaN of nothing."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def sd_of_known(values: Matrix) -> float:
    """Spread of what is finite; NaN of fewer than two."""
    known = values[np.isfinite(values)]
    return float(known.std(ddof=1)) if len(known) > 1 else float("nan")
