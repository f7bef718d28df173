"""Turn decision scores into probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from sklearn.base import BaseEstimator, ClassifierMixin

from cxrfeat.evaluation.linear import softmax

Matrix = npt.NDArray[np.float64]


def fit_platt(scores: Matrix, y: npt.NDArray[np.intp]) -> Matrix:
    """Fit ``softmax(slope * score + bias)`` to scores of images that were held out.

    Parameters
    ----------
    scores : ndarray, shape (n, K)
        Decision scores, one column per class.
    y : ndarray of int, shape (n,)

    Returns
    -------
    ndarray, shape (1 + K,)
        The slope, never negative, and the biases.

    References
    ----------
    Platt J. Probabilistic outputs for support vector machines. Advances in Large Margin
    Classifiers, 1999; in its multi-class form vector scaling, Guo C et al. On calibration of
    modern neural networks. ICML 2017 (here with one slope, so that the order of scores holds).
    """
    n, n_classes = scores.shape
    spread = float(scores.std()) or 1.0
    # Platt's targets: never quite 0 or 1, which keeps the slope finite on separable scores.
    count = np.bincount(y, minlength=n_classes).astype(float)
    target = np.full((n, n_classes), 0.0)
    target[np.arange(n), y] = 1.0
    smooth = 1.0 / (count[y] + n_classes)
    target = (1 - n_classes * smooth[:, None]) * target + smooth[:, None]
    scaled = scores / spread

    def objective(parameter: Matrix) -> tuple[float, Matrix]:
        slope, bias = np.exp(parameter[0]), parameter[1:]
        p = softmax(slope * scaled + bias)
        value = -np.sum(target * np.log(np.maximum(p, 1e-300))) / n
        error = (p - target) / n
        ridge = 1e-6 * float(bias @ bias)
        gradient = np.concatenate(
            [[np.sum(error * scaled) * slope], error.sum(axis=0) + 2e-6 * bias]
        )
        return float(value) + ridge, gradient

    bounds = [(-7.0, 7.0)] + [(None, None)] * n_classes
    found = minimize(objective, np.zeros(1 + n_classes), jac=True, method="L-BFGS-B", bounds=bounds)
    return np.concatenate([[np.exp(found.x[0]) / spread], found.x[1:]])


def apply_platt(parameter: Matrix, scores: Matrix) -> Matrix:
    """Probabilities of shape (n, K) from scores of shape (n, K)."""
    return softmax(parameter[0] * scores + parameter[1:])


class PlattScaled(ClassifierMixin, BaseEstimator):
    """A fitted classifier with decision scores, and the scaling that makes them probabilities.

    Parameters
    ----------
    estimator
        A fitted classifier with ``decision_function``.
    scaling : ndarray, shape (1 + K,), or None
        From `fit_platt`.
    """

    def __init__(self, estimator: Any = None, scaling: Matrix | None = None) -> None:
        self.estimator = estimator
        self.scaling = scaling

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> PlattScaled:
        """Fit the estimator; the scaling stays as it was given."""
        self.estimator.fit(X, y)
        return self

    @property
    def classes_(self) -> npt.NDArray[Any]:
        """The classes of the estimator, in the order of the probability columns."""
        return np.asarray(self.estimator.classes_)

    def predict_proba(self, X: npt.ArrayLike) -> Matrix:
        """Probability of each class, shape (n, K)."""
        score = np.asarray(self.estimator.decision_function(X), dtype=np.float64)
        if score.ndim == 1:
            score = np.stack([-score, score], axis=1)
        assert self.scaling is not None
        return apply_platt(self.scaling, score)

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        """Most probable class of each row, shape (n,)."""
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])
