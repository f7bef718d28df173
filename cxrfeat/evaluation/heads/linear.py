"""Linear heads on shared decompositions: logistic regression, linear SVM and LDA.

Each finds what the scikit-learn estimator of the same name finds, in a smaller basis and for all
settings and inner folds at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve

from cxrfeat.arrays import Matrix, Matrix32
from cxrfeat.estimators import balanced_weights, softmax
from cxrfeat.evaluation.heads.linear_solver import Loss, Penalised, minimise
from cxrfeat.evaluation.heads.standardised_fold import SharedFold
from cxrfeat.evaluation.heads.task import Pairs, Setting, label_by_label


def _row_weights(y: npt.NDArray[np.intp], settings: Sequence[Setting]) -> Matrix | None:
    """Weight of each row, shape (n,), where the settings weigh classes; all of them do, or none."""
    if settings[0].get("class_weight") is None:
        return None
    return balanced_weights(y)[y]


def _hinge_weights(y: npt.NDArray[np.intp], settings: Sequence[Setting]) -> Matrix | None:
    """Weights as liblinear gives them: of several classes, each machine weighs its own alone.

    Shape (n,) for two classes, else (n, K).
    """
    weight = _row_weights(y, settings)
    if weight is None or int(y.max()) == 1:
        return weight
    return np.where(np.eye(int(y.max()) + 1)[y] == 1, weight[:, None], 1.0)


@label_by_label
def logistic_path(
    fold: SharedFold,
    y: npt.NDArray[np.intp],
    pairs: Pairs,
    settings: Sequence[Setting],
    seed: int,
) -> list[Matrix]:
    """Probabilities of L2-penalised multinomial logistic regression along ``C``."""
    n_classes = int(y.max()) + 1
    binary = n_classes == 2
    loss, curvature = (_sigmoid_loss, 0.25) if binary else (_softmax_loss, 0.5)
    scores = _penalised_path(fold, y, pairs, settings, loss, curvature)
    return [binary_probabilities(s[..., 0]) if binary else softmax(s) for s in scores]


@label_by_label
def linear_svm_path(
    fold: SharedFold,
    y: npt.NDArray[np.intp],
    pairs: Pairs,
    settings: Sequence[Setting],
    seed: int,
) -> list[Matrix]:
    """Decision scores of one-vs-rest squared-hinge machines along ``C``."""
    # liblinear penalises the intercept as one more weight, and so the reference does.
    scores = _penalised_path(
        fold, y, pairs, settings, _squared_hinge_loss, 2.0, 1.0, _hinge_weights
    )
    return [np.concatenate([-s, s], axis=-1) if s.shape[-1] == 1 else s for s in scores]


@label_by_label
def lda_path(
    fold: SharedFold,
    y: npt.NDArray[np.intp],
    pairs: Pairs,
    settings: Sequence[Setting],
    seed: int,
) -> list[Matrix]:
    """Probabilities of linear discriminant analysis along ``shrinkage``.

    The within-class covariance is shrunk towards the identity times its mean variance, as
    scikit-learn's ``solver="lsqr"`` does; one covariance serves every shrinkage. Balanced classes
    have equal priors, by which that solver also weighs their covariances.
    """
    Z = fold.rotated
    n_classes = int(y.max()) + 1
    results = []
    for fit, val in pairs:
        rows, labels = Z[fit], y[fit]
        weight = _row_weights(labels, settings)
        prior = np.bincount(labels, weight, minlength=n_classes) / len(labels)
        means = np.stack([rows[labels == k].mean(axis=0) for k in range(n_classes)])
        centred = rows - means[labels]
        spread = centred if weight is None else centred * weight[:, None].astype(np.float32)
        covariance = (spread.T @ centred) / np.float32(len(rows))
        # Directions dropped by the rotation have no variance, but count in the mean.
        variance = np.trace(covariance) / fold.dimension
        along = []
        for setting in settings:
            shrinkage = setting["shrinkage"]
            shrunk = covariance * np.float32(1 - shrinkage)
            # The floor is for classes of identical images, which have no variance at all.
            shrunk.flat[:: len(shrunk) + 1] += max(shrinkage * variance, 1e-6)
            coef = cho_solve(
                cho_factor(shrunk, lower=True, overwrite_a=True, check_finite=False), means.T
            )
            intercept = -0.5 * np.einsum("kd,dk->k", means, coef) + np.log(prior)
            along.append(softmax(Z[val] @ coef + intercept))
        results.append(np.stack(along))
    return results


def sigmoid(score: Matrix) -> Matrix:
    """Logistic function that does not overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * score)))


def binary_probabilities(score: Matrix) -> Matrix:
    """Two columns from one log-odds, shape (..., 2)."""
    return np.stack([sigmoid(-score), sigmoid(score)], axis=-1)


def _penalised_path(
    fold: SharedFold,
    y: npt.NDArray[np.intp],
    pairs: Pairs,
    settings: Sequence[Setting],
    loss: Loss,
    curvature: float,
    intercept_share: float = 0.0,
    weights_of: Callable[[npt.NDArray[np.intp], Sequence[Setting]], Matrix | None] = _row_weights,
) -> list[Matrix]:
    Z = fold.rotated
    target = np.eye(int(y.max()) + 1, dtype=np.float32)[y]
    if target.shape[1] == 2:
        target = target[:, 1:]
    problems = [
        Penalised(fit, setting["C"], weight)
        for fit, weight in ((fit, weights_of(y[fit], settings)) for fit, _ in pairs)
        for setting in settings
    ]
    W = minimise(Z, target, problems, loss, curvature, intercept_share)
    W = W.reshape(len(pairs), len(settings), *W.shape[1:])
    return [
        (Z[val] @ of_pair[:, :-1] + of_pair[:, -1:]).astype(np.float64)
        for (_, val), of_pair in zip(pairs, W, strict=True)
    ]


def _softmax_loss(scores: Matrix32, target: Matrix32) -> tuple[Matrix32, Matrix32]:
    top = scores.max(axis=2, keepdims=True)
    exponent = np.exp(scores - top)
    total = exponent.sum(axis=2, keepdims=True)
    value = (np.log(total) + top)[..., 0] - np.einsum("pnk,nk->pn", scores, target)
    return value[..., None], exponent / total - target


def _sigmoid_loss(scores: Matrix32, target: Matrix32) -> tuple[Matrix32, Matrix32]:
    value = np.logaddexp(np.float32(0.0), scores) - scores * target
    return value, np.float32(0.5) * (1 + np.tanh(np.float32(0.5) * scores)) - target


def _squared_hinge_loss(scores: Matrix32, target: Matrix32) -> tuple[Matrix32, Matrix32]:
    sign = 2 * target - 1
    slack = np.maximum(np.float32(0.0), 1 - sign * scores)
    return slack * slack, -2 * sign * slack
