"""How often each image counts, in many resamples at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from cxrfeat.arrays import Matrix, Matrix32, RowNumbers


@dataclass(frozen=True)
class Weights:
    """How often each of n images counts in each of B resamples.

    Images that are drawn together, such as those of a patient, are a unit. Sums over images are
    taken unit by unit where they can be, so that most of the work is done once and not in every
    resample. Counts are whole numbers, so that their sums are exact in any order.

    Attributes
    ----------
    drawn : ndarray, shape (U, B)
        How often each unit counts; float32 will do, whose sums are exact up to 8 million images.
    unit : ndarray of int, shape (n,)
        Of each image.
    plain : bool
        Whether every image counts once, in a single resample: there is nothing to multiply by.
    """

    drawn: Matrix | Matrix32
    unit: RowNumbers
    plain: bool = False

    @classmethod
    def once(cls, n: int) -> Weights:
        """Every image counts once."""
        return cls(np.ones((1, 1)), np.zeros(n, dtype=np.intp), plain=True)

    @classmethod
    def of_images(cls, weights: Matrix) -> Weights:
        """Make them of shape (B, n), every image a unit of its own."""
        return cls(np.ascontiguousarray(weights.T), np.arange(weights.shape[1]))

    def __len__(self) -> int:
        return int(self.drawn.shape[1])

    def of(self, rows: RowNumbers) -> Weights:
        """Take some of the images."""
        return Weights(self.drawn, self.unit[rows], self.plain)

    @property
    def total(self) -> Matrix:
        """Images in each resample, shape (B,)."""
        return self.sums(np.ones((len(self.unit), 1), dtype=bool))[:, 0]

    def sums(self, values: Matrix | npt.NDArray[np.bool_]) -> Matrix:
        """Sum values of shape (n, k) over the images, shape (B, k)."""
        if self.plain:
            if values.dtype == np.bool_:
                return np.count_nonzero(values, axis=0)[None, :].astype(np.float64)
            return np.ascontiguousarray(values.T).sum(axis=1)[None, :]
        n, units = len(self.unit), len(self.drawn)
        order = np.argsort(self.unit, kind="stable")
        starts = np.searchsorted(self.unit[order], np.arange(units + 1))
        of_unit = csr_array((np.ones(n), order, starts), shape=(units, n)) @ values.astype(float)
        return np.asarray(self.drawn.T @ of_unit)

    def in_segments(
        self,
        rows: RowNumbers,
        segment: RowNumbers,
        segments: int,
        values: Matrix | None = None,
    ) -> npt.NDArray[Any]:
        """Images of each segment, or the sum of their values, shape (segments, B).

        Parameters
        ----------
        rows : ndarray of int, shape (m,)
        segment : ndarray of int, shape (m,)
            Of each of them, in rising order.
        values : ndarray, shape (m,), or None
            Of each of them; 1 where None.
        """
        if self.plain:
            sums = np.bincount(segment, values, minlength=segments)
            return sums[:, None].astype(np.float64)
        starts = np.searchsorted(segment, np.arange(segments + 1))
        each = np.ones(len(rows), dtype=self.drawn.dtype) if values is None else values
        shape = (segments, len(self.drawn))
        return np.asarray(csr_array((each, self.unit[rows], starts), shape) @ self.drawn)
