"""From out-of-fold probabilities to tables: ranking, class reports, extractors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrfeat.arrays import Matrix
from cxrfeat.evaluation.heads.registry import FLOOR
from cxrfeat.evaluation.statistics.decision_curve import decision_curve
from cxrfeat.evaluation.statistics.extractor_comparison import Evidence
from cxrfeat.evaluation.statistics.intervals import FEWEST, limits, over_patients, over_training
from cxrfeat.evaluation.statistics.metrics import METRICS, Metric
from cxrfeat.evaluation.statistics.metrics.calibration_error import per_class_ece, reliability
from cxrfeat.evaluation.statistics.metrics.curve_areas import per_class_auprc, per_class_auroc
from cxrfeat.evaluation.statistics.metrics.decisions import (
    Counts,
    at_prevalence,
    confusion,
    counts,
    decide,
)
from cxrfeat.evaluation.statistics.metrics.undefined import known_truth
from cxrfeat.evaluation.statistics.patient_bootstrap import PatientResamples
from cxrfeat.evaluation.statistics.patient_influence import TestPatients
from cxrfeat.evaluation.statistics.recalibration import recalibration
from cxrfeat.evaluation.study.alignment import Study
from cxrfeat.evaluation.study.folds import Fold
from cxrfeat.evaluation.validation.cross_validation import Outcomes
from cxrfeat.evaluation.validation.retrained import Retrained
from cxrfeat.evaluation.validation.tuning import Outcome
from cxrfeat.results import ClassReport, ExtractorScore, HeadReport, Interval, Score
from cxrfeat.results.data import OVER_BOTH, OVER_TESTED

RetrainedFolds = Sequence[Retrained | None]

AT_SPECIFICITY = "sensitivity_at_specificity"
"""The metric whose threshold comes from the training rows; beside those of the registry."""


def metric_names() -> list[str]:
    """Names of all metrics of a fold, in the order of the tables."""
    return [*METRICS, AT_SPECIFICITY]


@dataclass(frozen=True)
class Repeat:
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


class Summary:
    """Computes the tables of one run.

    Parameters
    ----------
    study, folds, outcomes
        What was predicted for whom.
    metric : Metric
        The primary one.
    resamples : PatientResamples
        The same draws for every extractor, so that differences are paired.
    prevalence : float or None
        For PPV and NPV in another population.
    patients : TestPatients or None
        Those of the test rows, for intervals; when left out, every image is one.
    retrained : dict or None
        From `CrossValidated`, for the training patients' part of the intervals.
    """

    def __init__(
        self,
        study: Study,
        folds: Sequence[Fold],
        outcomes: Outcomes,
        metric: Metric,
        resamples: PatientResamples,
        prevalence: float | None = None,
        patients: TestPatients | None = None,
        retrained: Mapping[tuple[str, str], RetrainedFolds] | None = None,
    ) -> None:
        self.study = study
        self.folds = folds
        self.outcomes = outcomes
        self.metric = metric
        self.resamples = resamples
        self.prevalence = prevalence
        self.patients = patients or TestPatients(folds, None)
        self.retrained = retrained or {}
        self.first = [number for number, fold in enumerate(folds) if fold.repeat == 0]
        self.exclusive = study.kind == "multiclass"
        self.truth = study.labels.astype(np.float64)
        self._control = {extractor.name: extractor.control for extractor in study.extractors}
        self._rarest = [self.patients.of_rarer_side(column) for column in self.truth.T]

    @property
    def sign(self) -> float:
        """1 where larger is better, else -1."""
        return 1.0 if self.metric.larger_is_better else -1.0

    def ranking(self) -> list[Score]:
        """Score every extractor and head fold by fold; the best mean first."""
        scores = []
        for (extractor, head), of_folds in self.outcomes.items():
            rows = [
                self._fold_row(fold, outcome)
                for fold, outcome in zip(self.folds, of_folds, strict=True)
            ]
            table = {
                name: np.array([row["metrics"][name] for row in rows]) for name in metric_names()
            }
            scores.append(
                Score(
                    extractor=extractor,
                    head=head,
                    control=self._control[extractor],
                    mean={name: _mean(values) for name, values in table.items()},
                    sd={name: _sd(values) for name, values in table.items()},
                    interval=self._interval(
                        self.metric,
                        table[self.metric.name],
                        of_folds,
                        self._retrained(extractor, [head] * len(self.folds)),
                    ),
                    folds=rows,
                )
            )
        return sorted(scores, key=self._rank)

    def _rank(self, score: Score) -> tuple[float, str, str]:
        value = score.mean[self.metric.name]
        return (-self.sign * value if np.isfinite(value) else np.inf, score.extractor, score.head)

    def _fold_row(self, fold: Fold, outcome: Outcome) -> dict[str, Any]:
        truth = self.truth[fold.test]
        metrics = {
            name: metric(truth, outcome.probability, self.exclusive, outcome.cuts)
            for name, metric in METRICS.items()
        }
        called = outcome.probability > outcome.thresholds
        once = np.ones((1, len(truth)))
        decided = _where_called(truth, outcome)
        sensitivity = counts(decided, called, once).sensitivity[0]
        known = np.isfinite(sensitivity)
        metrics[AT_SPECIFICITY] = float(sensitivity[known].mean()) if known.any() else float("nan")
        return {
            "name": fold.name,
            "repeat": fold.repeat,
            "train": len(fold.train),
            "test": len(fold.test),
            "tuned": [{"setting": one.setting, "tried": one.tried} for one in outcome.tuned],
            "gain": outcome.gain,
            "thresholds": [] if self.exclusive else outcome.cuts.tolist(),
            "metrics": metrics,
        }

    def _drawn(self, metric: Metric, of_folds: Sequence[Outcome]) -> Matrix:
        return self.resamples.scores(
            metric, self.truth, self.folds, [one.probability for one in of_folds], self.exclusive,
            [one.cuts for one in of_folds],
        )  # fmt: skip

    @property
    def intervals_over(self) -> str:
        """What the intervals are over, in words."""
        both = bool(self.retrained) and len(self.first) >= FEWEST
        words = OVER_BOTH if both else OVER_TESTED
        return words if self.patients.known else words.replace("patients", "images")

    def _retrained(self, extractor: str, heads: Sequence[str]) -> RetrainedFolds:
        """List what a head of each fold scores when it learns without each other fold."""
        nothing = [None] * len(self.folds)
        return [
            self.retrained.get((extractor, head), nothing)[number]
            for number, head in enumerate(heads)
        ]

    def _interval(
        self, metric: Metric, values: Matrix, of_folds: Sequence[Outcome], again: RetrainedFolds
    ) -> Interval:
        """Interval of the mean of a metric over the folds, whose values are given."""
        return self._limits(
            metric.name, values, self.contributions(metric, of_folds), again,
            lambda one: one.metrics[metric.name], min(self._rarest),
        )  # fmt: skip

    def contributions(self, metric: Metric, of_folds: Sequence[Outcome]) -> Matrix:
        """Contributions of each tested patient, or block of them, to a score."""
        return self.patients.contributions(
            metric, self.truth, [one.probability for one in of_folds], self.exclusive,
            [one.cuts for one in of_folds],
        )  # fmt: skip

    def _limits(
        self,
        name: str,
        values: Matrix,
        contributions: Matrix,
        again: RetrainedFolds,
        score: Callable[[Retrained], Matrix],
        patients: int,
    ) -> Interval:
        variance = over_patients(contributions)
        first = [again[number] for number in self.first]
        known = [one for one in first if one is not None]
        if len(known) == len(first):
            training = over_training(
                values[self.first],
                np.stack([score(one) for one in known]),
                np.stack([one.share for one in known]),
            )
            variance = variance + training if training is not None else variance
        return limits(_mean(values), variance, name, patients)

    def reports(self, ranked: Sequence[Score]) -> list[HeadReport]:
        """Report the best head of each extractor, class by class."""
        best: dict[str, Score] = {}
        for score in sorted(ranked, key=lambda score: score.head == FLOOR):
            best.setdefault(score.extractor, score)
        return [self._report(score) for score in ranked if best[score.extractor] is score]

    def _report(self, score: Score) -> HeadReport:
        of_folds = self.outcomes[score.extractor, score.head]
        first = [
            (fold, outcome)
            for fold, outcome in zip(self.folds, of_folds, strict=True)
            if fold.repeat == 0
        ]
        table = np.zeros((len(self.study.classes),) * 2, dtype=np.intp)
        if self.exclusive:
            for fold, outcome in first:
                table += confusion(self.truth[fold.test], outcome.probability)
        again = self._retrained(score.extractor, [score.head] * len(self.folds))
        return HeadReport(
            extractor=score.extractor,
            head=score.head,
            control=score.control,
            intervals={
                name: self._interval(
                    metric,
                    np.array([one["metrics"][name] for one in score.folds]),
                    of_folds,
                    again,
                )
                for name, metric in METRICS.items()
                if not metric.descriptive
            },
            classes=self._class_reports(of_folds, first, again),
            confusion=table.tolist() if self.exclusive else [],
        )

    def _class_reports(
        self,
        of_folds: Sequence[Outcome],
        first: Sequence[tuple[Fold, Outcome]],
        again: RetrainedFolds,
    ) -> list[ClassReport]:
        truth = np.concatenate([self.truth[fold.test] for fold, _ in first])
        p = np.concatenate([outcome.probability for _, outcome in first])
        # Each fold decides with its own model's threshold; the decisions are then counted.
        called = np.concatenate(
            [decide(one.probability, self.exclusive, one.cuts) for _, one in first]
        )
        at = np.concatenate([one.probability > one.thresholds for _, one in first])
        once = np.ones((1, len(truth)))
        judged = np.concatenate([_where_called(self.truth[fold.test], one) for fold, one in first])
        plain = counts(known_truth(truth, p), called, once)
        fixed = counts(judged, at, once)
        areas = self._per_class(per_class_auroc, of_folds)
        precisions = self._per_class(per_class_auprc, of_folds)
        intervals = self._area_intervals(areas, of_folds, again)
        together = self._repeats(of_folds)
        return [
            self._class_report(k, truth, p, plain, fixed, areas, precisions, intervals[k], together)
            for k in range(len(self.study.classes))
        ]

    def _area_intervals(
        self, areas: Matrix, of_folds: Sequence[Outcome], again: RetrainedFolds
    ) -> list[Interval]:
        """Interval of each class's AUROC."""
        _, contributions = self.patients.of_auroc(self.truth, [one.probability for one in of_folds])

        def of_class(k: int) -> Callable[[Retrained], Matrix]:
            return lambda one: one.areas[:, k]

        return [
            self._limits(
                "auroc", areas[:, k], contributions[:, k], again, of_class(k), self._rarest[k]
            )
            for k in range(len(self.study.classes))
        ]

    def _class_report(
        self,
        k: int,
        truth: Matrix,
        p: Matrix,
        plain: Counts,
        fixed: Counts,
        areas: Matrix,
        precisions: Matrix,
        area_interval: Interval,
        together: Sequence[Repeat],
    ) -> ClassReport:
        sensitivity, specificity = float(plain.sensitivity[0, k]), float(plain.specificity[0, k])
        support, known = int(np.nansum(truth[:, k])), int(np.isfinite(truth[:, k]).sum())
        ppv, npv = float("nan"), float("nan")
        if self.prevalence is not None:
            ppv, npv = at_prevalence(sensitivity, specificity, self.prevalence)
        line = recalibration(
            np.concatenate([one.truth[:, k] for one in together]),
            np.concatenate([one.p[:, k] for one in together]),
            repeat=np.repeat(np.arange(len(together)), [len(one.p) for one in together]),
            fold=np.concatenate([one.fold for one in together]),
            patient=np.concatenate([one.patient for one in together]),
        )
        errors = [
            per_class_ece(one.truth[:, [k]], one.p[:, [k]], np.ones((1, len(one.p))))[0, 0]
            for one in together
        ]
        return ClassReport(
            name=self.study.classes[k],
            support=support,
            known=known,
            prevalence=support / known if known else float("nan"),
            auroc=_mean(areas[:, k]),
            auprc=_mean(precisions[:, k]),
            precision=float(plain.ppv[0, k]),
            recall=sensitivity,
            f1=float(plain.f1[0, k]),
            specificity=specificity,
            npv=float(plain.npv[0, k]),
            sensitivity_at=float(fixed.sensitivity[0, k]),
            specificity_at=float(fixed.specificity[0, k]),
            ppv_at_prevalence=ppv,
            npv_at_prevalence=npv,
            reliability=reliability(truth[:, k], p[:, k]),
            auroc_interval=area_interval,
            ece=_mean(np.array(errors)),
            calibration_slope=line.slope,
            calibration_slope_interval=line.slope_interval,
            calibration_intercept=line.intercept,
            calibration_intercept_interval=line.intercept_interval,
            decision_curve=decision_curve(
                [one.truth[:, k] for one in together], [one.p[:, k] for one in together]
            ),
        )

    def _repeats(self, of_folds: Sequence[Outcome]) -> list[Repeat]:
        """Put the folds of each repeat together, for what is asked of probabilities as they are."""
        together = []
        for repeat in dict.fromkeys(fold.repeat for fold in self.folds):
            parts = [
                (fold.test, outcome.probability)
                for fold, outcome in zip(self.folds, of_folds, strict=True)
                if fold.repeat == repeat
            ]
            rows = np.concatenate([rows for rows, _ in parts])
            together.append(
                Repeat(
                    self.truth[rows],
                    np.concatenate([p for _, p in parts]),
                    np.repeat(np.arange(len(parts)), [len(rows) for rows, _ in parts]),
                    self.resamples.patient[rows],
                )
            )
        return together

    def _per_class(self, per_class: Any, of_folds: Sequence[Outcome]) -> Matrix:
        """Score every class on every fold, shape (folds, K)."""
        return np.stack(
            [
                per_class(self.truth[fold.test], outcome.probability, np.ones((1, len(fold.test))))[
                    0
                ]
                for fold, outcome in zip(self.folds, of_folds, strict=True)
            ]
        )

    def chosen(self, extractor: str) -> tuple[list[str], list[Outcome]]:
        """For each fold the head with the largest gain on held-out training rows."""
        candidates = {
            head: of_folds
            for (name, head), of_folds in self.outcomes.items()
            if name == extractor and head != FLOOR
        } or {FLOOR: self.outcomes[extractor, FLOOR]}
        heads, outcomes = [], []
        for number in range(len(self.folds)):
            gains = {
                head: np.nan_to_num(of_folds[number].gain, nan=-np.inf)
                for head, of_folds in candidates.items()
            }
            head = max(gains, key=lambda name: gains[name])
            heads.append(head)
            outcomes.append(candidates[head][number])
        return heads, outcomes

    def nested(self, extractor: str) -> dict[str, float]:
        """Mean of every metric over the folds, with the head chosen inside each fold.

        What the best of many heads scored on the folds that made it the best is flattered; this
        is what choosing and fitting together score.
        """
        _, outcomes = self.chosen(extractor)
        rows = [
            self._fold_row(fold, outcome)["metrics"]
            for fold, outcome in zip(self.folds, outcomes, strict=True)
        ]
        return {name: _mean(np.array([row[name] for row in rows])) for name in metric_names()}

    def extractors(self) -> tuple[list[ExtractorScore], dict[str, Evidence]]:
        """Score extractors with heads chosen inside the folds; with what compares them."""
        scores, evidence = [], {}
        for extractor in self.study.extractors:
            heads, outcomes = self.chosen(extractor.name)
            values = np.array(
                [
                    self.metric(
                        self.truth[fold.test], outcome.probability, self.exclusive, outcome.cuts
                    )
                    for fold, outcome in zip(self.folds, outcomes, strict=True)
                ]
            )
            evidence[extractor.name] = Evidence(
                self._drawn(self.metric, outcomes), self.contributions(self.metric, outcomes)
            )
            again = self._retrained(extractor.name, heads)
            scores.append(
                ExtractorScore(
                    extractor.name,
                    extractor.control,
                    _mean(values),
                    _sd(values),
                    self._interval(self.metric, values, outcomes, again),
                    heads,
                    values.tolist(),
                )
            )
        scores.sort(key=lambda score: -self.sign * np.nan_to_num(score.mean, nan=-np.inf))
        return scores, evidence

    def predictions(self) -> tuple[list[str], list[list[object]]]:
        """Header and rows of ``predictions.csv``: every image out of fold, for all pairs."""
        classes = self.study.classes
        header = ["id", "extractor", "head", "repeat", "fold", "label", "predicted"]
        header += [] if self.exclusive else ["unknown"]
        header += [f"p_{name}" for name in classes]
        unknown = np.isnan(self.truth)
        rows: list[list[object]] = []
        for (extractor, head), of_folds in self.outcomes.items():
            for fold, outcome in zip(self.folds, of_folds, strict=True):
                called = decide(np.nan_to_num(outcome.probability), self.exclusive, outcome.cuts)
                for row, decision, p in zip(fold.test, called, outcome.probability, strict=True):
                    rows.append(
                        [
                            self.study.ids[row], extractor, head, fold.repeat, fold.name,
                            _joined(classes, self.truth[row] == 1), _joined(classes, decision),
                            *([] if self.exclusive else [_joined(classes, unknown[row])]),
                            *(f"{value:.6g}" if np.isfinite(value) else "" for value in p),
                        ]
                    )  # fmt: skip
        return header, rows


def _joined(classes: Sequence[str], held: npt.NDArray[np.bool_]) -> str:
    return "|".join(name for name, one in zip(classes, held, strict=True) if one)


def _where_called(truth: Matrix, outcome: Outcome) -> Matrix:
    """Truth of shape (n, K), NaN also where there is no probability or no threshold for it."""
    return known_truth(known_truth(truth, outcome.probability), outcome.thresholds)


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


def winner(ranked: Sequence[Score]) -> Score:
    """Choose the best that is neither the floor nor a control; of what there is, where all are."""
    learned = [score for score in ranked if score.head != FLOOR]
    return next(iter([s for s in learned if not s.control] or learned or ranked))


def _mean(values: Matrix) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _sd(values: Matrix) -> float:
    known = values[np.isfinite(values)]
    return float(known.std(ddof=1)) if len(known) > 1 else float("nan")
