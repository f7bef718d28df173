"""Areas under the ROC and the precision-recall curve, class by class, for many resamples."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cxrfeat.arrays import Matrix
from cxrfeat.evaluation.statistics.metrics.undefined import ratio


def per_class_auroc(truth: Matrix, p: Matrix, weights: Matrix) -> Matrix:
    """One-vs-rest area under the ROC curve of each class, shape (B, K).

    It is the probability that a positive image scores above a negative one, ties counted half.

    References
    ----------
    Hanley JA, McNeil BJ. The meaning and use of the area under a ROC curve. Radiology 1982.
    """
    columns = []
    for truth_k, score in zip(truth.T, p.T, strict=True):
        positive, negative, starts = _by_score(truth_k, score, weights)
        # Per distinct score: what is there, and the negatives below.
        here_positive = np.add.reduceat(positive, starts, axis=1)
        here_negative = np.add.reduceat(negative, starts, axis=1)
        below = np.cumsum(here_negative, axis=1) - here_negative
        won = np.sum(here_positive * (below + 0.5 * here_negative), axis=1)
        columns.append(ratio(won, positive.sum(axis=1) * negative.sum(axis=1)))
    return np.stack(columns, axis=1)


def per_class_auprc(truth: Matrix, p: Matrix, weights: Matrix) -> Matrix:
    """Average precision of each class, shape (B, K); its floor is the prevalence.

    The mean of the precision over the positives, each at its own score as threshold, without
    interpolation.

    References
    ----------
    Davis J, Goadrich M. The relationship between precision-recall and ROC curves. ICML 2006.
    """
    columns = []
    for truth_k, score in zip(truth.T, p.T, strict=True):
        positive, negative, starts = _by_score(truth_k, -score, weights)
        hits = np.add.reduceat(positive, starts, axis=1)
        called = np.cumsum(np.add.reduceat(positive + negative, starts, axis=1), axis=1)
        precision = np.cumsum(hits, axis=1) / np.maximum(called, 1e-300)
        total = positive.sum(axis=1)
        columns.append(
            np.where(
                negative.sum(axis=1) > 0, ratio(np.sum(hits * precision, axis=1), total), np.nan
            )
        )
    return np.stack(columns, axis=1)


def _by_score(
    truth: Matrix, score: Matrix, weights: Matrix
) -> tuple[Matrix, Matrix, npt.NDArray[np.intp]]:
    """Weights of positives and negatives in order of score, and where each score starts."""
    known = np.flatnonzero(np.isfinite(truth) & np.isfinite(score))
    if not len(known):
        nothing = np.zeros((len(weights), 1))
        return nothing, nothing, np.zeros(1, dtype=np.intp)
    order = known[np.argsort(score[known], kind="stable")]
    ordered = score[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    counted = weights[:, order]
    positive = counted * (truth[order] == 1)
    return positive, counted - positive, starts
