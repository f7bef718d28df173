"""ROC and precision-recall curves over the folds, with bands from drawing patients anew.

A fold's curve is of one model. Curves of different models are averaged at equal false positive
rate (ROC) or equal recall (precision-recall), never pooled, so that the area under the mean curve
is the mean area of the tables.

References
----------
Fawcett T. An introduction to ROC analysis. Pattern Recognit Lett 2006 (vertical averaging).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from cxrfeat.arrays import Matrix, RowNumbers
from cxrfeat.evaluation.statistics.metrics import Weights
from cxrfeat.evaluation.statistics.metrics.curve_areas import Ranked
from cxrfeat.evaluation.statistics.patient_bootstrap import CHUNK, PatientResamples
from cxrfeat.evaluation.study.folds import Fold

GRID = np.linspace(0.0, 1.0, 101)
"""False positive rates, or recalls, at which curves are averaged."""


@dataclass(frozen=True)
class Band:
    """A mean curve with 95 % of what other patients would have given, point by point.

    Attributes
    ----------
    x, y, low, high : ndarray, shape (101,)
        `x` is the false positive rate or the recall.
    """

    x: Matrix
    y: Matrix
    low: Matrix
    high: Matrix


def roc_band(
    truth: Matrix, folds: Sequence[Fold], scores: Sequence[Matrix], resamples: PatientResamples
) -> Band | None:
    """Average one class's ROC curve over the folds.

    Parameters
    ----------
    truth : ndarray, shape (n,)
        1 or 0, NaN where unknown.
    folds, scores
        Per fold, the scores of its test rows.
    resamples : PatientResamples

    Returns
    -------
    Band or None
        Sensitivity at every false positive rate; None where no fold has both sides.
    """
    return _band(_sensitivity_at, truth, folds, scores, resamples)


def precision_recall_band(
    truth: Matrix, folds: Sequence[Fold], scores: Sequence[Matrix], resamples: PatientResamples
) -> Band | None:
    """Average one class's precision-recall curve over the folds; parameters as `roc_band`.

    The precision at a recall is the one at the largest threshold that reaches it, as in average
    precision.
    """
    return _band(_precision_at, truth, folds, scores, resamples)


Curve = Callable[[Matrix, Matrix], Matrix]


def _band(
    curve: Curve,
    truth: Matrix,
    folds: Sequence[Fold],
    scores: Sequence[Matrix],
    resamples: PatientResamples,
) -> Band | None:
    draws = len(resamples.drawn)
    plain = np.zeros((1, len(GRID)))
    drawn = np.zeros((draws, len(GRID)))
    folds_of_plain, folds_of_drawn = np.zeros((1, 1)), np.zeros((draws, 1))
    for fold, score in zip(folds, scores, strict=True):
        ranked = Ranked.by(truth[fold.test], score)
        known = len(ranked.positives) + len(ranked.negatives)
        if not known:
            continue
        _add(plain, folds_of_plain, slice(None), curve, ranked, Weights.once(len(score)))
        patients, unit = np.unique(resamples.patient[fold.test], return_inverse=True)
        step = max(1, CHUNK // known)
        for start in range(0, draws, step):
            rows = slice(start, start + step)
            weights = resamples.drawn[rows, patients].T.astype(np.float32, order="C")
            _add(drawn, folds_of_drawn, rows, curve, ranked, Weights(weights, unit))
    if not folds_of_plain[0, 0]:
        return None
    usable = folds_of_drawn[:, 0] > 0
    if not usable.any():
        return None
    low, high = np.quantile(drawn[usable] / folds_of_drawn[usable], [0.025, 0.975], axis=0)
    return Band(GRID, (plain / folds_of_plain)[0], low, high)


def _add(
    total: Matrix,
    folds: Matrix,
    rows: slice,
    curve: Curve,
    ranked: Ranked,
    weights: Weights,
) -> None:
    """Add one fold's curve to each draw that has both positives and negatives in it.

    A curve turns only at the scores that positives have: between two of them it is a straight line.
    """
    positive, upto = ranked.counted(weights)
    upto = upto.astype(np.float64)
    hits = np.repeat(np.concatenate([positive, np.zeros((1, len(weights)))]), 2, axis=0)[:-1]
    hits[::2] = 0.0
    hits = np.ascontiguousarray(np.cumsum(hits[::-1], axis=0).T)
    # Called from each segment on, the highest first: all negatives but those below.
    below = np.concatenate([upto[-2::-1], np.zeros((1, len(weights)))])
    misses = np.ascontiguousarray((upto[-1] - below).T)
    defined = (hits[:, -1:] > 0) & (misses[:, -1:] > 0)
    total[rows] += np.where(defined, curve(hits, misses), 0.0)
    folds[rows] += defined


def _sensitivity_at(hits: Matrix, misses: Matrix) -> Matrix:
    """Sensitivity at every rate of `GRID`, between thresholds on a straight line."""
    nothing = np.zeros((len(hits), 1))
    x = np.concatenate([nothing, misses / np.maximum(misses[:, -1:], 1)], axis=1)
    y = np.concatenate([nothing, hits / np.maximum(hits[:, -1:], 1)], axis=1)
    before = _positions(x, GRID, "right") - 1
    after = np.minimum(before + 1, x.shape[1] - 1)
    x0, x1 = np.take_along_axis(x, before, 1), np.take_along_axis(x, after, 1)
    y0, y1 = np.take_along_axis(y, before, 1), np.take_along_axis(y, after, 1)
    share = np.divide(GRID - x0, x1 - x0, out=np.zeros_like(x0), where=x1 > x0)
    return y0 + share * (y1 - y0)


def _precision_at(hits: Matrix, misses: Matrix) -> Matrix:
    """Precision at the first threshold that reaches each recall of `GRID`."""
    recall = hits / np.maximum(hits[:, -1:], 1)
    precision = hits / np.maximum(hits + misses, 1e-300)
    # A hair less than each recall, so that rounding does not skip the threshold that reaches it.
    wanted = np.maximum(GRID - 1e-9, 1e-9)
    first = np.minimum(_positions(recall, wanted, "left"), recall.shape[1] - 1)
    return np.take_along_axis(precision, first, 1)


def _positions(x: Matrix, wanted: Matrix, side: str) -> RowNumbers:
    """Search every row of `x`, sorted and within [0, 1], at once."""
    rows = np.arange(len(x))[:, None]
    apart = 2.0 * rows  # so that the rows, one after the other, are sorted as a whole
    found = np.searchsorted(
        (x + apart).ravel(),
        (np.asarray(wanted)[None, :] + apart).ravel(),
        side=side,  # type: ignore[call-overload]
    )
    return np.asarray(found.reshape(len(x), -1) - rows * x.shape[1])
