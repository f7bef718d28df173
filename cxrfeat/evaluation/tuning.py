"""One fold: tune every head inside the training rows, then score the test rows once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrfeat.evaluation.calibration import PlattScaled, apply_platt, fit_platt
from cxrfeat.evaluation.folds import Groups, Rows, inner_folds
from cxrfeat.evaluation.heads import Head, Setting
from cxrfeat.evaluation.metrics import Metric
from cxrfeat.evaluation.shared import FloatMatrix, SharedFold

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Tuned:
    """What the training rows alone decided for one head.

    Attributes
    ----------
    setting : dict
        The chosen one; the simplest among equals.
    tried : list of dict
        Each setting with its mean ``score`` over the inner folds; empty where the training set
        is too small to be divided.
    scaling : ndarray or None
        Platt scaling of decision scores, fitted on held-out training rows.
    """

    setting: Setting
    tried: list[dict[str, Any]]
    scaling: Matrix | None


@dataclass(frozen=True)
class Outcome:
    """One head on one fold.

    Attributes
    ----------
    probability : ndarray, shape (m, K)
        Of the test rows.
    """

    tuned: Tuned
    probability: Matrix


def tune(
    head: Head,
    fold: SharedFold,
    y: npt.NDArray[np.intp],
    pairs: Sequence[tuple[Rows, Rows]],
    metric: Metric,
    seed: int,
) -> Tuned:
    """Choose the setting with the best mean score over the inner folds.

    Parameters
    ----------
    y : ndarray of int, shape (n,)
        Classes of the training rows, all from 0 to K - 1 present.
    pairs
        The inner folds, the same for every head and extractor.
    """
    if not pairs:
        return Tuned(head.grid[len(head.grid) // 2], [], None)
    if len(head.grid) == 1 and head.gives == "probabilities":
        return Tuned(head.grid[0], [], None)
    scores = head.path(fold, y, pairs, head.grid, seed)
    table = np.array(
        [
            [metric(y[val], of_setting) for of_setting in of_pair]
            for (_, val), of_pair in zip(pairs, scores, strict=True)
        ]
    )
    mean = table.mean(axis=0)
    # Rounded, so that equals are equal on every machine and the simplest one wins.
    best = int(np.argmax(np.round(mean, 6)))
    scaling = None
    if head.gives == "decisions":
        held_out = np.concatenate([of_pair[best] for of_pair in scores])
        scaling = fit_platt(held_out, np.concatenate([y[val] for _, val in pairs]))
    tried = [
        {**setting, "score": float(score)} for setting, score in zip(head.grid, mean, strict=True)
    ]
    return Tuned(dict(head.grid[best]), tried, scaling)


def score_fold(
    X: FloatMatrix,
    y: npt.NDArray[np.intp],
    groups: Groups,
    train: Rows,
    test: Rows,
    heads: Sequence[Head],
    metric: Metric,
    seed: int,
) -> dict[str, Outcome]:
    """Tune each head on the training rows and give probabilities for the test rows.

    Classes that the training rows lack get probability 0.
    """
    present, labels = np.unique(y[train], return_inverse=True)
    n_classes = int(y.max()) + 1
    fold = SharedFold(X[train], X[test])
    pairs = inner_folds(labels, None if groups is None else groups[train], seed)
    outcomes = {}
    for head in heads:
        tuned = tune(head, fold, labels, pairs, metric, seed)
        (scores,) = head.path(fold, labels, [(fold.train, fold.test)], [tuned.setting], seed)
        probability = np.zeros((len(test), n_classes))
        probability[:, present] = as_probabilities(head, scores[0], tuned.scaling)
        outcomes[head.name] = Outcome(tuned, probability)
    return outcomes


def as_probabilities(head: Head, scores: Matrix, scaling: Matrix | None) -> Matrix:
    """Rows that sum to 1, from what the head's path gives."""
    if head.gives == "probabilities":
        return scores
    if scaling is None:
        # Too few images to hold any out: the plain logistic link, not a fitted one.
        scaling = np.concatenate([[1.0], np.zeros(scores.shape[1])])
    return apply_platt(scaling, scores)


def refit(
    head: Head,
    X: FloatMatrix,
    y: npt.NDArray[np.intp],
    groups: Groups,
    metric: Metric,
    seed: int,
) -> tuple[Any, Tuned]:
    """Tune on all rows and fit the scikit-learn estimator that a model file holds.

    Returns
    -------
    estimator
        With ``predict_proba``; its ``classes_`` are 0 to K - 1.
    tuned : Tuned
    """
    fold = SharedFold(X, X[:0])
    pairs = inner_folds(y, groups, seed)
    tuned = tune(head, fold, y, pairs, metric, seed)
    estimator = head.estimator(tuned.setting, len(X), seed).fit(X, y)
    if head.gives == "decisions":
        scaling = tuned.scaling
        if scaling is None:
            scaling = np.concatenate([[1.0], np.zeros(int(y.max()) + 1)])
        estimator = PlattScaled(estimator, scaling)
    return estimator, tuned
