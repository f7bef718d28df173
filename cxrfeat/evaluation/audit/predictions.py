"""What is predicted of whom out of fold, and the scores of any part of the tested images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt
from scipy import stats

from cxrfeat.arrays import Groups, Matrix, Matrix32, Vector
from cxrfeat.evaluation.audit.subject import Subject
from cxrfeat.evaluation.heads.standardised_fold import SharedFold
from cxrfeat.evaluation.statistics.intervals import Variance, limits, over_patients
from cxrfeat.evaluation.statistics.metrics import Metric
from cxrfeat.evaluation.statistics.metrics.undefined import mean_of_known
from cxrfeat.evaluation.statistics.patient_influence import TestPatients
from cxrfeat.evaluation.study.folds import Fold
from cxrfeat.evaluation.study.study import Study
from cxrfeat.evaluation.validation.problems import problems
from cxrfeat.evaluation.validation.side_by_side import in_order, in_threads
from cxrfeat.evaluation.validation.tuning import Plan, score_head
from cxrfeat.results.data import Interval

MatrixOf = Callable[[Fold], Matrix32]
"""Gives the matrix of a fold, shape (N, D): what is learned for it comes from its training rows."""


@dataclass(frozen=True)
class Predicted:
    """Predictions of test rows, fold by fold.

    Attributes
    ----------
    folds : list of Fold
    probability : list of ndarray, shape (m, K)
        Of the test rows of each fold; NaN of a label that could not be learned.
    cuts : list of ndarray, shape (K,)
        Per fold the probability above which each label is called.
    """

    folds: Sequence[Fold]
    probability: Sequence[Matrix]
    cuts: Sequence[Matrix]

    def among(self, wanted: npt.NDArray[np.bool_]) -> Predicted:
        """Take some test rows only.

        Parameters
        ----------
        wanted : ndarray of bool, shape (N,)
        """
        folds, probability, cuts = [], [], []
        for fold, p, above in zip(self.folds, self.probability, self.cuts, strict=True):
            here = np.flatnonzero(wanted[fold.test])
            if len(here):
                folds.append(replace(fold, test=fold.test[here]))
                probability.append(p[here])
                cuts.append(above)
        return Predicted(folds, probability, cuts)


@dataclass(frozen=True)
class PartScore:
    """A score of tested images, with the models as they are.

    Attributes
    ----------
    value : float
        Mean over the folds that define it; NaN where none does.
    interval : tuple of float
        95 %, over the tested patients.
    variance : Variance
    contributions : ndarray
        Of each tested patient, or block of them.
    """

    value: float
    interval: Interval
    variance: Variance
    contributions: Vector


@dataclass(frozen=True)
class Difference:
    """Of two scores: the first less the second, turned so that more is better.

    Attributes
    ----------
    value : float
    interval : tuple of float
        95 %.
    p : float
        Two-sided.
    error, degrees : float
        Standard error and its degrees of freedom.
    """

    value: float
    interval: Interval
    p: float
    error: float
    degrees: float

    @classmethod
    def of(cls, value: float, variance: float, degrees: float) -> Difference:
        """Make it by Student's t."""
        error, degrees = float(np.sqrt(variance)), max(degrees, 1.0)
        reach = float(stats.t.ppf(0.975, degrees)) * error
        p = float("nan")
        if error > 0:
            p = 2 * float(stats.t.sf(abs(value) / error, degrees))
        elif np.isfinite(value) and error == 0:
            p = float(value == 0)
        return cls(value, (value - reach, value + reach), p, error, degrees)

    @property
    def p_above(self) -> float:
        """One-sided p-value that it is not above 0."""
        return self.p / 2 if self.value > 0 else 1 - self.p / 2


def predict(subject: Subject, matrix: Matrix32 | MatrixOf, study: Study | None = None) -> Predicted:
    """Tune and fit the head of a subject on each fold, and predict its test rows.

    Unlike `score` nothing is fitted again without another fold, so that it takes half the time.
    Folds whose training rows teach nothing are left out.

    Parameters
    ----------
    matrix : ndarray of float32, shape (N, D), or callable
        For all folds, or one for each.
    study : Study or None
        The same images with other labels; those of the subject when left out.
    """
    asked = subject.study if study is None else study
    labels = asked.labels.astype(np.float64)
    plan = replace(subject.plan, exclusive=asked.kind == "multiclass")
    work = partial(_predict_fold, matrix, labels, subject.design.groups, plan)
    folds = [fold for fold in subject.design.folds if teaches(labels[fold.train], plan.exclusive)]
    found = in_order(in_threads(subject.jobs), work, [(fold,) for fold in folds])
    return Predicted(folds, [p for p, _ in found], [cuts for _, cuts in found])


def teaches(labels: Matrix | Matrix32, exclusive: bool) -> bool:
    """Whether training rows have two classes, or both values of some label."""
    held = (labels == 1).any(axis=0)
    return int(held.sum()) > 1 if exclusive else bool((held & (labels == 0).any(axis=0)).any())


def _predict_fold(
    matrix: Matrix32 | MatrixOf, labels: Matrix, groups: Groups, plan: Plan, fold: Fold
) -> tuple[Matrix, Matrix]:
    X = matrix(fold) if callable(matrix) else matrix
    shared = SharedFold(np.ascontiguousarray(X, dtype=np.float32), fold.train, fold.test)
    known = None if groups is None else groups[fold.train]
    found = problems(labels[fold.train], known, plan.exclusive, plan.seed)
    outcome = score_head(plan.heads[0], shared, found, labels.shape[1], plan)
    return outcome.probability, outcome.cuts


def part_score(
    predicted: Predicted, truth: Matrix, patients: Groups, metric: Metric, exclusive: bool
) -> PartScore:
    """Score predictions by the mean over their folds.

    Parameters
    ----------
    truth : ndarray, shape (N, K)
        NaN where unknown.
    """
    nan = float("nan")
    nothing = PartScore(nan, (nan, nan), Variance(nan, 1.0), np.zeros(0))
    if not predicted.folds:
        return nothing
    values = np.array(
        [
            metric(truth[fold.test], p, exclusive, above)
            for fold, p, above in zip(
                predicted.folds, predicted.probability, predicted.cuts, strict=True
            )
        ]
    )
    if not np.isfinite(values).any():
        return nothing
    tested = TestPatients(predicted.folds, patients)
    contributions = tested.contributions(
        metric, truth, predicted.probability, exclusive, predicted.cuts
    )
    variance = over_patients(contributions)
    value = mean_of_known(values)
    rarer = min((of for of in map(tested.of_rarer_side, truth.T) if of), default=0)
    found = limits(value, variance, metric.name, rarer)
    return PartScore(value, found, variance, contributions)


def paired(first: PartScore, second: PartScore, metric: Metric) -> Difference:
    """Compare two scores of the same test rows, patient by patient."""
    variance = first.variance
    if np.isfinite(first.value) and np.isfinite(second.value):
        variance = over_patients(first.contributions - second.contributions)
    return _difference(first, second, metric, variance)


def unpaired(first: PartScore, second: PartScore, metric: Metric) -> Difference:
    """Compare the scores of two parts; patients with images in both make it a little too wide."""
    return _difference(first, second, metric, first.variance + second.variance)


def _difference(
    first: PartScore, second: PartScore, metric: Metric, variance: Variance
) -> Difference:
    sign = 1.0 if metric.larger_is_better else -1.0
    value = sign * (first.value - second.value)
    return Difference.of(value, variance.value, variance.degrees)
