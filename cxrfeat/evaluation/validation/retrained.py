"""How a fold's score moves when its model learns without the images of another fold.

That is what the training images contribute to the uncertainty of a cross-validated score; no fold
of its own can show it. The settings, the calibration and the thresholds stay as they were chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cxrfeat.arrays import Matrix, RowNumbers
from cxrfeat.evaluation.heads.head import Head
from cxrfeat.evaluation.heads.standardised_fold import SharedFold
from cxrfeat.evaluation.heads.task import Classes
from cxrfeat.evaluation.statistics.intervals import FEWEST
from cxrfeat.evaluation.statistics.metrics import METRICS, Predictions, Weights
from cxrfeat.evaluation.study.folds import Fold
from cxrfeat.evaluation.validation.problems import Problems, both_sides
from cxrfeat.evaluation.validation.tuning import Outcome, Plan, as_probabilities


@dataclass(frozen=True)
class Retrained:
    """Scores of one fold's test rows by models that learned without one other fold each.

    Attributes
    ----------
    share : ndarray, shape (F,)
        Of the training images, how many were left out; F folds of the same repeat. NaN for the
        fold itself and where the rest does not teach every class.
    metrics : dict of str to ndarray, shape (F,)
    areas : ndarray, shape (F, K)
        AUROC of each class.
    """

    share: Matrix
    metrics: dict[str, Matrix]
    areas: Matrix


def retrain(
    shared: SharedFold,
    fold: Fold,
    folds: Sequence[Fold],
    labels: Matrix,
    plan: Plan,
    found: Problems,
    outcomes: Mapping[str, Outcome],
) -> dict[str, Retrained]:
    """Fit heads of a fold again without each other fold's test rows; first repeat only.

    Parameters
    ----------
    shared
        The embeddings of the fold.
    folds
        All of them.
    labels : ndarray, shape (N, K)
    found
        What the training rows of the fold teach.
    outcomes
        Of the heads that are fitted again, with the settings that were chosen.

    Returns
    -------
    dict
        Per head; empty for later repeats and divisions of fewer than three folds.
    """
    others = [one for one in folds if one.repeat == fold.repeat]
    if fold.repeat > 0 or len(others) < FEWEST:
        return {}
    left = [np.isin(fold.train, one.test) for one in others]
    return {
        head.name: retrain_head(
            head, shared, found, labels[fold.test], left, plan, outcomes[head.name]
        )
        for head in plan.heads
        if head.name in outcomes
    }


def retrain_head(
    head: Head,
    shared: SharedFold,
    found: Problems,
    truth: Matrix,
    left: Sequence[npt.NDArray[np.bool_]],
    plan: Plan,
    outcome: Outcome,
) -> Retrained:
    """Fit one head again without each other fold's test rows.

    Parameters
    ----------
    truth : ndarray, shape (m, K)
        Of the test rows.
    left
        For each fold, which of the training rows are left out.
    """
    p = np.full((len(left), *truth.shape), np.nan)
    kept = [np.flatnonzero(~out) for out in left]
    taught = np.stack([_taught(found, rows, out) for rows, out in zip(kept, left, strict=True)])
    folds = np.flatnonzero(taught.any(axis=1))
    if not len(folds):
        return _scored(p, truth, left, plan.exclusive, outcome.cuts)
    tuned = [outcome.tuned[0 if plan.exclusive else int(one.columns[0])] for one in found.each]
    scores = head.path(
        shared,
        found.task,
        [(kept[number], shared.test) for number in folds],
        [[one.setting] for one in tuned],
        plan.seed,
    )
    for number, of_fold in zip(folds, scores, strict=True):
        for place, (problem, one) in enumerate(zip(found.each, tuned, strict=True)):
            if not taught[number, place]:
                continue
            raw = of_fold[0]
            if not problem.exclusive:
                raw = both_sides(raw[:, place], head.gives)
            shown = as_probabilities(head, raw, one.calibration)
            p[number][:, problem.columns] = shown[:, problem.shown]
        if plan.exclusive:
            p[number][np.isnan(p[number])] = 0.0
    return _scored(p, truth, left, plan.exclusive, outcome.cuts)


def _taught(
    found: Problems, kept: RowNumbers, left: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Whether the rest still teaches each problem, and has lost some of what did."""
    if isinstance(found.task, Classes):
        whole = len(np.unique(found.task.y[kept])) == found.task.n_classes
        return np.array([whole and bool(left.any())])
    lost = np.array([bool(left[problem.rows].any()) for problem in found.each])
    return found.task.taught(kept) & lost


def _scored(
    p: Matrix,
    truth: Matrix,
    left: Sequence[npt.NDArray[np.bool_]],
    exclusive: bool,
    thresholds: Matrix,
) -> Retrained:
    known = np.isfinite(p).any(axis=(1, 2))
    metrics = {name: np.full(len(p), np.nan) for name in METRICS}
    areas = np.full((len(p), truth.shape[1]), np.nan)
    once = Weights.once(len(truth))
    for number in np.flatnonzero(known):
        # One sorting of the images serves every metric and the areas.
        counted = Predictions(truth, p[number], exclusive, thresholds).counted(once)
        for name, metric in METRICS.items():
            metrics[name][number] = metric.formula(counted)[0]
        areas[number] = counted.class_auroc[0]
    share = np.array([out.mean() for out in left])
    return Retrained(np.where(known, share, np.nan), metrics, areas)
