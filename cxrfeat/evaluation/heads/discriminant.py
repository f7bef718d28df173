"""Linear discriminant analysis of many labels from inner products of their rows.

The within-class covariance of a label is that of all rows less what the label's two means make.
So the rows are multiplied once for all labels, and a label takes one factorisation for each
shrinkage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve

from cxrfeat.arrays import Matrix32, RowNumbers, Vector
from cxrfeat.evaluation.heads.cells import Cell, blocks

ROUNDING = 4e-7
"""Least diagonal as a share of all variance: what products in float32 may be off by."""


@dataclass(frozen=True)
class Within:
    """What discriminant analysis takes from the rows of some classes.

    Attributes
    ----------
    covariance : ndarray of float32, shape (r, r)
        Mean of the classes', each weighted by its prior.
    means : ndarray of float32, shape (K, r)
    prior : ndarray, shape (K,)
    floor : float
        Least that the diagonal is raised by.
    """

    covariance: Matrix32
    means: Matrix32
    prior: Vector
    floor: float

    def planes(self, shrinkage: float, dimension: int) -> Matrix32:
        """Weights and intercept of each class, or of two classes' log-odds.

        Parameters
        ----------
        shrinkage : float
            Share of the identity times the mean variance.
        dimension : int
            Over which the mean is taken: directions that rows were turned out of have none.

        Returns
        -------
        ndarray of float32, shape (r + 1, K), or (r + 1,) for two classes
        """
        r = len(self.covariance)
        shrunk = self.covariance * np.float32(1 - shrinkage)
        variance = float(np.trace(self.covariance, dtype=np.float64)) / dimension
        shrunk.flat[:: r + 1] += max(shrinkage * variance, self.floor)
        # Symmetric: its transpose is the same in the order that LAPACK writes over.
        factor = cho_factor(shrunk.T, lower=True, overwrite_a=True, check_finite=False)
        if len(self.prior) == 2:
            coef = cho_solve(factor, self.means[1] - self.means[0], check_finite=False)
            middle = self.means.astype(np.float64).mean(axis=0)
            odds = np.log(self.prior[1] / self.prior[0])
            return np.append(coef, np.float32(odds - middle @ coef))
        coef = cho_solve(factor, self.means.T, check_finite=False)
        intercept = np.log(self.prior) - 0.5 * np.einsum(
            "kd,dk->k", self.means, coef, dtype=np.float64
        )
        return np.vstack([coef, intercept]).astype(np.float32)


class Moments:
    """Counts, sums and inner products of the rows of fits, class by class.

    Parameters
    ----------
    Z : ndarray of float32, shape (n, r)
    cells : sequence of Cell
        The rows of the fits.
    members : ndarray of bool, shape (n, M)
        Which rows are of each class; of several labels two classes each.
    """

    def __init__(self, Z: Matrix32, cells: Sequence[Cell], members: npt.NDArray[np.bool_]) -> None:
        self.Z, self.cells, self.members = Z, cells, members
        self.n_fits = len(cells[0].member)
        r = Z.shape[1]
        self.counts = np.zeros((self.n_fits, members.shape[1]))
        self.sums = np.zeros((self.n_fits, members.shape[1], r))
        for cell in cells:
            counts = members[cell.rows].sum(axis=0)
            sums = np.zeros((members.shape[1], r))
            for block in blocks(cell.rows):
                sums += members[block].T.astype(np.float32) @ Z[block]
            self.counts[cell.fits] += counts
            self.sums[cell.fits] += sums
        self._whole: list[Matrix32 | None] = [None] * len(cells)

    def within(self, classes: RowNumbers, balanced: bool) -> list[Within | None]:
        """Put together what tells some classes apart, for each fit.

        Parameters
        ----------
        classes : ndarray of int
            Columns of `members`.
        balanced : bool
            Whether all have the same prior, not their share.

        Returns
        -------
        list of Within or None
            None for a fit that lacks one of the classes.
        """
        counts = self.counts[:, classes]
        taught = np.asarray((counts > 0).all(axis=1))
        counts = np.maximum(counts, 1)
        prior = counts / counts.sum(axis=1, keepdims=True)
        # Of equal weight are all rows, or those of each class.
        groups = [classes]
        if balanced:
            prior = np.full_like(prior, 1 / len(classes))
            groups = [classes[[k]] for k in range(len(classes))]
        r = self.Z.shape[1]
        covariance = [np.zeros((r, r), np.float32) for _ in range(self.n_fits)]
        for number, group in enumerate(groups):
            of_group = np.asarray(self.members[:, group].any(axis=1))
            for place, cell in enumerate(self.cells):
                product = self._product(place, of_group)
                for fit in cell.fits:
                    weight = prior[fit, number] / counts[fit, number]
                    covariance[fit] += product * np.float32(weight)
        found: list[Within | None] = []
        for fit, spread in enumerate(covariance):
            if not taught[fit]:
                found.append(None)
                continue
            total = float(np.trace(spread, dtype=np.float64))
            means = (self.sums[fit, classes] / counts[fit][:, None]).astype(np.float32)
            far = means * np.sqrt(prior[fit])[:, None].astype(np.float32)
            spread -= far.T @ far
            found.append(Within(spread, means, prior[fit], max(1e-6, ROUNDING * total)))
        return found

    def _product(self, place: int, of_group: npt.NDArray[np.bool_]) -> Matrix32:
        """Inner products of the channels over a group's rows of a cell, shape (r, r)."""
        rows = self.cells[place].rows
        here = of_group[rows]
        if here.mean() <= 0.5:
            return self._multiplied(rows[here])
        whole = self._whole[place]
        if whole is None:
            whole = self._whole[place] = self._multiplied(rows)
        return whole if here.all() else whole - self._multiplied(rows[~here])

    def _multiplied(self, rows: RowNumbers) -> Matrix32:
        product = np.zeros((self.Z.shape[1],) * 2, np.float32)
        for block in blocks(rows):
            some = self.Z[block]
            product += some.T @ some
        return product
