"""One fold: tune every head inside the training rows, then score the test rows once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cxrfeat.arrays import Groups, Matrix
from cxrfeat.estimators import Calibrated, Method
from cxrfeat.evaluation.heads.head import Head
from cxrfeat.evaluation.heads.registry import FLOOR
from cxrfeat.evaluation.heads.standardised_fold import SharedFold
from cxrfeat.evaluation.heads.task import Pairs, Setting
from cxrfeat.evaluation.statistics import calling
from cxrfeat.evaluation.statistics.metrics import CUT, METRICS, Metric
from cxrfeat.evaluation.statistics.metrics.decisions import threshold_at_specificity
from cxrfeat.evaluation.validation.calibration import fit_calibration
from cxrfeat.evaluation.validation.problems import (
    Problem,
    Problems,
    both_sides,
    of_problem,
    problems,
)

LARGE = 2000
"""Training rows beyond which one inner fold tells as much as three, for heads that ask for one."""


@dataclass(frozen=True)
class Plan:
    """What is done on every fold alike.

    Attributes
    ----------
    metric : Metric
        The primary one; tuning and the choice of a head go by it.
    exclusive : bool
        Multi-class; otherwise every label is a problem of its own.
    calibrate : "sigmoid", "isotonic" or None
    specificity : float
        At which the sensitivity is given, with a threshold from the training rows.
    threshold : str or float
        The rule by which labels are called, see `cxrfeat.evaluation.statistics.calling`; classes
        that exclude each other need none.
    """

    heads: Sequence[Head]
    metric: Metric
    exclusive: bool = True
    seed: int = 0
    calibrate: Method | None = None
    specificity: float = 0.9
    threshold: calling.Rule = CUT

    @property
    def by_rule(self) -> bool:
        """Whether thresholds depend on held-out rows."""
        return isinstance(self.threshold, str)

    def cuts(self, truth: Matrix, p: Matrix) -> Matrix:
        """Set the thresholds of labels on held-out rows of shape (n, K), shape (K,)."""
        return calling.thresholds(self.threshold, truth, p, self.specificity)


@dataclass(frozen=True)
class Tuned:
    """What the training rows alone decided for one head and one problem.

    Attributes
    ----------
    setting : dict
        The chosen one; the simplest among equals.
    tried : list of dict
        Each setting with its mean ``score`` over the inner folds; empty where the training set
        is too small to be divided.
    gains : ndarray, shape (inner folds,)
        Of the held-out training rows with the chosen setting, in the primary metric, turned so
        that larger is better; empty where none could be held out. Calibrated on other rows.
    calibration : Calibrated or None
    thresholds : ndarray, shape (K,)
        Per class the score above which the wanted share of negatives does not lie.
    cuts : ndarray, shape (1,) or (0,)
        Of a label, the probability above which it is called; empty for multi-class, and where no
        rows could be held out.
    """

    setting: Setting
    tried: list[dict[str, Any]] = field(default_factory=list)
    gains: Matrix = field(default_factory=lambda: np.zeros(0))
    calibration: Calibrated | None = None
    thresholds: Matrix = field(default_factory=lambda: np.zeros(0))
    cuts: Matrix = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True)
class Outcome:
    """One head on one fold.

    Attributes
    ----------
    tuned : list of Tuned
        One for multi-class, one per label for multi-label labels; without a setting for a label
        that could not be learned from the training rows.
    probability : ndarray, shape (m, K)
        Of the test rows; NaN for a label that could not be learned from the training rows.
    thresholds : ndarray, shape (K,)
        For the wanted specificity; NaN where there are none.
    cuts : ndarray, shape (K,)
        The probability above which each label is called.
    """

    tuned: list[Tuned]
    probability: Matrix
    thresholds: Matrix
    cuts: Matrix


def score_fold(fold: SharedFold, labels: Matrix, groups: Groups, plan: Plan) -> dict[str, Outcome]:
    """Tune each head on the training rows and give probabilities for the test rows.

    Parameters
    ----------
    fold
        The embeddings of training and test rows.
    labels : ndarray, shape (n, K)
        Of the training rows only; those of the test rows are not known here.
    groups : ndarray of str, shape (n,), or None
        Patients of the training rows.
    """
    found = problems(labels, groups, plan.exclusive, plan.seed)
    return {head.name: score_head(head, fold, found, labels.shape[1], plan) for head in plan.heads}


def score_head(
    head: Head, fold: SharedFold, found: Problems, n_columns: int, plan: Plan
) -> Outcome:
    """Tune one head and give probabilities for the test rows.

    Parameters
    ----------
    n_columns
        Classes or labels of the study, K; some may not be there to be learned.
    """
    probability = np.full((len(fold.test), n_columns), np.nan)
    thresholds = np.full(n_columns, np.nan)
    cuts = np.full(n_columns, calling.fallback(plan.threshold))
    tuned = [Tuned({}) for _ in range(1 if plan.exclusive else n_columns)]
    chosen = tune(head, fold, found, plan)
    if chosen:
        everything = [(fold.train, fold.test)]
        settings = [[one.setting] for one in chosen]
        (scores,) = head.path(fold, found.task, everything, settings, plan.seed)
        for number, (problem, one) in enumerate(zip(found.each, chosen, strict=True)):
            raw = scores[0] if problem.exclusive else both_sides(scores[0, :, number], head.gives)
            p = as_probabilities(head, raw, one.calibration)
            probability[:, problem.columns] = p[:, problem.shown]
            if one.thresholds.size:
                thresholds[problem.columns] = one.thresholds[problem.shown]
            if one.cuts.size:
                cuts[problem.columns] = one.cuts
            tuned[0 if problem.exclusive else int(problem.columns[0])] = one
    if plan.exclusive:
        # A class that the training rows lack is never predicted.
        probability[np.isnan(probability)] = 0.0
    return Outcome(tuned, probability, thresholds, cuts)


def gains(outcomes: Mapping[str, Outcome]) -> dict[str, float]:
    """Give each head that learns the gain by which heads of a fold are chosen; the floor has none.

    Mean over labels and over the inner folds that every head was tuned on; NaN where there are
    none.
    """
    learning = {name: outcome for name, outcome in outcomes.items() if name != FLOOR}
    found = {}
    for name, outcome in learning.items():
        of_labels = []
        for number, one in enumerate(outcome.tuned):
            fewest = min(len(other.tuned[number].gains) for other in learning.values())
            of_labels.append(float(_mean_of_known(one.gains[:fewest])))
        found[name] = float(_mean_of_known(np.array(of_labels)))
    return found


def tune(head: Head, fold: SharedFold, found: Problems, plan: Plan) -> list[Tuned]:
    """Choose for each problem the setting with the best mean score over the inner folds."""
    pairs = found.inner
    if head.name == FLOOR or not pairs or not found.each:
        return [_untuned(head, problem, plan) for problem in found.each]
    if len(fold.train) > LARGE:
        # One more than is tuned on, for a calibration or thresholds that one of them has not seen.
        held_to = _method(head, plan) or (
            plan.metric.decides and not plan.exclusive and plan.by_rule
        )
        pairs = pairs[: max(head.inner, 2 if held_to else 1)]
    scores = head.path(fold, found.task, pairs, [head.grid] * len(found.each), plan.seed)
    tuned = []
    for number, problem in enumerate(found.each):
        of_pairs, of_scores = of_problem(found, number, pairs, scores, head.gives)
        tuned.append(
            _decided(head, of_scores, of_pairs, problem, plan)
            if of_pairs
            else _untuned(head, problem, plan)
        )
    return tuned


def _method(head: Head, plan: Plan) -> Method | None:
    return plan.calibrate or ("sigmoid" if head.gives == "decisions" else None)


def _untuned(head: Head, problem: Problem, plan: Plan) -> Tuned:
    cuts = _cuts_of_floor(problem, plan) if head.name == FLOOR else np.zeros(0)
    return Tuned(dict(head.grid[len(head.grid) // 2]), cuts=cuts)


def _decided(
    head: Head, scores: Sequence[Matrix], pairs: Pairs, problem: Problem, plan: Plan
) -> Tuned:
    """Decide by held-out rows, which also give calibration, thresholds and gain.

    The gain is what heads are compared by. All of it comes from training rows alone.
    """
    method = _method(head, plan)
    best, mean = _choose(head, scores, pairs, problem, plan)
    held_out = np.concatenate([val for _, val in pairs])
    raw = np.concatenate([of_pair[best] for of_pair in scores])
    calibration = None
    if method is not None:
        calibration = fit_calibration(head.gives, method, raw, problem.y[held_out])
    gains = []
    for number in range(len(pairs)):
        unseen = _fitted_without(number, pairs, scores, best, problem, calibration)
        held = [as_probabilities(head, one[best], unseen)[:, problem.shown] for one in scores]
        gains.append(_judged(plan.metric, number, held, pairs, problem, plan))
    p = as_probabilities(head, raw, calibration)
    truth = np.eye(p.shape[1])[problem.y[held_out]]
    return Tuned(
        setting=dict(head.grid[best]),
        tried=[
            {**setting, "score": float(score)}
            for setting, score in zip(head.grid, mean, strict=True)
        ],
        gains=np.array(gains) * (1.0 if plan.metric.larger_is_better else -1.0),
        calibration=calibration,
        thresholds=np.array(
            [
                threshold_at_specificity(truth[:, k], p[:, k], plan.specificity)
                for k in range(p.shape[1])
            ]
        ),
        cuts=np.zeros(0)
        if problem.exclusive
        else plan.cuts(truth[:, problem.shown], p[:, problem.shown]),
    )


def _cuts_of_floor(problem: Problem, plan: Plan) -> Matrix:
    """Apply the rule to one share for all: of those above the floor's, F1 calls every image."""
    if problem.exclusive:
        return np.zeros(0)
    truth = problem.truth(problem.rows)
    return plan.cuts(truth, np.broadcast_to(truth.mean(axis=0), truth.shape))


def _choose(
    head: Head, scores: Sequence[Matrix], pairs: Pairs, problem: Problem, plan: Plan
) -> tuple[int, Matrix]:
    """Find the best setting, and the mean score of each over the inner folds."""
    # Decision scores order images; what else a metric asks for comes after calibration.
    by_order = plan.metric.needs_probabilities and head.gives == "decisions"
    metric = METRICS["auroc"] if by_order else plan.metric
    linked = metric.decides and head.gives == "decisions" and not problem.exclusive
    columns = []
    for place in range(len(head.grid)):
        held = [of_pair[place] for of_pair in scores]
        if linked:
            # So that a threshold of a half is a margin of 0.
            held = [as_probabilities(head, one, None) for one in held]
        held = [one[:, problem.shown] for one in held]
        columns.append(
            [_judged(metric, number, held, pairs, problem, plan) for number in range(len(pairs))]
        )
    mean = _mean_of_known(np.array(columns).T)
    sign = 1.0 if metric.larger_is_better else -1.0
    # Rounded, so that equals are equal on every machine and the simplest one wins.
    return int(np.argmax(np.nan_to_num(np.round(sign * mean, 6), nan=-np.inf))), mean


def _judged(
    metric: Metric,
    number: int,
    held: Sequence[Matrix],
    pairs: Pairs,
    problem: Problem,
    plan: Plan,
) -> float:
    """Score one inner fold; labels are called at thresholds that the other inner folds set.

    A single inner fold has no others; its own rows then set them.

    Parameters
    ----------
    held
        Per inner fold what is known of its held-out rows, shape (m, K').
    """
    truth = problem.truth(pairs[number][1])
    if problem.exclusive or not metric.decides:
        return metric(truth, held[number], problem.exclusive)
    others = [place for place in range(len(pairs)) if place != number] or [number]
    cuts = plan.cuts(
        np.concatenate([problem.truth(pairs[place][1]) for place in others]),
        np.concatenate([held[place] for place in others]),
    )
    return metric(truth, held[number], False, cuts)


def _fitted_without(
    number: int,
    pairs: Pairs,
    scores: Sequence[Matrix],
    best: int,
    problem: Problem,
    calibration: Calibrated | None,
) -> Calibrated | None:
    """Fit the calibration anew on the other inner folds: on its own rows it looks too good.

    A single inner fold has no others; the calibration is then judged on its own rows.
    """
    others = [place for place in range(len(pairs)) if place != number]
    if calibration is None or not others:
        return calibration
    rows = np.concatenate([pairs[place][1] for place in others])
    raw = np.concatenate([scores[place][best] for place in others])
    return fit_calibration(calibration.gives, calibration.method, raw, problem.y[rows])


def _mean_of_known(values: Matrix) -> Matrix:
    """Mean over the first axis; an inner fold that holds out one class alone has no AUROC."""
    known = np.isfinite(values)
    total = np.where(known, values, 0.0).sum(axis=0)
    count = known.sum(axis=0)
    return np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)


def as_probabilities(head: Head, scores: Matrix, calibration: Calibrated | None) -> Matrix:
    """Rows that sum to 1, from what the head's path gives."""
    if calibration is not None:
        return calibration.apply(scores)
    if head.gives == "probabilities":
        return scores
    # Too few images to hold any out: the plain logistic link, not a fitted one.
    return unfitted_link(scores.shape[1]).apply(scores)


def unfitted_link(n_classes: int) -> Calibrated:
    """Return the softmax of decision scores as they are."""
    return Calibrated(None, "decisions", "sigmoid", np.concatenate([[1.0], np.zeros(n_classes)]))
