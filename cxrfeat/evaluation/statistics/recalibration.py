"""Calibration slope and intercept: what a logistic recalibration would do to probabilities.

Each class is taken against the rest, as in the reliability curves: if the probabilities of all
classes are right, so is each of them, and no class has to be the one that the others are compared
with. The images of a repeat are taken together, each with the probability of the model that did
not see it. Unlike ranks, probabilities of different models share a scale, and a fold alone is too
small: its slope is far from 1 by chance, and often infinite.

References
----------
Cox DR. Two further applications of a model for binary regression. Biometrika 1958;45:562-565.
Van Calster B et al. Calibration: the Achilles heel of predictive analytics. BMC Med 2019;17:230.
For several classes Van Hoorde K et al. Assessing calibration of multinomial risk prediction
models. Stat Med 2014;33:2585-2596, which compares with a reference class instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cxrfeat.arrays import Matrix

Numbers = npt.NDArray[np.intp]
Interval = tuple[float, float]

NEAREST = 1e-8
"""Probabilities of 0 and 1 have no log-odds: they are taken to be this far off."""
STEPS = 100
UNDEFINED = (float("nan"), float("nan"))


@dataclass(frozen=True)
class Recalibration:
    """Log-odds of the truth as a straight line of the predicted log-odds.

    Attributes
    ----------
    slope, intercept : float
        Ideal are 1 and 0. A slope below 1: probabilities too near 0 and 1. The intercept is that
        of a slope held at 1; above 0: probabilities too low on average.
    slope_interval, intercept_interval : tuple of float
        95 %, from the spread over patients, with the models as they are.
    """

    slope: float
    slope_interval: Interval
    intercept: float
    intercept_interval: Interval


def recalibration(
    truth: Matrix, p: Matrix, *, repeat: Numbers, fold: Numbers, patient: Numbers
) -> Recalibration:
    """Recalibrate the out-of-fold probabilities of one class, repeat by repeat, and average.

    Parameters
    ----------
    truth, p : ndarray, shape (m,)
        Every tested image once per repeat; NaN where unknown.
    repeat, fold, patient : ndarray of int, shape (m,)

    Returns
    -------
    Recalibration
        NaN where there is no finite answer in every repeat: probabilities that separate the class
        from the rest (slope), that are the same for all images of each fold (slope), or one class
        alone (both).
    """
    known = np.isfinite(truth) & np.isfinite(p)
    y, fold, patient, repeat = truth[known], fold[known], patient[known], repeat[known]
    near = np.clip(p[known], NEAREST, 1 - NEAREST)
    x = np.log(near) - np.log1p(-near)
    slopes, intercepts = [], []
    for number in np.unique(repeat):
        rows = np.flatnonzero(repeat == number)
        intercepts.append(_line(y[rows], np.ones((len(rows), 1)), x[rows], rows))
        columns = np.stack([x[rows], np.ones(len(rows))], axis=1)
        told_apart = _varies(x[rows], fold[rows]) and _overlap(x[rows], y[rows])
        slopes.append(_line(y[rows], columns, np.zeros(len(rows)), rows) if told_apart else None)
    return Recalibration(*_over_repeats(slopes, patient), *_over_repeats(intercepts, patient))


@dataclass(frozen=True)
class _Line:
    """The first coefficient of one repeat, and how much each row moves it."""

    value: float
    rows: Numbers
    influence: Matrix


def _varies(x: Matrix, fold: Numbers) -> bool:
    """Whether any fold tells its images apart: else only folds are compared with each other."""
    return any(np.ptp(x[fold == number]) > 1e-9 for number in np.unique(fold))


def _overlap(x: Matrix, y: Matrix) -> bool:
    """Whether a slope is finite: some images of both sides lie beyond some of the other."""
    positive, negative = x[y == 1], x[y == 0]
    if not len(positive) or not len(negative):
        return False
    return bool(positive.min() < negative.max() and negative.min() < positive.max())


def _line(y: Matrix, X: Matrix, offset: Matrix, rows: Numbers) -> _Line | None:
    """Fit a logistic regression without penalty by Newton's steps; None without an answer."""
    if len(np.unique(y)) < 2:
        return None
    coef = np.zeros(X.shape[1])
    loss = _loss(y, X @ coef + offset)
    for _ in range(STEPS):
        p = 0.5 * (1 + np.tanh(0.5 * (X @ coef + offset)))
        hessian = (X * (p * (1 - p))[:, None]).T @ X
        try:
            step = np.linalg.solve(hessian, X.T @ (y - p))
        except np.linalg.LinAlgError:
            return None
        new = _loss(y, X @ (coef + step) + offset)
        while not new <= loss + 1e-12 * abs(loss) and np.abs(step).max() > 1e-12:
            step = step / 2
            new = _loss(y, X @ (coef + step) + offset)
        coef, loss = coef + step, new
        if np.abs(step).max() < 1e-9:
            p = 0.5 * (1 + np.tanh(0.5 * (X @ coef + offset)))
            influence = np.linalg.solve(hessian, (X * (y - p)[:, None]).T)[0]
            return _Line(float(coef[0]), rows, influence)
    return None


def _loss(y: Matrix, score: Matrix) -> float:
    return float(np.sum(np.logaddexp(0.0, score) - y * score))


def _over_repeats(lines: list[_Line | None], patient: Numbers) -> tuple[float, Interval]:
    """Mean over the repeats, and its interval from the sums of the influences by patient.

    References
    ----------
    Liang KY, Zeger SL. Longitudinal data analysis using generalized linear models. Biometrika
    1986;73:13-22 (the variance that clusters leave unharmed).
    """
    found = [line for line in lines if line is not None]
    if not found or len(found) < len(lines):
        return float("nan"), UNDEFINED
    moved = np.zeros(int(patient.max()) + 1)
    for line in found:
        np.add.at(moved, patient[line.rows], line.influence / len(found))
    patients = len(np.unique(patient))
    value = float(np.mean([line.value for line in found]))
    if patients < 2:
        return value, UNDEFINED
    reach = 1.96 * float(np.sqrt(np.sum(moved**2) * patients / (patients - 1)))
    return value, (value - reach, value + reach)
