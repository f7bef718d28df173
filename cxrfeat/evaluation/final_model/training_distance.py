"""How far an image lies from the training images in the space of their embeddings.

The distance is Mahalanobis' to the nearest class mean, with one covariance within all classes
(Lee et al. 2018). For more dimensions than images a covariance cannot be inverted, so its
smallest eigenvalues are replaced by their mean (Moghaddam and Pentland 1997): what is kept is
few directions (Halko et al. 2011), not a matrix.

The training images' own distances, with which a new one is compared, are cross-fitted: each is
measured from images it is not among, and patients stay together. An image that took part in the
means would look nearer than any new one can. The comparison is then a conformal one (Bates et
al. 2023): of images like the training images, at most the share 1 - q has a quantile above q.

References
----------
Lee K, Lee K, Lee H, Shin J. A simple unified framework for detecting out-of-distribution samples
and adversarial attacks. NeurIPS 2018.
Moghaddam B, Pentland A. Probabilistic visual learning for object representation. IEEE Transactions
on Pattern Analysis and Machine Intelligence 1997;19:696-710.
Halko N, Martinsson PG, Tropp JA. Finding structure with randomness. SIAM Review 2011;53:217-288.
Bates S, Candès E, Lei L, Romano Y, Sesia M. Testing for outliers with conformal p-values. Annals
of Statistics 2023;51:149-178.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils.extmath import randomized_svd

from cxrfeat.arrays import Groups, Matrix, Matrix32, RowNumbers
from cxrfeat.estimators import row_by_row
from cxrfeat.evaluation.study.folds import stratified

DIRECTIONS = 32
FOLDS = 5
FEWEST = 20
"""Training images below which there is no reference: a quantile of so few says nothing."""
UNLIKE = 0.99
"""An image farther from the training images than this share of themselves is unlike them."""
MOST = 20_000
"""Training images that are looked at; of more, patients are drawn at random in each class. A
covariance and 1,000 quantiles are known well from so many, and time and memory stay bounded."""
KEPT = 1000
"""Training distances that are kept; of more images, evenly spaced ones among the sorted."""


@dataclass(frozen=True)
class Reference:
    """What is remembered of the training images to measure others by.

    Attributes
    ----------
    mean, scale : ndarray of float32, shape (D,)
        Of each channel.
    centres : ndarray of float32, shape (K, D)
        Class means of standardised embeddings; one mean for multi-label labels.
    directions : ndarray of float32, shape (r, D)
        Orthonormal directions of the largest variance within classes.
    variances : ndarray of float64, shape (r,)
    rest : float
        Mean variance of all other directions.
    training : ndarray of float64, shape (m,)
        Cross-fitted distances of the training images, sorted.
    """

    mean: Matrix32
    scale: Matrix32
    centres: Matrix32
    directions: Matrix32
    variances: Matrix
    rest: float
    training: Matrix

    def distance(self, X: Matrix32) -> Matrix:
        """Mahalanobis distance to the nearest centre, shape (n,), per root of a dimension.

        About 1 for an image like the training images; the same bits in any company.
        """
        return row_by_row(self._distance, X)

    def quantile(self, distance: Matrix) -> Matrix:
        """Share of the training images that lie nearer, shape (n,), never quite 1.

        One minus the conformal p-value, (1 + number as far or farther) / (m + 1).
        """
        nearer = np.searchsorted(self.training, distance, side="left")
        return np.asarray(nearer / (len(self.training) + 1))

    def unlike(self, distance: Matrix) -> npt.NDArray[np.bool_]:
        """Whether an image is farther than `UNLIKE` of the training images, shape (n,).

        Of fewer than 100 training images: farther than all of them.
        """
        share = min(UNLIKE, (len(self.training) - 0.5) / (len(self.training) + 1))
        return np.asarray(self.quantile(distance) > share)

    def plain(self) -> dict[str, Any]:
        """Return numbers and arrays, for a file."""
        return asdict(self)

    @classmethod
    def from_plain(cls, values: Mapping[str, Any], dimension: int) -> Reference:
        """Make one of what `plain` gave.

        Raises
        ------
        ValueError
            Arrays of other shapes than belong together.
        """
        made = cls(**values)
        r, k = len(made.directions), len(made.centres)
        shapes = (dimension,), (dimension,), (k, dimension), (r, dimension), (r,)
        arrays = made.mean, made.scale, made.centres, made.directions, made.variances
        if not k or tuple(np.shape(array) for array in arrays) != shapes:
            raise ValueError("the reference for distances has other shapes than it should")
        return made

    def _distance(self, X: Matrix32) -> Matrix:
        Z = (X.astype(np.float64) - self.mean) / self.scale
        squared = []
        for centre in self.centres:
            away = Z - centre
            along = away @ self.directions.T.astype(np.float64)
            outside = np.einsum("nd,nd->n", away, away) - np.einsum("nr,nr->n", along, along)
            squared.append(
                np.einsum("nr,r->n", along**2, 1.0 / self.variances)
                + np.maximum(outside, 0.0) / self.rest
            )
        return np.sqrt(np.min(squared, axis=0) / Z.shape[1])


def reference(
    X: Matrix32, classes: npt.NDArray[np.intp], groups: Groups, seed: int
) -> Reference | None:
    """Learn what training images look like.

    Parameters
    ----------
    X : ndarray of float32, shape (n, D)
        Of more than `MOST` images some are drawn, all that a patient has of a class or nearly so.
    classes : ndarray of int, shape (n,)
        The class of each image; all 0 where any number of labels may hold.
    groups : ndarray of str, shape (n,), or None
        Patients.

    Returns
    -------
    Reference or None
        None for fewer than `FEWEST` images, or patients that cannot be divided.
    """
    if len(X) > MOST:
        rows = _drawn(classes, groups, seed)
        X, classes, groups = X[rows], classes[rows], None if groups is None else groups[rows]
    folds = min(FOLDS, len(X) if groups is None else len(np.unique(groups)))
    if len(X) < FEWEST or folds < 2:
        return None
    own = np.zeros(len(X))
    for train, test in stratified(_divisible(classes, folds), groups, folds, seed):
        own[test] = _fitted(X[train], classes[train], seed).distance(X[test])
    own.sort()
    if len(own) > KEPT:
        own = own[np.linspace(0, len(own) - 1, KEPT).round().astype(np.intp)]
    whole = _fitted(X, classes, seed)
    return replace(whole, training=own)


def _drawn(classes: npt.NDArray[np.intp], groups: Groups, seed: int) -> RowNumbers:
    """Draw patients in each class: images in proportion, but of a rare class as many as of any."""
    unit = np.arange(len(classes)) if groups is None else np.unique(groups, return_inverse=True)[1]
    lot = np.random.default_rng(seed).permutation(int(unit.max()) + 1)[unit]
    present, size = np.unique(classes, return_counts=True)
    least = MOST // (2 * len(present))
    share = (MOST - np.minimum(size, least).sum()) / np.maximum(size - least, 0).sum()
    kept = np.minimum(size, least) + (share * np.maximum(size - least, 0)).astype(np.intp)
    drawn = []
    for k, count in zip(present, kept, strict=True):
        rows = np.flatnonzero(classes == k)
        drawn.append(rows[np.argsort(lot[rows], kind="stable")[:count]])
    return np.sort(np.concatenate(drawn))


def _divisible(classes: npt.NDArray[np.intp], folds: int) -> npt.NDArray[np.intp]:
    """Put classes with fewer images than folds into the largest one: strata, not classes."""
    count = np.bincount(classes)
    return np.where(count[classes] < folds, count.argmax(), classes)


def _fitted(X: Matrix32, classes: npt.NDArray[np.intp], seed: int) -> Reference:
    mean = X.mean(axis=0, dtype=np.float64).astype(np.float32)
    spread = X.std(axis=0, dtype=np.float64)
    # A channel that never moved in training must not make every later movement infinite.
    typical = float(np.median(spread[spread > 0])) if (spread > 0).any() else 1.0
    scale = np.maximum(spread, 0.1 * typical).astype(np.float32)
    within = (X - mean) / scale
    centres = []
    for k in np.unique(classes):
        rows = classes == k
        centres.append(within[rows].mean(axis=0, dtype=np.float64).astype(np.float32))
        within[rows] -= centres[-1]
    dimension = within.shape[1]
    degrees = max(len(X) - len(centres), 1)
    total = float(np.einsum("nd,nd->", within, within, dtype=np.float64)) / degrees
    kept = min(DIRECTIONS, max(degrees // 8, 1), dimension - 1)
    variances, directions = np.zeros(0), np.zeros((0, dimension))
    if kept:
        _, values, directions = randomized_svd(within, kept, random_state=seed)
        variances = values.astype(np.float64) ** 2 / degrees
    floor = max(1e-6 * total / dimension, 1e-12)  # images that are all the same do not vary
    rest = (total - float(variances.sum())) / (dimension - kept)
    return Reference(
        mean=mean,
        scale=scale,
        centres=np.stack(centres),
        directions=directions.astype(np.float32),
        variances=np.maximum(variances, floor),
        rest=max(rest, floor),
        training=np.zeros(0),
    )
