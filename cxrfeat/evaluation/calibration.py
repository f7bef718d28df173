"""Turn decision scores into probabilities, and probabilities into better calibrated ones."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.isotonic import IsotonicRegression

from cxrfeat.evaluation.linear import softmax

Matrix = npt.NDArray[np.float64]
Method = Literal["sigmoid", "isotonic"]
Curve = list[list[list[float]]]
"""Per class the corners of an isotonic curve: scores and probabilities."""

METHODS: tuple[Method, ...] = ("sigmoid", "isotonic")


def fit_platt(scores: Matrix, y: npt.NDArray[np.intp]) -> Matrix:
    """Fit ``softmax(slope * score + bias)`` to scores of images that were held out.

    Parameters
    ----------
    scores : ndarray, shape (n, K)
        Decision scores, or logarithms of probabilities, one column per class.
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


def fit_isotonic(scores: Matrix, y: npt.NDArray[np.intp]) -> Curve:
    """Fit a rising step curve from score to probability, one class against the rest.

    References
    ----------
    Zadrozny B, Elkan C. Transforming classifier scores into accurate multiclass probability
    estimates. KDD 2002.
    """
    curve = []
    for k in range(scores.shape[1]):
        fitted = IsotonicRegression(out_of_bounds="clip").fit(scores[:, k], y == k)
        curve.append([fitted.X_thresholds_.tolist(), fitted.y_thresholds_.tolist()])
    return curve


def apply_isotonic(curve: Curve, scores: Matrix) -> Matrix:
    """Probabilities of shape (n, K), each row divided by its sum; equal shares where it is 0."""
    p = np.stack([np.interp(scores[:, k], x, y) for k, (x, y) in enumerate(curve)], axis=1)
    total = p.sum(axis=1, keepdims=True)
    return np.where(total > 0, p / np.where(total > 0, total, 1.0), 1.0 / p.shape[1])


class Calibrated(ClassifierMixin, BaseEstimator):
    """A fitted classifier, and what turns its scores into calibrated probabilities.

    Parameters
    ----------
    estimator
        A fitted classifier.
    gives : "probabilities" or "decisions"
        Whether its ``predict_proba`` or its ``decision_function`` is taken.
    method : "sigmoid" or "isotonic"
    parameters
        From `fit_platt` or `fit_isotonic`, on rows the estimator's likes had not seen.
    """

    def __init__(
        self,
        estimator: Any = None,
        gives: str = "decisions",
        method: Method = "sigmoid",
        parameters: Any = None,
    ) -> None:
        self.estimator = estimator
        self.gives = gives
        self.method = method
        self.parameters = parameters

    @classmethod
    def learn(
        cls, gives: str, method: Method, scores: Matrix, y: npt.NDArray[np.intp]
    ) -> Calibrated:
        """Fit the calibration to held-out scores of shape (n, K), without an estimator yet."""
        scores = _as_scores(gives, scores)
        if method == "sigmoid":
            return cls(None, gives, method, fit_platt(scores, y))
        return cls(None, gives, method, fit_isotonic(scores, y))

    def around(self, estimator: Any) -> Calibrated:
        """Return the same calibration for a fitted estimator."""
        return Calibrated(estimator, self.gives, self.method, self.parameters)

    def apply(self, scores: Matrix) -> Matrix:
        """Probabilities of shape (n, K) from what the estimator gives."""
        scores = _as_scores(self.gives, scores)
        if self.method == "sigmoid":
            return apply_platt(self.parameters, scores)
        return apply_isotonic(self.parameters, scores)

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> Calibrated:
        """Fit the estimator; the calibration stays as it was given."""
        self.estimator.fit(X, y)
        return self

    @property
    def classes_(self) -> npt.NDArray[Any]:
        """The classes of the estimator, in the order of the probability columns."""
        return np.asarray(self.estimator.classes_)

    def predict_proba(self, X: npt.ArrayLike) -> Matrix:
        """Probability of each class, shape (n, K)."""
        return self.apply(raw_scores(self.estimator, self.gives, X))

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        """Most probable class of each row, shape (n,)."""
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])


def raw_scores(estimator: Any, gives: str, X: npt.ArrayLike) -> Matrix:
    """Take what a fitted estimator gives, one column per class, shape (n, K)."""
    if gives == "probabilities":
        return np.asarray(estimator.predict_proba(X), dtype=np.float64)
    score = np.asarray(estimator.decision_function(X), dtype=np.float64)
    return np.stack([-score, score], axis=1) if score.ndim == 1 else score


def _as_scores(gives: str, scores: Matrix) -> Matrix:
    return np.log(np.maximum(scores, 1e-12)) if gives == "probabilities" else scores
