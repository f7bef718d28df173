"""What each patient contributes to a score: the variance over test patients, models fixed.

A score moves by the sum of its patients' contributions when other patients are tested. The sum of
their squares estimates its variance, all images of a patient together, and the mean over folds is
kept: scores of different models are never pooled. For AUROC the contributions are known in closed
form, at the price of sorting; for other metrics blocks of patients are left out in turn.

References
----------
DeLong ER et al. Biometrics 1988;44:837-845 (the components of one AUROC); Obuchowski NA.
Nonparametric analysis of clustered ROC curve data. Biometrics 1997;53:567-578 (several images of a
patient); LeDell E, Petersen M, van der Laan M. Computationally efficient confidence intervals for
cross-validated area under the ROC curve estimates. Electron J Stat 2015;9:1583-1607 (over folds).
Efron B, Tibshirani RJ. An introduction to the bootstrap. 1993, chapter 11 (the jackknife).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cxrfeat.arrays import Groups, Matrix, Vector
from cxrfeat.evaluation.statistics.metrics import CUT, Metric, Predictions, Weights
from cxrfeat.evaluation.statistics.metrics.curve_areas import Ranked
from cxrfeat.evaluation.statistics.patient_bootstrap import CHUNK
from cxrfeat.evaluation.study.folds import Fold

BLOCKS = 200
"""Blocks of patients that are left out in turn; single patients where there are fewer."""


class TestPatients:
    """The patients of the test rows, and what each contributes to a score.

    Parameters
    ----------
    folds
    groups : ndarray of str, shape (n,), or None
        Patients; without them every image counts by itself.
    seed : int
        Of the blocks.
    """

    __test__ = False  # not a test of pytest

    def __init__(self, folds: Sequence[Fold], groups: Groups, *, seed: int = 0) -> None:
        self.folds = folds
        self.known = groups is not None
        tested = np.unique(np.concatenate([fold.test for fold in folds]))
        unit = np.arange(len(tested))
        if groups is not None:
            unit = np.unique(groups[tested], return_inverse=True)[1]
        self._of_row = np.full(int(tested.max()) + 1 if len(tested) else 0, -1, dtype=np.intp)
        self._of_row[tested] = unit
        self.count = int(self._of_row.max()) + 1 if len(tested) else 0
        self.blocks = min(self.count, BLOCKS)
        order = np.random.default_rng(seed).permutation(self.count)
        self._block = np.empty(self.count, dtype=np.intp)
        self._block[order] = np.arange(self.count) % max(self.blocks, 1)

    def of(self, fold: Fold) -> npt.NDArray[np.intp]:
        """Give the patient of each test row, counted from 0."""
        return self._of_row[fold.test]

    def of_rarer_side(self, truth: Vector) -> int:
        """Count the tested patients with the rarer truth of a class, shape (n,)."""
        rows = np.flatnonzero(self._of_row >= 0)
        of_side = (self._of_row[rows[truth[rows] == side]] for side in (0, 1))
        return min(int(np.count_nonzero(np.bincount(of, minlength=1))) for of in of_side)

    def contributions(
        self,
        metric: Metric,
        truth: Matrix,
        probabilities: Sequence[Matrix],
        exclusive: bool,
        thresholds: Sequence[Matrix] | None = None,
    ) -> Vector:
        """Contributions to the mean of a metric over the folds.

        Parameters
        ----------
        truth : ndarray, shape (n, K)
        probabilities
            Per fold, of its test rows.
        thresholds
            Per fold, shape (K,): the probabilities above which its model calls labels.

        Returns
        -------
        ndarray, shape (patients,) or (blocks,)
        """
        if metric.name == "auroc":
            return self.of_auroc(truth, probabilities)[0]
        calling: Sequence[Matrix | float] = thresholds or [CUT] * len(self.folds)
        return self._left_out(metric, truth, probabilities, exclusive, calling)

    def of_auroc(self, truth: Matrix, probabilities: Sequence[Matrix]) -> tuple[Vector, Matrix]:
        """Contributions to macro AUROC and to each class's, both as means over the folds.

        A positive image contributes the share of negatives that it scores above, a negative one
        the share of positives above it, both as deviations from the class's mean area.

        Returns
        -------
        macro : ndarray, shape (patients,)
        classes : ndarray, shape (patients, K)
        """
        n_classes = truth.shape[1]
        found = [self._class_deviations(truth[:, k], probabilities, k) for k in range(n_classes)]
        classes_in = np.sum([defined for defined, _ in found], axis=0)
        with_any = max(1, int(np.sum(classes_in > 0)))
        macro, classes = np.zeros(self.count), np.zeros((self.count, n_classes))
        for k, (defined, deviations) in enumerate(found):
            if not defined.any():
                continue
            classes[:, k] = deviations.sum(axis=0) / defined.sum()
            macro += (1 / (with_any * classes_in[defined])) @ deviations
        return macro, classes

    def _class_deviations(
        self, truth: Vector, probabilities: Sequence[Matrix], k: int
    ) -> tuple[npt.NDArray[np.bool_], Matrix]:
        """One class: the folds that have its AUROC, and its patients' part in each of them."""
        rows: list[npt.NDArray[np.intp] | None] = []
        sides, shares = [], []
        for fold, p in zip(self.folds, probabilities, strict=True):
            known = np.isfinite(truth[fold.test]) & np.isfinite(p[:, k])
            positive = truth[fold.test][known] == 1
            if positive.all() or not positive.any():
                rows.append(None)
                continue
            rows.append(self.of(fold)[known])
            sides.append(positive)
            shares.append(placements(positive, p[known, k]))
        defined = np.array([row is not None for row in rows])
        patients = [row for row in rows if row is not None]
        deviations = np.zeros((len(patients), self.count))
        if not patients:
            return defined, deviations
        area = float(np.mean([s[of].mean() for s, of in zip(shares, sides, strict=True)]))
        for side in (True, False):
            of_side = np.zeros((len(patients), self.count))
            seen = np.zeros(self.count, dtype=bool)
            for place, (row, share, of) in enumerate(zip(patients, shares, sides, strict=True)):
                images = np.flatnonzero(of == side)
                away = share[images] - area
                of_side[place] = np.bincount(row[images], away, minlength=self.count) / len(images)
                seen[row[images]] = True
            units = int(seen.sum())
            if units > 1:
                deviations += np.sqrt(units / (units - 1)) * of_side
            else:
                # One patient shows no spread; shares between 0 and 1 have no larger one than this.
                deviations[:, seen] += np.sqrt(area * (1 - area))
        return defined, deviations

    def _left_out(
        self,
        metric: Metric,
        truth: Matrix,
        probabilities: Sequence[Matrix],
        exclusive: bool,
        thresholds: Sequence[Matrix | float],
    ) -> Vector:
        """Contributions of blocks of patients: how the score moves when each is left out."""
        total, defined = np.zeros(self.blocks), np.zeros(self.blocks)
        without = 1.0 - np.eye(self.blocks)
        for fold, p, above in zip(self.folds, probabilities, thresholds, strict=True):
            block = self._block[self.of(fold)]
            predictions = Predictions(truth[fold.test], p, exclusive, above)
            step = max(1, CHUNK // max(1, len(fold.test)))
            for start in range(0, self.blocks, step):
                rows = slice(start, start + step)
                drawn = np.ascontiguousarray(without[:, rows])
                value = metric.formula(predictions.counted(Weights(drawn, block)))
                known = np.isfinite(value)
                total[rows] += np.where(known, value, 0.0)
                defined[rows] += known
        scores = np.divide(total, defined, out=np.full(len(total), np.nan), where=defined > 0)
        known = np.isfinite(scores)
        if known.sum() < 2:
            return np.full(self.blocks, np.nan)
        moved = np.where(known, scores[known].mean() - scores, 0.0)
        return np.asarray(np.sqrt((self.blocks - 1) / self.blocks) * moved)


def placements(positive: npt.NDArray[np.bool_], score: Vector) -> Vector:
    """Share of the other side that each image is rightly ordered against, ties counted half.

    The mean over the positives, and over the negatives, is the area under the ROC curve.

    Parameters
    ----------
    positive : ndarray of bool, shape (n,)
        At least one of each kind.
    score : ndarray, shape (n,)

    References
    ----------
    By midranks, as in Sun X, Xu W. IEEE Signal Process Lett 2014;21:1389-1393.
    """
    ranked = Ranked.by(positive.astype(np.float64), score)
    share = np.empty(len(score))
    share[ranked.positives], share[ranked.negatives] = ranked.placements()
    return share
