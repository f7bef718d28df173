"""How sure a cross-validated score is: over the tested patients, and over those learned from."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from cxrfeat.arrays import Matrix
from cxrfeat.evaluation.outcome.out_of_fold import OutOfFold, RetrainedFolds
from cxrfeat.evaluation.statistics.intervals import FEWEST, limits, over_patients, over_training
from cxrfeat.evaluation.statistics.metrics import Metric
from cxrfeat.evaluation.statistics.metrics.undefined import mean_of_known
from cxrfeat.evaluation.validation.retrained import Retrained
from cxrfeat.evaluation.validation.tuning import Outcome
from cxrfeat.results import Interval
from cxrfeat.results.data import OVER_BOTH, OVER_TESTED, over


def intervals_over(found: OutOfFold) -> str:
    """Say what the intervals are over."""
    both = bool(found.retrained) and len(found.first_repeat) >= FEWEST
    return over(OVER_BOTH if both else OVER_TESTED, patients=found.patients.known)


def retrained_of(found: OutOfFold, extractor: str, heads: Sequence[str]) -> RetrainedFolds:
    """List what a head of each fold scores when it learns without each other fold."""
    nothing = [None] * len(found.folds)
    return [
        found.retrained.get((extractor, head), nothing)[number] for number, head in enumerate(heads)
    ]


def contributions(found: OutOfFold, metric: Metric, of_folds: Sequence[Outcome]) -> Matrix:
    """Contributions of each tested patient, or block of them, to a score."""
    return found.patients.contributions(
        metric, found.truth, [one.probability for one in of_folds], found.exclusive,
        [one.cuts for one in of_folds],
    )  # fmt: skip


def score_interval(
    found: OutOfFold,
    metric: Metric,
    values: Matrix,
    of_folds: Sequence[Outcome],
    again: RetrainedFolds,
) -> Interval:
    """Interval of the mean of a metric over the folds, whose values are given."""
    return _limits(
        found, metric.name, values, contributions(found, metric, of_folds), again,
        lambda one: one.metrics[metric.name], min(found.rarer_side),
    )  # fmt: skip


def area_intervals(
    found: OutOfFold, areas: Matrix, of_folds: Sequence[Outcome], again: RetrainedFolds
) -> list[Interval]:
    """Interval of each class's AUROC, whose values of shape (folds, K) are given."""
    _, of_patients = found.patients.of_auroc(found.truth, [one.probability for one in of_folds])

    def of_class(k: int) -> Callable[[Retrained], Matrix]:
        return lambda one: one.areas[:, k]

    return [
        _limits(
            found, "auroc", areas[:, k], of_patients[:, k], again, of_class(k),
            found.rarer_side[k],
        )
        for k in range(len(found.study.classes))
    ]  # fmt: skip


def _limits(
    found: OutOfFold,
    name: str,
    values: Matrix,
    of_patients: Matrix,
    again: RetrainedFolds,
    score: Callable[[Retrained], Matrix],
    patients: int,
) -> Interval:
    variance = over_patients(of_patients)
    first = [again[number] for number in found.first_repeat]
    known = [one for one in first if one is not None]
    if len(known) == len(first):
        training = over_training(
            values[found.first_repeat],
            np.stack([score(one) for one in known]),
            np.stack([one.share for one in known]),
        )
        variance = variance + training if training is not None else variance
    return limits(mean_of_known(values), variance, name, patients)
