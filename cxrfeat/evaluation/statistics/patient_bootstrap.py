"""Intervals by drawing patients anew, many times at once.

The models stay as they are; the patients that scored them are drawn with replacement, all images
of a patient together. A score of several folds is the mean of the folds' scores in each draw, so
that scores of different models are never pooled.

References
----------
Efron B, Tibshirani RJ. An introduction to the bootstrap. 1993, chapters 6 and 13; for clustered
images Rutter CM. Bootstrap estimation of diagnostic accuracy with patient-clustered data. Acad
Radiol 2000.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cxrfeat.arrays import Groups, Matrix
from cxrfeat.evaluation.statistics.metrics import CUT, Metric, Predictions, Weights
from cxrfeat.evaluation.study.folds import Fold

RESAMPLES = 2000
CHUNK = 4_000_000
"""Weights held at a time (32 MB in float64)."""


class PatientResamples:
    """How often each image is drawn in each resample of the patients.

    Parameters
    ----------
    n : int
        Images.
    groups : ndarray of str, shape (n,), or None
        Patients; without them every image is drawn by itself.
    resamples : int
    seed : int
    """

    def __init__(self, n: int, groups: Groups, *, resamples: int = RESAMPLES, seed: int = 0):
        random = np.random.default_rng(seed)
        if groups is None:
            self.patient = np.arange(n)
        else:
            self.patient = np.unique(groups, return_inverse=True)[1]
        patients = int(self.patient.max()) + 1 if n else 0
        self.drawn = np.empty((resamples, patients), dtype=np.uint8)
        for row in self.drawn:
            row[:] = np.bincount(random.integers(0, patients, patients), minlength=patients)

    def scores(
        self,
        metric: Metric,
        truth: Matrix,
        folds: Sequence[Fold],
        probabilities: Sequence[Matrix],
        exclusive: bool,
        thresholds: Sequence[Matrix] | None = None,
    ) -> Matrix:
        """Score every resample, shape (resamples,); NaN for a metric that only describes.

        Drawing images anew adds their noise to a calibration error once more: the drawn values
        lie above the error itself, and an interval of them need not contain it.

        Parameters
        ----------
        truth : ndarray, shape (n, K)
        probabilities
            Per fold, of its test rows.
        thresholds
            Per fold, shape (K,): the probabilities above which its model calls labels.
        """
        if metric.descriptive:
            return np.full(len(self.drawn), np.nan)
        total = np.zeros(len(self.drawn))
        defined = np.zeros(len(self.drawn))
        calling: Sequence[Matrix | float] = thresholds or [CUT] * len(folds)
        for fold, p, above in zip(folds, probabilities, calling, strict=True):
            step = max(1, CHUNK // max(1, len(fold.test)))
            patients, unit = np.unique(self.patient[fold.test], return_inverse=True)
            predictions = Predictions(truth[fold.test], p, exclusive, above)
            for start in range(0, len(self.drawn), step):
                rows = slice(start, start + step)
                drawn = self.drawn[rows, patients].T.astype(np.float32, order="C")
                value = metric.formula(predictions.counted(Weights(drawn, unit)))
                known = np.isfinite(value)
                total[rows] += np.where(known, value, 0.0)
                defined[rows] += known
        return np.divide(total, defined, out=np.full(len(total), np.nan), where=defined > 0)


def interval(values: Matrix, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of resampled values; NaN where hardly any is defined."""
    known = values[np.isfinite(values)]
    if len(known) < len(values) / 2:
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
