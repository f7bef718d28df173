"""Many penalised linear problems on the same rows, minimised side by side.

Tuning asks for the same model with several penalties on several parts of the rows. Each step of
all of them is one matrix product, and one factorisation of the rows' inner products per penalty
makes the steps few.

References
----------
Liu DC, Nocedal J. On the limited memory BFGS method for large scale optimization. Mathematical
Programming 1989;45:503-528; the first metric is the bound of Böhning D. Multinomial logistic
regression algorithm. Ann Inst Stat Math 1992;44:197-200.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from cxrfeat.arrays import Matrix, Matrix32, RowNumbers

Loss = Callable[[Matrix32, Matrix32], tuple[Matrix32, Matrix32]]
"""From scores and targets of shape (P, n, K): loss and its slope (P, n, K).

A loss of a row as a whole, and not of each of its columns, has the shape (P, n, 1)."""

STEPS = 100
MEMORY = 10
TOLERANCE = 1e-5
"""Relative fall of the objective in one step below which a problem is finished."""
PATIENCE = 2


@dataclass(frozen=True)
class Penalised:
    """Mean loss over some rows plus ``|W|^2 / (2 C n)``.

    Attributes
    ----------
    rows : ndarray of int
        The rows that count.
    C : float
    weights : ndarray, shape (len(rows),) or (len(rows), K), or None
        How much each counts, or each of its columns: 1 on average over the rows, or about so.
    """

    rows: RowNumbers
    C: float
    weights: Matrix | None = None


def minimise(
    Z: Matrix32,
    target: Matrix32,
    problems: Sequence[Penalised],
    loss: Loss,
    curvature: float,
    intercept_share: float,
) -> Matrix32:
    """Find the weights of every problem.

    Parameters
    ----------
    Z : ndarray of float32, shape (n, r)
        Rows; a last column of ones is added for the intercept.
    target : ndarray of float32, shape (n, K)
    curvature : float
        An upper bound of the loss's second derivative.
    intercept_share
        Of the penalty, that the intercept bears: 0 as in logistic regression, 1 as in liblinear.

    Returns
    -------
    ndarray of float32, shape (P, r + 1, K)
        The last row is the intercept.
    """
    rows = np.unique(np.concatenate([problem.rows for problem in problems]))
    A = np.concatenate([Z[rows], np.ones((len(rows), 1), np.float32)], axis=1)
    T = target[rows]
    each = any(p.weights is not None and p.weights.ndim == 2 for p in problems)
    weight = np.zeros((len(problems), len(rows), T.shape[1] if each else 1), np.float32)
    for number, problem in enumerate(problems):
        place = np.searchsorted(rows, problem.rows)
        counted = 1.0 if problem.weights is None else problem.weights.reshape(len(place), -1)
        weight[number, place] = counted / len(problem.rows)
    penalty = np.array([1.0 / (p.C * len(p.rows)) for p in problems])
    share = np.ones(A.shape[1], np.float32)
    share[-1] = intercept_share
    objective = _Objective(A, T, weight, penalty[:, None] * share, loss)
    B = A
    if any(problem.weights is not None for problem in problems):
        # Rows that count more bend the objective more.
        lengths = np.array([len(problem.rows) for problem in problems], np.float32)
        relative = weight.mean(axis=2) * lengths[:, None]
        mean = relative.sum(axis=0) / np.maximum((relative > 0).sum(axis=0), 1)
        B = A * np.sqrt(mean)[:, None].astype(np.float32)
    return _lbfgs(objective, _Metric(B, penalty, share, curvature))


@dataclass(frozen=True)
class _Objective:
    A: Matrix32
    T: Matrix32
    weight: Matrix32
    penalty: Matrix
    loss: Loss

    @property
    def shape(self) -> tuple[int, int, int]:
        return len(self.weight), self.A.shape[1], self.T.shape[1]

    def scores(self, W: Matrix32) -> Matrix32:
        """Products of all problems at once, shape (P, n, K)."""
        P, r, K = self.shape
        flat = W.transpose(1, 0, 2).reshape(r, P * K)
        return (self.A @ flat).reshape(-1, P, K).transpose(1, 0, 2)

    def __call__(self, W: Matrix32) -> tuple[Matrix, Matrix32]:
        """Value of each problem, and its gradient."""
        P, r, K = self.shape
        value, slope = self.loss(self.scores(W), self.T)
        slope *= self.weight
        flat = slope.transpose(1, 0, 2).reshape(-1, P * K)
        gradient = (self.A.T @ flat).reshape(r, P, K).transpose(1, 0, 2)
        ridge = self.penalty[:, :, None] * W
        total = np.einsum("pnk,pnk->p", value, self.weight, dtype=np.float64)
        total += 0.5 * np.einsum("prk,prk->p", W, ridge, dtype=np.float64)
        return total, (gradient + ridge).astype(np.float32)


class _Metric:
    """Solves with curvature * A'A / n + penalty, one factorisation per distinct penalty.

    Rows of A are scaled by the root of how much they count.
    """

    def __init__(self, A: Matrix32, penalty: Matrix, share: Matrix32, curvature: float) -> None:
        gram = (A.T @ A) * np.float32(curvature / len(A))
        # Penalties of inner folds that differ by an image are near enough for a metric.
        classes, self._which = np.unique(np.round(np.log(penalty), 1), return_inverse=True)
        self._factors = []
        for number in range(len(classes)):
            H = gram.copy()
            H.flat[:: len(H) + 1] += penalty[self._which == number].mean() * share + 1e-6
            self._factors.append(cho_factor(H, lower=True, overwrite_a=True, check_finite=False))

    def solve(self, gradient: Matrix32, live: RowNumbers) -> Matrix32:
        """Directions for the problems that are still live, shape (len(live), r, K)."""
        _, r, K = gradient.shape
        direction = np.empty_like(gradient)
        for number, factor in enumerate(self._factors):
            members = np.flatnonzero(self._which[live] == number)
            if len(members):
                flat = gradient[members].transpose(1, 0, 2).reshape(r, -1)
                solved = cho_solve(factor, flat, check_finite=False)
                direction[members] = solved.reshape(r, len(members), K).transpose(1, 0, 2)
        return direction


def _lbfgs(whole: _Objective, metric: _Metric) -> Matrix32:
    """Step all problems together; one that no longer gains is set aside."""
    found = np.zeros(whole.shape, np.float32)
    live: RowNumbers = np.arange(len(found))
    objective, W = whole, found.copy()
    value, gradient = objective(W)
    memory: deque[tuple[Matrix32, Matrix32, Matrix]] = deque(maxlen=MEMORY)
    quiet = np.zeros(len(live), dtype=int)
    for _ in range(STEPS):
        direction = -_two_loops(gradient, memory, lambda q: metric.solve(q, live))  # noqa: B023
        step, new_value, new_gradient = _step(objective, W, value, gradient, direction)
        moved = direction * step[:, None, None].astype(np.float32)
        change = new_gradient - gradient
        product = np.einsum("prk,prk->p", moved, change, dtype=np.float64)
        # A pair without positive curvature would spoil the metric; its weight is set to nothing.
        inverse = np.divide(1.0, product, out=np.zeros_like(product), where=product > 1e-12)
        memory.append((moved, change, inverse))
        small = value - new_value <= TOLERANCE * np.maximum(np.abs(value), 1e-8)
        W, value, gradient = W + moved, new_value, new_gradient
        quiet = np.where(small, quiet + 1, 0)
        going = (quiet < PATIENCE) & (step > 0)
        if not going.all():
            found[live] = W
            live, W, value, gradient = live[going], W[going], value[going], gradient[going]
            quiet = quiet[going]
            memory = deque(((s[going], c[going], i[going]) for s, c, i in memory), maxlen=MEMORY)
            objective = replace(whole, weight=whole.weight[live], penalty=whole.penalty[live])
            if not len(live):
                return found
    found[live] = W
    return found


def _two_loops(
    gradient: Matrix32,
    memory: deque[tuple[Matrix32, Matrix32, Matrix]],
    metric: Callable[[Matrix32], Matrix32],
) -> Matrix32:
    q = gradient.copy()
    factors = []
    for moved, change, inverse in reversed(memory):
        alpha = inverse * np.einsum("prk,prk->p", moved, q, dtype=np.float64)
        q -= change * alpha[:, None, None].astype(np.float32)
        factors.append(alpha)
    q = metric(q)
    for (moved, change, inverse), alpha in zip(memory, reversed(factors), strict=True):
        beta = inverse * np.einsum("prk,prk->p", change, q, dtype=np.float64)
        q += moved * (alpha - beta)[:, None, None].astype(np.float32)
    return q


def _step(
    objective: _Objective,
    W: Matrix32,
    value: Matrix,
    gradient: Matrix32,
    direction: Matrix32,
) -> tuple[Matrix, Matrix, Matrix32]:
    """Halve each problem's step until its objective falls enough; none for those at their end."""
    slope = np.einsum("prk,prk->p", gradient, direction, dtype=np.float64)
    step = np.ones(len(W))
    for attempt in range(8):
        new_value, new_gradient = objective(W + direction * step[:, None, None].astype(np.float32))
        enough = new_value <= value + 1e-4 * step * slope
        if enough.all():
            return step, new_value, new_gradient
        step = np.where(enough, step, step * 0.5 if attempt < 6 else 0.0)
    return step, np.where(enough, new_value, value), new_gradient
