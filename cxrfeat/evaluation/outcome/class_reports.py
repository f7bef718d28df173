"""The best head of each extractor, class by class."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from cxrfeat.arrays import Matrix
from cxrfeat.evaluation.heads.registry import FLOOR
from cxrfeat.evaluation.outcome.fold_scores import where_called
from cxrfeat.evaluation.outcome.out_of_fold import OutOfFold, RetrainedFolds
from cxrfeat.evaluation.outcome.score_intervals import (
    area_intervals,
    retrained_of,
    score_interval,
)
from cxrfeat.evaluation.statistics.decision_curve import decision_curve
from cxrfeat.evaluation.statistics.metrics import METRICS, Weights, decide
from cxrfeat.evaluation.statistics.metrics.calibration_error import per_class_ece, reliability
from cxrfeat.evaluation.statistics.metrics.curve_areas import per_class_auprc, per_class_auroc
from cxrfeat.evaluation.statistics.metrics.decisions import (
    Counts,
    at_prevalence,
    confusion,
    counts,
)
from cxrfeat.evaluation.statistics.metrics.undefined import known_truth, mean_of_known
from cxrfeat.evaluation.statistics.recalibration import Recalibration, recalibration
from cxrfeat.evaluation.study.folds import Fold
from cxrfeat.evaluation.validation.side_by_side import Run, in_order
from cxrfeat.evaluation.validation.tuning import Outcome
from cxrfeat.results import ClassReport, HeadReport, Interval, Score


@dataclass(frozen=True)
class _Repeat:
    """All out-of-fold images of one repeat.

    Attributes
    ----------
    truth, p : ndarray, shape (m, K)
    fold, patient : ndarray of int, shape (m,)
    """

    truth: Matrix
    p: Matrix
    fold: npt.NDArray[np.intp]
    patient: npt.NDArray[np.intp]


@dataclass(frozen=True)
class _Decisions:
    """Right and wrong calls of the first repeat: each fold decides with its own thresholds.

    Attributes
    ----------
    called : Counts
        As labels are called.
    at_specificity : Counts
        With the thresholds for the wanted specificity.
    """

    called: Counts
    at_specificity: Counts


def report_heads(
    found: OutOfFold,
    ranked: Sequence[Score],
    heads: Mapping[str, str],
    prevalence: float | None,
    run: Run | None = None,
) -> list[HeadReport]:
    """Report the chosen head of each extractor, class by class.

    Parameters
    ----------
    heads
        From `extractor_scores.chosen_heads`.
    prevalence : float or None
        For PPV and NPV in another population.
    run : Run or None
        Where they are reported on; in threads, one per core, when left out.
    """
    scores = {(score.extractor, score.head): score for score in ranked}
    tasks = [(scores[one], prevalence) for one in heads.items()]
    return in_order(run, partial(_report, found), tasks)


def without_slope(reports: Sequence[HeadReport]) -> list[str]:
    """Say for which classes there is no calibration slope, and why; guessing never has one."""
    notes = []
    for report in reports:
        names = [one.name for one in report.classes if not np.isfinite(one.calibration_slope)]
        if names and report.head != FLOOR:
            notes.append(
                f"{report.extractor} with {report.head} has no calibration slope for"
                f" {', '.join(names)}: the out-of-fold probabilities separate the images of a class"
                " from all others, or do not tell the images of any fold apart"
            )
    return notes


def _report(found: OutOfFold, score: Score, prevalence: float | None) -> HeadReport:
    of_folds = found.outcomes[score.extractor, score.head]
    first = [(found.folds[number], of_folds[number]) for number in found.first_repeat]
    table = np.zeros((len(found.study.classes),) * 2, dtype=np.intp)
    if found.exclusive:
        for fold, outcome in first:
            table += confusion(found.truth[fold.test], outcome.probability)
    again = retrained_of(found, score.extractor, [score.head] * len(found.folds))
    return HeadReport(
        extractor=score.extractor,
        head=score.head,
        control=score.control,
        intervals={
            name: score_interval(
                found,
                metric,
                np.array([one["metrics"][name] for one in score.folds]),
                of_folds,
                again,
            )
            for name, metric in METRICS.items()
            if not metric.descriptive
        },
        classes=_class_reports(found, of_folds, first, again, prevalence),
        confusion=table.tolist() if found.exclusive else [],
    )


def _class_reports(
    found: OutOfFold,
    of_folds: Sequence[Outcome],
    first: Sequence[tuple[Fold, Outcome]],
    again: RetrainedFolds,
    prevalence: float | None,
) -> list[ClassReport]:
    truth = np.concatenate([found.truth[fold.test] for fold, _ in first])
    p = np.concatenate([outcome.probability for _, outcome in first])
    decisions = _decisions(found, truth, p, first)
    areas = _per_class(found, per_class_auroc, of_folds)
    precisions = _per_class(found, per_class_auprc, of_folds)
    intervals = area_intervals(found, areas, of_folds, again)
    together = _repeats(found, of_folds)
    return [
        _class_report(
            name,
            k,
            truth[:, k],
            p[:, k],
            decisions,
            (mean_of_known(areas[:, k]), mean_of_known(precisions[:, k]), intervals[k]),
            together,
            prevalence,
        )
        for k, name in enumerate(found.study.classes)
    ]


def _decisions(
    found: OutOfFold, truth: Matrix, p: Matrix, first: Sequence[tuple[Fold, Outcome]]
) -> _Decisions:
    called = np.concatenate(
        [decide(one.probability, found.exclusive, one.cuts) for _, one in first]
    )
    at = np.concatenate([one.probability > one.thresholds for _, one in first])
    judged = np.concatenate([where_called(found.truth[fold.test], one) for fold, one in first])
    once = Weights.once(len(truth))
    return _Decisions(counts(known_truth(truth, p), called, once), counts(judged, at, once))


def _class_report(
    name: str,
    k: int,
    truth: Matrix,
    p: Matrix,
    decisions: _Decisions,
    areas: tuple[float, float, Interval],
    together: Sequence[_Repeat],
    prevalence: float | None,
) -> ClassReport:
    plain, fixed = decisions.called, decisions.at_specificity
    sensitivity, specificity = float(plain.sensitivity[0, k]), float(plain.specificity[0, k])
    support, known = int(np.nansum(truth)), int(np.isfinite(truth).sum())
    ppv, npv = float("nan"), float("nan")
    if prevalence is not None:
        ppv, npv = at_prevalence(sensitivity, specificity, prevalence)
    auroc, auprc, auroc_interval = areas
    line = _recalibration(together, k)
    return ClassReport(
        name=name,
        support=support,
        known=known,
        prevalence=support / known if known else float("nan"),
        auroc=auroc,
        auprc=auprc,
        precision=float(plain.ppv[0, k]),
        recall=sensitivity,
        f1=float(plain.f1[0, k]),
        specificity=specificity,
        npv=float(plain.npv[0, k]),
        sensitivity_at=float(fixed.sensitivity[0, k]),
        specificity_at=float(fixed.specificity[0, k]),
        ppv_at_prevalence=ppv,
        npv_at_prevalence=npv,
        reliability=reliability(truth, p),
        auroc_interval=auroc_interval,
        ece=_calibration_error(together, k),
        calibration_slope=line.slope,
        calibration_slope_interval=line.slope_interval,
        calibration_intercept=line.intercept,
        calibration_intercept_interval=line.intercept_interval,
        decision_curve=decision_curve(
            [one.truth[:, k] for one in together], [one.p[:, k] for one in together]
        ),
    )


def _recalibration(together: Sequence[_Repeat], k: int) -> Recalibration:
    return recalibration(
        np.concatenate([one.truth[:, k] for one in together]),
        np.concatenate([one.p[:, k] for one in together]),
        repeat=np.repeat(np.arange(len(together)), [len(one.p) for one in together]),
        fold=np.concatenate([one.fold for one in together]),
        patient=np.concatenate([one.patient for one in together]),
    )


def _calibration_error(together: Sequence[_Repeat], k: int) -> float:
    errors = [per_class_ece(one.truth[:, [k]], one.p[:, [k]])[0, 0] for one in together]
    return mean_of_known(np.array(errors))


def _repeats(found: OutOfFold, of_folds: Sequence[Outcome]) -> list[_Repeat]:
    """Put the folds of each repeat together, for what is asked of probabilities as they are."""
    together = []
    for repeat in dict.fromkeys(fold.repeat for fold in found.folds):
        parts = [
            (fold.test, outcome.probability)
            for fold, outcome in zip(found.folds, of_folds, strict=True)
            if fold.repeat == repeat
        ]
        rows = np.concatenate([rows for rows, _ in parts])
        together.append(
            _Repeat(
                found.truth[rows],
                np.concatenate([p for _, p in parts]),
                np.repeat(np.arange(len(parts)), [len(rows) for rows, _ in parts]),
                found.resamples.patient[rows],
            )
        )
    return together


def _per_class(
    found: OutOfFold,
    per_class: Callable[[Matrix, Matrix], Matrix],
    of_folds: Sequence[Outcome],
) -> Matrix:
    """Score every class on every fold, shape (folds, K)."""
    return np.stack(
        [
            per_class(found.truth[fold.test], outcome.probability)[0]
            for fold, outcome in zip(found.folds, of_folds, strict=True)
        ]
    )
