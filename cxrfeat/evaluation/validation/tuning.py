"""One fold: tune every head inside the training rows, then score the test rows once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrfeat.arrays import Groups, Matrix, RowNumbers
from cxrfeat.estimators import Calibrated, Method
from cxrfeat.evaluation.heads.head import Head, Setting
from cxrfeat.evaluation.heads.registry import FLOOR
from cxrfeat.evaluation.heads.standardised_fold import SharedFold
from cxrfeat.evaluation.statistics import calling
from cxrfeat.evaluation.statistics.metrics import CUT, METRICS, Metric
from cxrfeat.evaluation.statistics.metrics.decisions import threshold_at_specificity
from cxrfeat.evaluation.study.folds import inner_folds
from cxrfeat.evaluation.validation.calibration import fit_calibration

Pairs = Sequence[tuple[RowNumbers, RowNumbers]]

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
    gain : float
        Of the held-out training rows with the chosen setting, in the primary metric, turned so
        that larger is better; NaN where none could be held out. Calibrated on other rows, and on
        the same inner folds for every head of the plan.
    calibration : Calibrated or None
    thresholds : ndarray, shape (K,)
        Per class the score above which the wanted share of negatives does not lie.
    cuts : ndarray, shape (1,) or (0,)
        Of a label, the probability above which it is called; empty for multi-class, and where no
        rows could be held out.
    """

    setting: Setting
    tried: list[dict[str, Any]] = field(default_factory=list)
    gain: float = float("nan")
    calibration: Calibrated | None = None
    thresholds: Matrix = field(default_factory=lambda: np.zeros(0))
    cuts: Matrix = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True)
class Outcome:
    """One head on one fold.

    Attributes
    ----------
    tuned : list of Tuned
        One for multi-class, one per label for multi-label labels.
    probability : ndarray, shape (m, K)
        Of the test rows; NaN for a label that could not be learned from the training rows.
    thresholds : ndarray, shape (K,)
        For the wanted specificity; NaN where there are none.
    gain : float
    cuts : ndarray, shape (K,)
        The probability above which each label is called.
    """

    tuned: list[Tuned]
    probability: Matrix
    thresholds: Matrix
    gain: float
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
    parts = problems(labels, plan.exclusive)
    inner = [inner_pairs(problem, groups, plan.seed) for problem in parts]
    outcomes = {}
    for head in plan.heads:
        probability = np.full((len(fold.test), labels.shape[1]), np.nan)
        thresholds = np.full(labels.shape[1], np.nan)
        cuts = np.full(labels.shape[1], calling.fallback(plan.threshold))
        tuned = []
        for problem, pairs in zip(parts, inner, strict=True):
            if problem is None:
                tuned.append(Tuned({}))
                continue
            found = tune(head, fold, problem, pairs, plan)
            (scores,) = head.path(
                fold, problem.y, [(problem.rows, fold.test)], [found.setting], plan.seed
            )
            p = as_probabilities(head, scores[0], found.calibration)
            probability[:, problem.columns] = p[:, problem.shown]
            if found.thresholds.size:
                thresholds[problem.columns] = found.thresholds[problem.shown]
            if found.cuts.size:
                cuts[problem.columns] = found.cuts
            tuned.append(found)
        if plan.exclusive:
            # A class that the training rows lack is never predicted.
            probability[np.isnan(probability)] = 0.0
        gains = np.array([one.gain for one in tuned])
        gain = float(np.nanmean(gains)) if np.isfinite(gains).any() else float("nan")
        outcomes[head.name] = Outcome(tuned, probability, thresholds, gain, cuts)
    return outcomes


@dataclass(frozen=True)
class Problem:
    """Classes to tell apart among the training rows where they are known.

    Attributes
    ----------
    y : ndarray of int, shape (n,)
        Classes 0 to K' - 1 of all training rows; those outside `rows` mean nothing.
    rows : ndarray of int
        Training rows to learn from.
    columns
        Where the probabilities go among all classes.
    shown
        Which of the K' probabilities go there: all, or only the positive one of a label.
    """

    y: npt.NDArray[np.intp]
    rows: RowNumbers
    columns: npt.NDArray[np.intp]
    shown: slice

    @property
    def exclusive(self) -> bool:
        """Whether all classes are shown."""
        return self.shown == slice(None)

    def truth(self, rows: RowNumbers) -> Matrix:
        """Ones and zeros for the shown classes of some rows, shape (len(rows), shown)."""
        return np.eye(int(self.y.max()) + 1)[self.y[rows]][:, self.shown]


def problems(labels: Matrix, exclusive: bool) -> list[Problem | None]:
    """Divide labels of shape (n, K) into problems; None for a label that is all one value."""
    if exclusive:
        present, y = np.unique(labels.argmax(axis=1), return_inverse=True)
        return [Problem(y, np.arange(len(y)), present, slice(None))]
    parts: list[Problem | None] = []
    for k, column in enumerate(labels.T):
        rows = np.flatnonzero(np.isfinite(column))
        y = (column == 1).astype(np.intp)
        both = len(np.unique(y[rows])) == 2
        parts.append(Problem(y, rows, np.array([k]), slice(1, 2)) if both else None)
    return parts


def inner_pairs(problem: Problem | None, groups: Groups, seed: int) -> Pairs:
    """Divide a problem's training rows for tuning, patients kept together."""
    if problem is None:
        return []
    rows = problem.rows
    known = None if groups is None else groups[rows]
    return [(rows[fit], rows[val]) for fit, val in inner_folds(problem.y[rows], known, seed)]


def tune(head: Head, fold: SharedFold, problem: Problem, pairs: Pairs, plan: Plan) -> Tuned:
    """Choose the setting with the best mean score over the inner folds.

    The held-out rows of the inner folds then also give the calibration, the thresholds and the
    gain by which heads are compared, all from training rows alone.
    """
    if head.name == FLOOR or not pairs:
        cuts = _cuts_of_floor(problem, plan) if head.name == FLOOR else np.zeros(0)
        return Tuned(dict(head.grid[len(head.grid) // 2]), cuts=cuts)
    method = plan.calibrate or ("sigmoid" if head.gives == "decisions" else None)
    compared = len(pairs)
    if len(problem.rows) > LARGE:
        # One more than is tuned on, for a calibration or thresholds that one of them has not seen.
        held_to = method or (plan.metric.decides and not problem.exclusive and plan.by_rule)
        pairs = pairs[: max(head.inner, 2 if held_to else 1)]
        compared = min(one.inner for one in [head, *plan.heads])
    scores = head.path(fold, problem.y, pairs, head.grid, plan.seed)
    best, mean = _choose(head, scores, pairs, problem, plan)
    held_out = np.concatenate([val for _, val in pairs])
    raw = np.concatenate([of_pair[best] for of_pair in scores])
    calibration = None
    if method is not None:
        calibration = fit_calibration(head.gives, method, raw, problem.y[held_out])
    gains = []
    for number in range(min(compared, len(pairs))):
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
        gain=float(_mean_of_known(np.array(gains)))
        * (1.0 if plan.metric.larger_is_better else -1.0),
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
