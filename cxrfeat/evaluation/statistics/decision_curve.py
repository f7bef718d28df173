"""Decision curves: what calling images by their probabilities is worth.

References
----------
Vickers AJ, Elkin EB. Decision curve analysis: a novel method for evaluating prediction models.
Med Decis Making 2006;26:565-574.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cxrfeat.arrays import Matrix

THRESHOLDS = np.round(np.arange(1, 100, 2) / 100, 2)
"""Probabilities from which an image is called: 0.01, 0.03 ... 0.99."""
DIGITS = 6


def net_benefit(truth: Matrix, p: Matrix, thresholds: Matrix = THRESHOLDS) -> Matrix:
    """Net benefit of calling every image of at least a threshold probability.

    True calls per image, less false calls per image, each of which costs the odds of the
    threshold: who calls from 10 % on takes nine false calls for one true one.

    Parameters
    ----------
    truth, p : ndarray, shape (n,)
        NaN where unknown.
    thresholds : ndarray, shape (T,)
        Above 0 and below 1.

    Returns
    -------
    ndarray, shape (T,)
        Calling none has 0, calling rightly has the prevalence; NaN without a known image.
    """
    known = np.isfinite(truth) & np.isfinite(p)
    truth, p = truth[known], p[known]
    if not len(p):
        return np.full(len(thresholds), np.nan)
    positive, negative = np.sort(p[truth == 1]), np.sort(p[truth == 0])
    true_calls = len(positive) - np.searchsorted(positive, thresholds, side="left")
    false_calls = len(negative) - np.searchsorted(negative, thresholds, side="left")
    return np.asarray((true_calls - false_calls * thresholds / (1 - thresholds)) / len(p))


def decision_curve(
    truth: Sequence[Matrix], p: Sequence[Matrix], thresholds: Matrix = THRESHOLDS
) -> dict[str, list[float]]:
    """Average the net benefit of one class over the repeats, beside that of calling all.

    Parameters
    ----------
    truth, p
        Per repeat, of its out-of-fold images, shape (n,).

    Returns
    -------
    dict
        Lists ``threshold``, ``net_benefit`` and ``treat_all``, all of length T.
    """
    of_model = [net_benefit(t, q, thresholds) for t, q in zip(truth, p, strict=True)]
    of_all = [
        net_benefit(t, np.where(np.isfinite(q), 1.0, np.nan), thresholds)
        for t, q in zip(truth, p, strict=True)
    ]
    return {
        "threshold": thresholds.tolist(),
        "net_benefit": np.round(np.mean(of_model, axis=0), DIGITS).tolist(),
        "treat_all": np.round(np.mean(of_all, axis=0), DIGITS).tolist(),
    }
