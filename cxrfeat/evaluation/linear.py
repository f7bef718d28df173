"""Linear heads on shared decompositions: logistic regression, linear SVM and LDA.

Each finds what the scikit-learn estimator of the same name finds, in a smaller basis and with
each setting started from the one before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

from cxrfeat.evaluation.shared import FloatMatrix, Rows, SharedFold

Matrix = npt.NDArray[np.float64]
Setting = dict[str, Any]
Loss = Callable[[Matrix, FloatMatrix], tuple[float, Matrix]]


def logistic_path(
    fold: SharedFold,
    y: npt.NDArray[np.intp],
    pairs: Sequence[tuple[Rows, Rows]],
    settings: Sequence[Setting],
    seed: int,
) -> list[Matrix]:
    """Probabilities of L2-penalised multinomial logistic regression along ``C``."""
    n_classes = int(y.max()) + 1
    binary = n_classes == 2
    scores = _penalised_path(fold, y, pairs, settings, _sigmoid_loss if binary else _softmax_loss)
    return [binary_probabilities(s[..., 0]) if binary else softmax(s) for s in scores]


def linear_svm_path(
    fold: SharedFold,
    y: npt.NDArray[np.intp],
    pairs: Sequence[tuple[Rows, Rows]],
    settings: Sequence[Setting],
    seed: int,
) -> list[Matrix]:
    """Decision scores of one-vs-rest squared-hinge machines along ``C``."""
    # liblinear penalises the intercept as one more weight, and so the reference does.
    scores = _penalised_path(fold, y, pairs, settings, _squared_hinge_loss, intercept=1.0)
    return [np.concatenate([-s, s], axis=-1) if s.shape[-1] == 1 else s for s in scores]


def lda_path(
    fold: SharedFold,
    y: npt.NDArray[np.intp],
    pairs: Sequence[tuple[Rows, Rows]],
    settings: Sequence[Setting],
    seed: int,
) -> list[Matrix]:
    """Probabilities of linear discriminant analysis along ``shrinkage``.

    The within-class covariance is shrunk towards the identity times its mean variance, as
    scikit-learn's ``solver="lsqr"`` does; one covariance serves every shrinkage.
    """
    Z = fold.rotated
    n_classes = int(y.max()) + 1
    results = []
    for fit, val in pairs:
        rows, labels = Z[fit], y[fit]
        prior = np.bincount(labels, minlength=n_classes) / len(labels)
        means = np.stack([rows[labels == k].mean(axis=0) for k in range(n_classes)])
        centred = rows - means[labels]
        covariance = (centred.T @ centred).astype(np.float64) / len(rows)
        # Directions dropped by the rotation have no variance, but count in the mean.
        variance = np.trace(covariance) / fold.dimension
        along = []
        for setting in settings:
            shrinkage = setting["shrinkage"]
            shrunk = (1 - shrinkage) * covariance
            # The floor is for classes of identical images, which have no variance at all.
            shrunk.flat[:: len(shrunk) + 1] += max(shrinkage * variance, 1e-6)
            coef = cho_solve(cho_factor(shrunk, lower=True, overwrite_a=True), means.T)
            intercept = -0.5 * np.einsum("kd,dk->k", means, coef) + np.log(prior)
            along.append(softmax(Z[val] @ coef + intercept))
        results.append(np.stack(along))
    return results


def softmax(scores: Matrix) -> Matrix:
    """Probabilities over the last axis."""
    shifted = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))


def sigmoid(score: Matrix) -> Matrix:
    """Logistic function that does not overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * score)))


def binary_probabilities(score: Matrix) -> Matrix:
    """Two columns from one log-odds, shape (..., 2)."""
    return np.stack([sigmoid(-score), sigmoid(score)], axis=-1)


def _penalised_path(
    fold: SharedFold,
    y: npt.NDArray[np.intp],
    pairs: Sequence[tuple[Rows, Rows]],
    settings: Sequence[Setting],
    loss: Loss,
    intercept: float = 0.0,
) -> list[Matrix]:
    Z = fold.rotated
    n_classes = int(y.max()) + 1
    target = np.eye(n_classes, dtype=np.float32)[y]
    if n_classes == 2:
        target = target[:, 1:]
    results = []
    for fit, val in pairs:
        weights = np.zeros((Z.shape[1] + 1, target.shape[1]))
        along = []
        for setting in settings:
            weights = _minimise(Z[fit], target[fit], setting["C"], weights, loss, intercept)
            along.append(Z[val] @ weights[:-1].astype(np.float32) + weights[-1])
        results.append(np.stack(along).astype(np.float64))
    return results


def _minimise(
    Z: FloatMatrix,
    target: FloatMatrix,
    C: float,
    start: Matrix,
    loss: Loss,
    intercept: float,
) -> Matrix:
    """Minimise the mean loss plus |W|^2 / (2 C n) over W.

    The last row is the intercept; `intercept` is the share of the penalty that it bears.
    """
    n = len(Z)
    penalty = np.full((len(start), 1), 1.0 / (C * n))
    penalty[-1] *= intercept

    def objective(flat: Matrix) -> tuple[float, Matrix]:
        W = flat.reshape(start.shape)
        scores = (Z @ W[:-1].astype(np.float32)).astype(np.float64) + W[-1]
        value, slope = loss(scores, target)
        slope /= n
        gradient = np.empty_like(W)
        gradient[:-1] = Z.T @ slope.astype(np.float32)
        gradient[-1] = slope.sum(axis=0)
        gradient += penalty * W
        return value / n + 0.5 * float(np.sum(penalty * W**2)), gradient.ravel()

    found = minimize(
        objective, start.ravel(), jac=True, method="L-BFGS-B",
        options={"maxiter": 300, "gtol": 1e-5, "ftol": 1e-8},
    )  # fmt: skip
    return np.asarray(found.x).reshape(start.shape)


def _softmax_loss(scores: Matrix, target: FloatMatrix) -> tuple[float, Matrix]:
    top = scores.max(axis=1, keepdims=True)
    exponent = np.exp(scores - top)
    total = exponent.sum(axis=1, keepdims=True)
    value = np.sum(np.log(total) + top) - np.sum(scores * target)
    return float(value), exponent / total - target


def _sigmoid_loss(scores: Matrix, target: FloatMatrix) -> tuple[float, Matrix]:
    value = np.sum(np.logaddexp(0.0, scores)) - np.sum(scores * target)
    return float(value), sigmoid(scores) - target


def _squared_hinge_loss(scores: Matrix, target: FloatMatrix) -> tuple[float, Matrix]:
    sign = 2.0 * target.astype(np.float64) - 1.0
    slack = np.maximum(0.0, 1.0 - sign * scores)
    return float(np.sum(slack**2)), -2.0 * sign * slack
