"""Turn decision scores into probabilities, and probabilities into better calibrated ones."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from sklearn.isotonic import IsotonicRegression

from cxrfeat.arrays import Matrix
from cxrfeat.errors import UnknownNameError
from cxrfeat.estimators import Calibrated, Curve, Method, as_scores, softmax

METHODS: tuple[Method, ...] = ("sigmoid", "isotonic")


def find_method(name: str | None) -> Method | None:
    """Look a way to calibrate up by name; None for none.

    Raises
    ------
    UnknownNameError
        Another name.
    """
    if name is None:
        return None
    for method in METHODS:
        if method == name:
            return method
    raise UnknownNameError("calibration", name, METHODS)


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


def fit_calibration(
    gives: str, method: Method, scores: Matrix, y: npt.NDArray[np.intp]
) -> Calibrated:
    """Fit a calibration to held-out scores of shape (n, K), without an estimator yet.

    Parameters
    ----------
    gives : "probabilities" or "decisions"
        What the scores are.
    """
    scores = as_scores(gives, scores)
    fitted = fit_platt(scores, y) if method == "sigmoid" else fit_isotonic(scores, y)
    return Calibrated(None, gives, method, fitted)
