"""What the heads share on one training set: scaling, one Gram matrix, one decomposition.

Tuning fits every head many times on parts of the same training rows. What does not depend on
the head or its setting is computed here once, when it is first asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh

from cxrfeat.arrays import Matrix32, RowNumbers
from cxrfeat.estimators import block_factors
from cxrfeat.evaluation.heads.channel_blocks import QuantisedChannels

BLOCK = 4096
"""Rows that are scaled at a time."""


class SharedFold:
    """The embeddings of one fold, standardised by its training rows alone.

    Positions count the training rows first, then the test rows.

    Parameters
    ----------
    source : ndarray of float32, shape (N, D)
        All embeddings, not copied; they may be mapped from a file.
    train, test : ndarray of int, lengths n and m
        Rows of the fold.
    widths
        Dimensions of the extractors that stand side by side, if there are several.

    Attributes
    ----------
    rows : ndarray of int, shape (n + m,)
        Where each position stands in `source`.
    n_train : int
    train, test : ndarray of int
        Positions.
    widths : sequence of int
        As given.
    """

    def __init__(
        self, source: Matrix32, train: RowNumbers, test: RowNumbers, widths: Sequence[int] = ()
    ) -> None:
        self.source = source
        self.rows: RowNumbers = np.concatenate([train, test])
        self.widths = widths
        self.n_train = len(train)
        self.train: RowNumbers = np.arange(self.n_train)
        self.test: RowNumbers = np.arange(self.n_train, len(self.rows))

    def raw(self, positions: RowNumbers) -> Matrix32:
        """Embeddings as given, shape (len(positions), D).

        For trees, which do not care, and for estimators that bring their own scaling and that of
        blocks of different `widths`.
        """
        return self.source[self.rows[positions]]

    @cached_property
    def quantised(self) -> QuantisedChannels:
        """The quantiles of all rows, for trees; they are never changed."""
        return QuantisedChannels(self.source, self.rows[: self.n_train], self.rows[self.n_train :])

    @cached_property
    def scaling(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """What is subtracted from each channel and what it is divided by, shape (D,) each."""
        blocks = np.array_split(self.rows[: self.n_train], -(-self.n_train // BLOCK))
        mean = sum(self.source[rows].sum(axis=0, dtype=np.float64) for rows in blocks)
        mean = mean / self.n_train
        square = sum(((self.source[rows] - mean) ** 2).sum(axis=0) for rows in blocks)
        scale = np.sqrt(square / self.n_train)
        # A channel that is constant but for rounding is left unscaled, as StandardScaler does.
        constant = scale <= 1e-6 * np.maximum(np.abs(mean), 1e-12)
        scale[constant] = 1.0
        if len(self.widths) > 1:
            scale /= block_factors(self.widths)
        return mean, scale

    @cached_property
    def X(self) -> Matrix32:  # noqa: N802 - what everybody calls it
        """All rows, standardised, shape (n + m, D)."""
        mean, scale = self.scaling
        standardised = np.empty((len(self.rows), self.dimension), np.float32)
        for start in range(0, len(standardised), BLOCK):
            block = slice(start, start + BLOCK)
            standardised[block] = (self.source[self.rows[block]] - mean) / scale
        return standardised

    @property
    def dimension(self) -> int:
        """D, the length of an embedding."""
        return int(self.source.shape[1])

    @cached_property
    def gram(self) -> Matrix32:
        """Inner products of every row with every training row, shape (n + m, n)."""
        return self.X @ self.X[: self.n_train].T

    @cached_property
    def squared_norms(self) -> npt.NDArray[np.float32]:
        """Squared length of every row, shape (n + m,)."""
        return np.einsum("ij,ij->i", self.X, self.X)

    @cached_property
    def rotated(self) -> Matrix32:
        """The rows in a basis of at most n directions that holds every training row.

        A linear model with an isotropic penalty never leaves the span of its training rows, so
        that for more dimensions than images the same model is found in n dimensions. Shape
        (n + m, r), r = min(n, D).
        """
        if self.dimension <= self.n_train:
            return self.X
        G = self.gram[: self.n_train]
        # Large ones in float32: a decomposition of 5,000 rows in float64 costs a minute.
        values, vectors = eigh(G.astype(np.float64) if self.n_train <= 2000 else G)
        keep = values > values[-1] * 1e-6
        basis = (vectors[:, keep] / np.sqrt(values[keep])).astype(np.float32)
        return self.gram @ basis

    @cached_property
    def rbf(self) -> npt.NDArray[np.float64]:
        """Gaussian kernel of every row with every training row, shape (n + m, n).

        The width is scikit-learn's ``gamma="scale"`` on the training rows.
        """
        norms = self.squared_norms
        distance = norms[:, None] + norms[None, : self.n_train] - 2.0 * self.gram
        gamma = gaussian_width(self.X[: self.n_train])
        np.maximum(distance, 0.0, out=distance)
        return np.exp(-gamma * distance.astype(np.float64))

    @cached_property
    def cosine(self) -> Matrix32:
        """Cosine similarity of every row with every training row, shape (n + m, n)."""
        length = np.sqrt(self.squared_norms)
        length[length == 0] = 1.0
        similarity = np.divide(self.gram, length[:, None], dtype=np.float32)
        similarity /= length[None, : self.n_train]
        return similarity


def gaussian_width(X: npt.NDArray[np.floating]) -> float:
    """Width of the Gaussian kernel: scikit-learn's ``gamma="scale"`` on rows X of shape (n, D)."""
    variance = float(X.var(dtype=np.float64))
    return 1.0 / (X.shape[1] * variance) if variance > 0 else 1.0
