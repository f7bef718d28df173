"""Linear heads on shared decompositions: logistic regression, linear SVM and LDA.

Each finds what the scikit-learn estimator of the same name finds, in a smaller basis and for all
labels, settings and inner folds at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from cxrfeat.arrays import Matrix, Matrix32, RowNumbers
from cxrfeat.estimators import softmax
from cxrfeat.evaluation.heads.cells import blocks, cells_of
from cxrfeat.evaluation.heads.discriminant import Moments
from cxrfeat.evaluation.heads.head import weight_of
from cxrfeat.evaluation.heads.linear_solver import Fit, Loss, minimise
from cxrfeat.evaluation.heads.standardised_fold import SharedFold
from cxrfeat.evaluation.heads.task import Classes, Labels, Pairs, Setting, Task

Settings = Sequence[Sequence[Setting]]
Planes = list[Matrix32]
"""For each pair the weights of shape (S, r + 1, K), the intercept last."""


def logistic_path(
    fold: SharedFold, task: Task, pairs: Pairs, settings: Settings, seed: int
) -> list[Matrix]:
    """Probabilities of L2-penalised (multinomial) logistic regression along ``C``."""
    planes = logistic_planes(fold, task, [fit for fit, _ in pairs], settings)
    return _scored(fold, task, pairs, planes, _probabilities)


def linear_svm_path(
    fold: SharedFold, task: Task, pairs: Pairs, settings: Settings, seed: int
) -> list[Matrix]:
    """Decision scores of one-vs-rest squared-hinge machines along ``C``."""
    planes = linear_svm_planes(fold, task, [fit for fit, _ in pairs], settings)
    return _scored(fold, task, pairs, planes, _decisions)


def lda_path(
    fold: SharedFold, task: Task, pairs: Pairs, settings: Settings, seed: int
) -> list[Matrix]:
    """Probabilities of linear discriminant analysis along ``shrinkage``."""
    planes = lda_planes(fold, task, [fit for fit, _ in pairs], settings)
    return _scored(fold, task, pairs, planes, _probabilities)


def logistic_planes(
    fold: SharedFold, task: Task, fits: Sequence[RowNumbers], settings: Settings
) -> Planes:
    """Weights of the log-odds of each label, or of each class; of two classes the second's."""
    several = isinstance(task, Classes) and task.n_classes > 2
    return _penalised(fold, task, fits, settings, SOFTMAX if several else SIGMOID)


def linear_svm_planes(
    fold: SharedFold, task: Task, fits: Sequence[RowNumbers], settings: Settings
) -> Planes:
    """Weights of the margin of each label, or of each class; of two classes the second's."""
    return _penalised(fold, task, fits, settings, SQUARED_HINGE)


def lda_planes(
    fold: SharedFold, task: Task, fits: Sequence[RowNumbers], settings: Settings
) -> Planes:
    """Weights of the log-odds of each label, or of each class; of two classes the second's.

    The within-class covariance is shrunk towards the identity times its mean variance, as
    scikit-learn's ``solver="lsqr"`` does. That of a label differs from that of all rows by what
    its two means make, so that all labels have it from one product of the rows. Balanced classes
    have equal priors, by which that solver also weighs their covariances.
    """
    Z, S = fold.rotated, len(settings[0])
    if isinstance(task, Labels):
        members = np.stack([task.values == 0, task.values == 1], axis=2).reshape(
            len(task.values), -1
        )
        size = 2
    else:
        members, size = np.eye(task.n_classes, dtype=bool)[task.y], task.n_classes
    moments = Moments(Z, cells_of(fits), members)
    problems = members.shape[1] // size
    columns = problems if size == 2 else size
    planes = [np.zeros((S, Z.shape[1] + 1, columns), np.float32) for _ in fits]
    for number in range(problems):
        own = np.arange(number * size, (number + 1) * size)
        within = moments.within(own, weight_of(settings[number][0]) is not None)
        for of_fit, spread in zip(planes, within, strict=True):
            if spread is None:
                continue
            for place, setting in enumerate(settings[number]):
                found = spread.planes(setting["shrinkage"], fold.dimension)
                of_fit[place, :, number if size == 2 else slice(None)] = found
    return planes


def _targets(task: Task) -> Matrix32:
    """Make a column of 0, 1 and NaN per label or class; of two classes one."""
    if isinstance(task, Labels):
        return task.values
    target = np.eye(task.n_classes, dtype=np.float32)[task.y]
    return target[:, 1:] if task.n_classes == 2 else target


def _scored(
    fold: SharedFold,
    task: Task,
    pairs: Pairs,
    planes: Planes,
    answers: Callable[[Matrix, bool], Matrix],
) -> list[Matrix]:
    """Score held-out rows."""
    results = []
    for (fit, val), W in zip(pairs, planes, strict=True):
        S, r, K = W.shape
        flat = np.ascontiguousarray(W.transpose(1, 0, 2).reshape(r, S * K))
        scores = np.empty((len(val), S * K))
        start = 0
        for block in blocks(val):
            rows = fold.rotated[block] @ flat[:-1] + flat[-1]
            scores[start : start + len(rows)] = rows
            start += len(rows)
        of_pair = answers(
            np.ascontiguousarray(scores.reshape(-1, S, K).transpose(1, 0, 2)),
            isinstance(task, Labels),
        )
        if isinstance(task, Labels):
            of_pair[:, :, ~task.taught(fit)] = np.nan
        results.append(of_pair)
    return results


def _probabilities(scores: Matrix, of_labels: bool) -> Matrix:
    if of_labels:
        return sigmoid(scores)
    return binary_probabilities(scores[..., 0]) if scores.shape[-1] == 1 else softmax(scores)


def _decisions(scores: Matrix, of_labels: bool) -> Matrix:
    if of_labels or scores.shape[-1] > 1:
        return scores
    return np.concatenate([-scores, scores], axis=-1)


def sigmoid(score: Matrix) -> Matrix:
    """Logistic function that does not overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * score)))


def binary_probabilities(score: Matrix) -> Matrix:
    """Two columns from one log-odds, shape (..., 2)."""
    return np.stack([sigmoid(-score), sigmoid(score)], axis=-1)


def _penalised(
    fold: SharedFold, task: Task, fits: Sequence[RowNumbers], settings: Settings, loss: Loss
) -> Planes:
    target = _targets(task)
    C = np.array([[one["C"] for one in of_label] for of_label in settings]).T
    weighed = weight_of(settings[0][0]) is not None
    alone = isinstance(task, Labels) or target.shape[1] == 1
    weights_of = _two_sided if alone else _of_classes
    problems = [Fit(rows, weights_of(target[rows]) if weighed else None) for rows in fits]
    C = np.broadcast_to(C, (len(C), target.shape[1]))
    W = minimise(fold.rotated, target, problems, C, loss, fold.spectrum)
    return list(W.reshape(len(fits), len(C), *W.shape[1:]))


def _two_sided(target: Matrix32) -> Matrix:
    """Weights by which both values of each column count alike, shape (K, 2)."""
    ones = np.nansum(target, axis=0, dtype=np.float64)
    known = np.isfinite(target).sum(axis=0)
    return known[:, None] / (2 * np.maximum(np.stack([known - ones, ones], axis=1), 1))


def _of_classes(target: Matrix32) -> Matrix:
    """Weights by which all classes count alike, and others than a column's own as they are.

    liblinear gives the machine of each class such weights.
    """
    ones = np.maximum(target.sum(axis=0, dtype=np.float64), 1)
    return np.stack([np.ones(len(ones)), len(target) / (len(ones) * ones)], axis=1)


def _softmax(scores: Matrix32, target: Matrix32) -> tuple[Matrix32, Matrix32]:
    top = scores.max(axis=2, keepdims=True)
    of_truth = np.einsum("ngk,nhk->ng", scores, target)
    exponent = np.exp(scores - top)
    total = exponent.sum(axis=2, keepdims=True)
    value = (np.log(total) + top)[..., 0] - of_truth
    exponent /= total
    exponent -= target
    return value, exponent


def _sigmoid(scores: Matrix32, target: Matrix32) -> tuple[Matrix32, Matrix32]:
    # exp of what is negative does not overflow, and serves both loss and slope.
    value = np.abs(scores)
    np.negative(value, out=value)
    np.exp(value, out=value)
    slope = np.float32(1.0) / (value + np.float32(1.0))
    np.log1p(value, out=value)
    value += np.maximum(scores, np.float32(0.0))
    value -= scores * target
    slope -= np.float32(0.5)
    np.copysign(slope, scores, out=slope)
    slope += np.float32(0.5)
    slope -= target
    return value, slope


def _squared_hinge(scores: Matrix32, target: Matrix32) -> tuple[Matrix32, Matrix32]:
    sign = np.float32(2.0) * target - np.float32(1.0)
    slack = scores
    slack *= sign
    np.subtract(np.float32(1.0), slack, out=slack)
    np.maximum(slack, np.float32(0.0), out=slack)
    value = slack * slack
    slack *= sign
    slack *= np.float32(-2.0)
    return value, slack


SIGMOID = Loss(_sigmoid, lambda p: p * (1 - p), lambda p: np.log(p / (1 - p)))
SOFTMAX = Loss(_softmax, lambda p: p * (1 - p), np.log, coupled=True)
SQUARED_HINGE = Loss(_squared_hinge, lambda p: np.full_like(p, 2.0), lambda p: 2 * p - 1, 1.0)
