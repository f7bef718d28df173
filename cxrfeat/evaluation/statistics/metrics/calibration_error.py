"""Observed against predicted shares: the reliability diagram and the calibration error."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cxrfeat.arrays import Matrix
from cxrfeat.evaluation.statistics.metrics.undefined import ratio
from cxrfeat.evaluation.statistics.metrics.weights import Weights

ECE_BINS = 10


def reliability(truth: Matrix, p: Matrix) -> list[dict[str, float]]:
    """Observed against predicted share of one class in bins of equal width, for drawing.

    Parameters
    ----------
    truth, p : ndarray, shape (n,)

    Returns
    -------
    list of dict
        Per bin that is not empty: ``low``, ``high``, ``predicted``, ``observed``, ``images``.
    """
    known = np.isfinite(truth) & np.isfinite(p)
    truth, p = truth[known], p[known]
    which = _bin(p)
    return [
        {
            "low": b / ECE_BINS,
            "high": (b + 1) / ECE_BINS,
            "predicted": float(p[which == b].mean()),
            "observed": float(truth[which == b].mean()),
            "images": int((which == b).sum()),
        }
        for b in np.unique(which)
    ]


def _bin(p: Matrix) -> npt.NDArray[np.intp]:
    return np.asarray(np.minimum((p * ECE_BINS).astype(np.intp), ECE_BINS - 1))


def per_class_ece(truth: Matrix, p: Matrix, weights: Matrix | None = None) -> Matrix:
    """Compute each class's expected calibration error over ten equal bins, shape (B, K).

    The root of the mean squared gap between observed and predicted share. The plain gap is never
    0: chance alone opens one in every bin, and the more bins, the wider. So each squared gap gives
    back its own variance, and what is left below 0 counts as 0. Bins of one image, whose variance
    is not known, are left out.

    Parameters
    ----------
    truth, p : ndarray, shape (n, K)
        NaN where unknown.
    weights : ndarray, shape (B, n), or None
        How often each image counts; once where None.

    References
    ----------
    Kumar A, Liang P, Ma T. Verified uncertainty calibration. NeurIPS 2019 (the debiased
    estimator); class by class as in Kull M et al. Beyond temperature scaling. NeurIPS 2019.
    """
    counted = Weights.once(len(truth)) if weights is None else Weights.of_images(weights)
    return class_ece(truth, p, counted)


def class_ece(truth: Matrix, p: Matrix, weights: Weights) -> Matrix:
    """Compute `per_class_ece` of images that count as often as `weights` say."""
    columns = []
    for truth_k, p_k in zip(truth.T, p.T, strict=True):
        known = np.flatnonzero(np.isfinite(truth_k) & np.isfinite(p_k))
        known = known[np.argsort(_bin(p_k[known]).astype(np.uint8), kind="stable")]
        bins = _bin(p_k[known])
        images, positives, predicted = (
            weights.in_segments(known, bins, ECE_BINS, values).T
            for values in (None, truth_k[known], p_k[known])
        )
        observed = ratio(positives, images)
        gap = observed - ratio(predicted, images)
        squared = gap**2 - ratio(observed * (1 - observed), images - 1)
        usable = images > 1
        squared = np.where(usable, images * squared, 0.0).sum(axis=1)
        mean = ratio(squared, np.where(usable, images, 0.0).sum(axis=1))
        columns.append(np.sqrt(np.maximum(mean, 0.0)))
    return np.stack(columns, axis=1)
