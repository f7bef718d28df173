"""Many penalised linear problems on the same rows, minimised side by side.

Tuning asks for the same model with several penalties, of several labels, on several parts of the
rows. Each of them is a column of weights. A step of all columns is one matrix product of the rows
and one of their transpose, block by block, and the principal directions of the rows, found once
for a fold, make the steps few.

References
----------
Liu DC, Nocedal J. On the limited memory BFGS method for large scale optimization. Mathematical
Programming 1989;45:503-528. The first metric is the Hessian where all rows are equally uncertain,
after Böhning D. Multinomial logistic regression algorithm. Ann Inst Stat Math 1992;44:197-200.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from cxrfeat.arrays import Matrix, Matrix32, RowNumbers, Vector
from cxrfeat.evaluation.heads.cells import Cell, blocks, cells_of
from cxrfeat.evaluation.heads.standardised_fold import Spectrum

STEPS = 100
MEMORY = 10
TOLERANCE = 1e-5
"""Relative fall of the objective in one step below which a problem is finished."""
PATIENCE = 2


@dataclass(frozen=True)
class Loss:
    """What scores cost, and how steeply.

    Attributes
    ----------
    of : callable
        From scores and targets of shape (n, C) the loss and its slope, both of that shape; of
        coupled columns from scores (n, G, K) and targets (n, 1, K) the loss (n, G) and its slope
        (n, G, K). The scores may be written over.
    curvature : callable
        About what its second derivative is where the share of ones is p.
    start : callable
        The intercept that fits a share p alone.
    intercept_share : float
        Of the penalty, that the intercept bears: 0 as in logistic regression, 1 as in liblinear.
    coupled : bool
        Whether the K columns of a problem share one loss.
    """

    of: Callable[[Matrix32, Matrix32], tuple[Matrix32, Matrix32]]
    curvature: Callable[[Matrix], Matrix]
    start: Callable[[Matrix], Matrix]
    intercept_share: float = 0.0
    coupled: bool = False


@dataclass(frozen=True)
class Fit:
    """Some rows to learn from.

    Attributes
    ----------
    rows : ndarray of int
    weights : ndarray, shape (K, 2), or None
        How much a row counts in each column of the target whose value is 0, and 1; of coupled
        columns a row counts as the column says that is 1.
    """

    rows: RowNumbers
    weights: Matrix | None = None


def minimise(
    Z: Matrix32,
    target: Matrix32,
    fits: Sequence[Fit],
    C: Matrix,
    loss: Loss,
    spectrum: Spectrum,
) -> Matrix32:
    """Find for every fit and penalty the least mean loss plus ``|W|^2 / (2 C n)``.

    Parameters
    ----------
    Z : ndarray of float32, shape (n, r)
        Rows.
    target : ndarray of float32, shape (n, K)
        1 or 0, or NaN where unknown: such a row does not count for the column.
    fits : sequence of Fit
        P of them.
    C : ndarray, shape (S, K)
    spectrum : Spectrum
        Of the rows, or of most of them: the nearer, the fewer the steps.

    Returns
    -------
    ndarray of float32, shape (P * S, r + 1, K)
        The last row is the intercept. A column whose rows are all of one value stays at zero.
    """
    problems, S, K = len(fits) * len(C), len(C), target.shape[1]
    ones = np.stack([np.nansum(target[fit.rows], axis=0, dtype=np.float64) for fit in fits])
    known = np.stack([np.isfinite(target[fit.rows]).sum(axis=0) for fit in fits])
    counted = np.maximum(known, 1)
    share = ones / counted
    weight = None
    if fits[0].weights is not None:
        weight = np.stack([fit.weights for fit in fits if fit.weights is not None])
        heavy, light = share * weight[..., 1], (1 - share) * weight[..., 0]
        share = heavy / np.maximum(heavy + light, 1e-12)
        if loss.coupled:
            share = heavy / np.maximum(heavy.sum(axis=1, keepdims=True), 1e-12)

    def columns(of_fit: npt.NDArray[np.floating]) -> Matrix:
        """Repeat for every setting what is so of each fit and column of the target."""
        return np.repeat(of_fit[:, None], S, axis=1).reshape(problems * K, *of_fit.shape[2:])

    penalty = 1.0 / (np.tile(C.reshape(-1), len(fits)) * columns(counted))
    objective = _Objective(
        Z=Z,
        target=np.nan_to_num(target),
        known=np.isfinite(target).astype(np.float32) if np.isnan(target).any() else None,
        cells=cells_of([fit.rows for fit in fits]),
        fit=np.repeat(np.arange(len(fits)), S * K),
        column=np.tile(np.arange(K), problems),
        scale=1.0 / columns(counted),
        weight=None if weight is None else columns(weight).astype(np.float32),
        penalty=penalty,
        loss=loss,
    )
    clipped = np.clip(share, 0.5 / counted, 1 - 0.5 / counted)
    found = np.zeros((problems * K, Z.shape[1] + 1), np.float32)
    found[:, -1] = columns(loss.start(clipped))
    metric = _Metric(spectrum, columns(loss.curvature(clipped)), penalty, loss.intercept_share)
    teaches = columns(((ones > 0) & (ones < known)).astype(float)) > 0
    live = np.arange(problems * K) if loss.coupled else np.flatnonzero(teaches)
    found[~teaches & (not loss.coupled)] = 0.0
    _lbfgs(objective, metric, found, live)
    return found.reshape(problems, K, -1).transpose(0, 2, 1)


@dataclass(frozen=True)
class _Objective:
    """Values and gradients of columns of weights; arrays that are not of rows are by column."""

    Z: Matrix32
    target: Matrix32
    known: Matrix32 | None
    cells: Sequence[Cell]
    fit: RowNumbers
    column: RowNumbers
    scale: Vector
    weight: Matrix32 | None
    penalty: Vector
    loss: Loss

    @property
    def width(self) -> int:
        """Columns that make one problem."""
        return self.target.shape[1] if self.loss.coupled else 1

    def __call__(self, W: Matrix32, columns: RowNumbers) -> tuple[Vector, Matrix32]:
        """Value of each problem, and its gradient, shapes (G,) and (C, r + 1)."""
        value = np.zeros(len(columns) // self.width)
        gradient = np.zeros_like(W)
        for cell in self.cells:
            here = np.flatnonzero(np.isin(self.fit[columns], cell.fits))
            if not len(here):
                continue
            V = W[here]
            total = np.zeros(len(here) // self.width)
            along = np.zeros_like(V)
            for block in blocks(cell.rows):
                rows = self.Z[block]
                scores = rows @ V[:, :-1].T
                scores += V[:, -1]
                loss, slope = self._loss(scores, block, columns[here])
                total += loss.sum(axis=0, dtype=np.float64)
                along[:, :-1] += slope.T @ rows
                along[:, -1] += slope.sum(axis=0)
            value[here[:: self.width] // self.width] += total
            gradient[here] += along
        scale, ridge = self.scale[columns], np.repeat(self.penalty[columns, None], 2, axis=1)
        ridge[:, 1] *= self.loss.intercept_share
        value *= scale[:: self.width]
        gradient *= scale[:, None].astype(np.float32)
        pull = W * ridge[:, :1].astype(np.float32)
        pull[:, -1] = W[:, -1] * ridge[:, 1]
        value += 0.5 * _dots(W, pull, self.width)
        gradient += pull
        return value, gradient

    def _loss(
        self, scores: Matrix32, block: RowNumbers | slice, columns: RowNumbers
    ) -> tuple[Matrix32, Matrix32]:
        """Weighted losses of problems and slopes of columns, of a block of rows."""
        target, of_column = self.target[block], self.column[columns]
        if self.loss.coupled:
            grouped = scores.reshape(len(scores), -1, self.width)
            value, slope = self.loss.of(grouped, target[:, None])
            if self.weight is not None:
                counts = target @ self.weight[columns, 1].reshape(-1, self.width).T
                value *= counts
                slope *= counts[:, :, None]
            return value, slope.reshape(scores.shape)
        T = target[:, of_column]
        value, slope = self.loss.of(scores, T)
        counts = None
        if self.weight is not None:
            light, heavy = self.weight[columns].T
            counts = light + (heavy - light) * T
        if self.known is not None:
            known = self.known[block][:, of_column]
            counts = known if counts is None else counts * known
        if counts is not None:
            value *= counts
            slope *= counts
        return value, slope


@dataclass(frozen=True)
class _Metric:
    """About the inverse of each column's Hessian, in the principal directions of the rows."""

    spectrum: Spectrum
    curvature: Vector
    penalty: Vector
    intercept_share: float

    def solve(self, gradient: Matrix32, columns: RowNumbers) -> Matrix32:
        """Directions for some columns, shape (C, r + 1)."""
        curvature, penalty = self.curvature[columns], self.penalty[columns]
        solved = np.empty_like(gradient)
        within = np.outer(curvature, self.spectrum.values) + penalty[:, None]
        solved[:, :-1] = self.spectrum.scaled(
            gradient[:, :-1], (1.0 / within).astype(np.float32),
            (1.0 / (curvature * self.spectrum.rest + penalty)).astype(np.float32),
        )  # fmt: skip
        solved[:, -1] = gradient[:, -1] / (curvature + penalty * self.intercept_share)
        return solved


def _lbfgs(objective: _Objective, metric: _Metric, found: Matrix32, live: RowNumbers) -> None:
    """Step all columns of `found` together; a problem that no longer gains is set aside."""
    width = objective.width
    W = found[live]
    value, gradient = objective(W, live)
    memory: deque[tuple[Matrix32, Matrix32, Vector]] = deque(maxlen=MEMORY)
    quiet = np.zeros(len(value), dtype=int)
    for _ in range(STEPS):
        if not len(live):
            return
        direction = _two_loops(gradient, memory, partial(metric.solve, columns=live), width)
        np.negative(direction, out=direction)
        step, new_value, new_gradient = _step(objective, live, W, value, gradient, direction)
        moved = direction * _each(step, width)
        change = new_gradient - gradient
        product = _dots(moved, change, width)
        # A pair without positive curvature would spoil the metric; its weight is set to nothing.
        inverse = np.divide(1.0, product, out=np.zeros_like(product), where=product > 1e-12)
        memory.append((moved, change, inverse))
        small = value - new_value <= TOLERANCE * np.maximum(np.abs(value), 1e-8)
        W, value, gradient = W + moved, new_value, new_gradient
        quiet = np.where(small, quiet + 1, 0)
        going = (quiet < PATIENCE) & (step > 0)
        if not going.all():
            found[live] = W
            value, quiet, wide = value[going], quiet[going], np.repeat(going, width)
            live, W, gradient = live[wide], W[wide], gradient[wide]
            memory = deque(((s[wide], c[wide], i[going]) for s, c, i in memory), maxlen=MEMORY)
    found[live] = W


def _two_loops(
    gradient: Matrix32,
    memory: deque[tuple[Matrix32, Matrix32, Vector]],
    metric: Callable[[Matrix32], Matrix32],
    width: int,
) -> Matrix32:
    q = gradient.copy()
    factors = []
    for moved, change, inverse in reversed(memory):
        alpha = inverse * _dots(moved, q, width)
        q -= change * _each(alpha, width)
        factors.append(alpha)
    q = metric(q)
    for (moved, change, inverse), alpha in zip(memory, reversed(factors), strict=True):
        beta = inverse * _dots(change, q, width)
        q += moved * _each(alpha - beta, width)
    return q


def _step(
    objective: _Objective,
    live: RowNumbers,
    W: Matrix32,
    value: Vector,
    gradient: Matrix32,
    direction: Matrix32,
) -> tuple[Vector, Vector, Matrix32]:
    """Halve each problem's step until its objective falls enough; none for those at their end."""
    width = objective.width
    slope = _dots(gradient, direction, width)
    step = np.ones(len(value))
    new_value, new_gradient = value.copy(), gradient.copy()
    trying = np.arange(len(value))
    for _ in range(7):
        wide = (trying[:, None] * width + np.arange(width)).ravel()
        there = W[wide] + direction[wide] * _each(step[trying], width)
        tried, tried_gradient = objective(there, live[wide])
        enough = tried <= value[trying] + 1e-4 * step[trying] * slope[trying]
        kept = np.repeat(enough, width)
        new_value[trying[enough]] = tried[enough]
        new_gradient[wide[kept]] = tried_gradient[kept]
        trying = trying[~enough]
        if not len(trying):
            return step, new_value, new_gradient
        step[trying] *= 0.5
    step[trying] = 0.0
    return step, new_value, new_gradient


def _dots(a: Matrix32, b: Matrix32, width: int) -> Vector:
    """Inner products of the rows of each problem, shape (G,)."""
    each = np.einsum("cr,cr->c", a, b, dtype=np.float64)
    return each.reshape(-1, width).sum(axis=1)


def _each(of_problem: Vector, width: int) -> Matrix32:
    """Put a number of each problem beside each of its columns, shape (C, 1)."""
    return np.repeat(of_problem, width)[:, None].astype(np.float32)
