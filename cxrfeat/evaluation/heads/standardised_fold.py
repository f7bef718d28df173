"""What the heads share on one training set: scaling, one Gram matrix, one decomposition.

Tuning fits every head many times on parts of the same training rows. What does not depend on
the head or its setting is computed here once, when it is first asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh
from threadpoolctl import threadpool_limits

from cxrfeat.arrays import Matrix32, RowNumbers, Vector, Vector32
from cxrfeat.estimators import BLOCK, GaussianLandmarks, block_factors, gaussian_width
from cxrfeat.evaluation.heads.channel_blocks import QuantisedChannels
from cxrfeat.evaluation.heads.neighbours import Neighbours, by_cosine, most_alike

TURNED = 8000
"""Training rows up to which fewer rows than channels are turned into their own span: the
decomposition of 8,000 takes a core about one and a half minutes."""
WIDE = 5000
"""Channels up to which all principal directions are found."""
SAMPLE = 2000
"""Training rows that stand for all where only the largest directions are found."""


@dataclass(frozen=True)
class Spectrum:
    """Mean squares of rows along their principal directions.

    Attributes
    ----------
    values : ndarray of float32, shape (k,)
    vectors : ndarray of float32, shape (r, k), or None
        The directions; None where they are the channels themselves.
    rest : float
        About the mean square along what is orthogonal to all of them.
    """

    values: npt.NDArray[np.float32]
    vectors: Matrix32 | None
    rest: float = 0.0

    def scaled(self, rows: Matrix32, along: Matrix32, across: Vector32) -> Matrix32:
        """Multiply what each row has along each direction, and what it has across them.

        Parameters
        ----------
        rows : ndarray of float32, shape (n, r)
        along : ndarray of float32, shape (n, k)
        across : ndarray of float32, shape (n,)
        """
        if self.vectors is None:
            return rows * along
        parts = rows @ self.vectors
        if self.is_whole:
            parts *= along
            return np.asarray(parts @ self.vectors.T, dtype=np.float32)
        parts *= along - across[:, None]
        return rows * across[:, None] + np.asarray(parts @ self.vectors.T, dtype=np.float32)

    def squares(self, rows: Matrix32, along: Matrix32, across: Vector32) -> Vector:
        """Inner product of each row with what `scaled` makes of it, shape (n,)."""
        if self.vectors is None:
            return np.einsum("ij,ij,ij->i", rows, rows, along, dtype=np.float64)
        parts = rows @ self.vectors
        squares = np.einsum("ij,ij,ij->i", parts, parts, along, dtype=np.float64)
        if self.is_whole:
            return squares
        rest = np.einsum("ij,ij->i", rows, rows) - np.einsum("ij,ij->i", parts, parts)
        return squares + across * np.maximum(rest, 0)

    @property
    def is_whole(self) -> bool:
        """Whether nothing is across the directions."""
        return self.vectors is None or len(self.vectors) == len(self.values)


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
    candidates : ndarray of int32, shape (N, M), or None
        Of every row of `source` the rows that may be its neighbours, see `candidates`; None to
        look for them among all training rows.

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
        self,
        source: Matrix32,
        train: RowNumbers,
        test: RowNumbers,
        widths: Sequence[int] = (),
        candidates: Neighbours | None = None,
    ) -> None:
        self.source = source
        self.candidates = candidates
        self.rows: RowNumbers = np.concatenate([train, test])
        self.widths = widths
        self.n_train = len(train)
        self.train: RowNumbers = np.arange(self.n_train)
        self.test: RowNumbers = np.arange(self.n_train, len(self.rows))
        self._landmarks: dict[int, GaussianLandmarks] = {}
        self._featured: dict[int, SharedFold] = {}

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
        (n + m, r), r = min(n, D); the rows as they are where n is too large for that.
        """
        if not self.is_rotated:
            return self.X
        return self.gram @ self._span

    @cached_property
    def _span(self) -> Matrix32:
        """By what each training row is multiplied, shape (n, r), to give `rotated`'s directions."""
        G = self.gram[: self.n_train]
        if self.n_train <= 2000:
            values, vectors = eigh(G.astype(np.float64), driver="evd", overwrite_a=True)
        else:
            # In float32: a decomposition of 5,000 rows in float64 costs a minute.
            values, vectors = eigh(G)
        keep = values > values[-1] * 1e-6
        return (vectors[:, keep] / np.sqrt(values[keep])).astype(np.float32)

    def turned_back(self, weights: Matrix32) -> Matrix32:
        """Weights of channels, shape (D, K), from those of `rotated`, shape (r, K)."""
        if not self.is_rotated:
            return weights
        return self.X[: self.n_train].T @ (self._span @ weights)

    @property
    def is_rotated(self) -> bool:
        """Whether `rotated` are other rows than `X`."""
        return self.n_train < self.dimension and self.n_train <= TURNED

    @cached_property
    def spectrum(self) -> Spectrum:
        """Principal directions of the training rows of `rotated`.

        All of them, or where there are too many channels the largest, of some rows; what is across
        those is taken to be as large as the smallest of them.
        """
        Z = self.rotated[: self.n_train]
        if self.is_rotated:
            return Spectrum(np.einsum("ij,ij->j", Z, Z) / np.float32(len(Z)), None)
        if self.dimension <= WIDE:
            second = np.zeros((self.dimension, self.dimension), np.float32)
            for start in range(0, len(Z), BLOCK):
                block = Z[start : start + BLOCK]
                second += block.T @ block
            second /= np.float32(len(Z))
            values, vectors = eigh(second.T, driver="evd", overwrite_a=True, check_finite=False)
            return Spectrum(np.maximum(values, 0), vectors)
        some = Z[np.linspace(0, len(Z) - 1, min(SAMPLE, len(Z))).astype(int)]
        values, vectors = eigh(some @ some.T, driver="evd", overwrite_a=True, check_finite=False)
        kept = values > values[-1] * 1e-4
        directions = (some.T @ vectors[:, kept]) / np.sqrt(values[kept])
        values = values[kept] / np.float32(len(some))
        return Spectrum(values, directions, float(values[0]))

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

    def landmarks(self, seed: int) -> GaussianLandmarks:
        """Give landmarks for the Gaussian kernel, drawn once among all training rows.

        Parts of the training rows share them, as they share the scaling: a row that is held out
        while tuning may be one, but its label has no part in it.
        """
        if seed not in self._landmarks:
            drawn = GaussianLandmarks(seed=seed)
            self._landmarks[seed] = drawn.fit(self.X[: self.n_train])
        return self._landmarks[seed]

    def featured(self, seed: int) -> SharedFold:
        """Give the same rows as features whose inner products are about the Gaussian kernel.

        They are taken as they are: scaled, they would belong to another kernel.
        """
        if seed not in self._featured:
            features = self.landmarks(seed).transform(self.X)
            self._featured[seed] = SharedFold(features, self.train, self.test)
            self._featured[seed].X = features
        return self._featured[seed]

    @cached_property
    def nearest(self) -> Neighbours:
        """Training rows most like each row by cosine, best first, shape (n + m, M); -1 for none.

        They are kept in place of the cosines of all pairs. A row is among its own.
        """
        if self.candidates is None:
            return most_alike(self.X, self.n_train)
        position = np.full(len(self.source), -1, np.int32)
        position[self.rows[: self.n_train]] = self.train
        return by_cosine(self.X, position[self.candidates[self.rows]])


def candidates(
    X: Matrix32,
    widths: Sequence[int] = (),
    jobs: int = 1,
    progress: Callable[[float], None] | None = None,
) -> Neighbours:
    """Find for each row the rows that may be among its neighbours in any fold.

    Those most like it where all rows share one scaling: each pair of rows is multiplied once for
    all folds. No label is looked at; the folds order them by their own training rows' scaling.

    Parameters
    ----------
    X : ndarray of float32, shape (N, D)
    widths
        As `SharedFold` takes them.
    jobs : int
        Threads; the result does not depend on it.
    progress
        Called now and then with the share that is done.

    Returns
    -------
    ndarray of int32, shape (N, min(N, `neighbours.KEPT`))
    """
    whole = SharedFold(X, np.arange(len(X)), np.arange(0), widths)
    with threadpool_limits(1):
        return most_alike(whole.X, len(X), jobs, progress=progress)
