"""How a fold's score moves when its model learns without the images of another fold.

That is what the training images contribute to the uncertainty of a cross-validated score; no fold
of its own can show it. The settings, the calibration and the thresholds stay as they were chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cxrfeat.arrays import Matrix
from cxrfeat.evaluation.heads.standardised_fold import SharedFold
from cxrfeat.evaluation.statistics.intervals import FEWEST
from cxrfeat.evaluation.statistics.metrics import METRICS
from cxrfeat.evaluation.statistics.metrics.curve_areas import per_class_auroc
from cxrfeat.evaluation.study.folds import Fold
from cxrfeat.evaluation.validation.tuning import Outcome, Plan, as_probabilities, problems


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
    outcomes: Mapping[str, Outcome],
) -> dict[str, Retrained]:
    """Fit every head of a fold again without each other fold's test rows; first repeat only.

    Parameters
    ----------
    shared
        The embeddings of the fold.
    folds
        All of them.
    labels : ndarray, shape (N, K)
    outcomes
        Per head, with the settings that were chosen.

    Returns
    -------
    dict
        Per head; empty for later repeats and divisions of fewer than three folds.
    """
    others = [one for one in folds if one.repeat == fold.repeat]
    if fold.repeat > 0 or len(others) < FEWEST:
        return {}
    left = [np.isin(fold.train, one.test) for one in others]
    parts = problems(labels[fold.train], plan.exclusive)
    truth = labels[fold.test]
    found = {}
    for head in plan.heads:
        p = np.full((len(others), *truth.shape), np.nan)
        for problem, tuned in zip(parts, outcomes[head.name].tuned, strict=True):
            if problem is None:
                continue
            kept = [problem.rows[~out[problem.rows]] for out in left]
            taught = [
                number
                for number, rows in enumerate(kept)
                if 0 < len(rows) < len(problem.rows)
                and len(np.unique(problem.y[rows])) == len(np.unique(problem.y[problem.rows]))
            ]
            pairs = [(kept[number], shared.test) for number in taught]
            scores = head.path(shared, problem.y, pairs, [tuned.setting], plan.seed)
            for number, of_setting in zip(taught, scores, strict=True):
                shown = as_probabilities(head, of_setting[0], tuned.calibration)
                p[number][:, problem.columns] = shown[:, problem.shown]
                if plan.exclusive:
                    p[number][np.isnan(p[number])] = 0.0
        found[head.name] = _scored(p, truth, left, plan.exclusive, outcomes[head.name].cuts)
    return found


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
    for number in np.flatnonzero(known):
        for name, metric in METRICS.items():
            metrics[name][number] = metric(truth, p[number], exclusive, thresholds)
        areas[number] = per_class_auroc(truth, p[number], np.ones((1, len(truth))))[0]
    share = np.array([out.mean() for out in left])
    return Retrained(np.where(known, share, np.nan), metrics, areas)
