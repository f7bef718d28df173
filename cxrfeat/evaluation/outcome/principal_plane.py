"""Embeddings on a plane, for looking at: no score is made of it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA

from cxrfeat.arrays import Matrix, Matrix32

NUMBERS = 1 << 25
"""Of embeddings that the components are computed from: 16,384 images of 2,048 numbers."""


def sampled(n: int, dimension: int, seed: int = 0) -> npt.NDArray[np.intp]:
    """Draw the images whose embeddings decide the components: all, where they are not too many.

    Returns
    -------
    ndarray of int, shape (m,)
        Rows, counting up.
    """
    most = max(2, NUMBERS // max(1, dimension))
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, most, replace=False))


def principal_plane(
    X: Matrix32, shown: Matrix32, seed: int = 0
) -> tuple[Matrix, tuple[float, float]]:
    """Project embeddings on the first two principal components, every dimension scaled alike.

    Parameters
    ----------
    X : ndarray of float32, shape (n, D)
        Embeddings that decide the components and the scales.
    shown : ndarray of float32, shape (m, D)
        Embeddings that are projected.
    seed : int
        Of the randomised decomposition that large matrices get.

    Returns
    -------
    plane : ndarray of float64, shape (m, 2)
    shares : tuple of two floats
        Of the variance that each component explains.
    """
    scaled = X.astype(np.float64)
    mean, spread = scaled.mean(axis=0), scaled.std(axis=0)
    moving = spread > 0
    if not moving.all():
        scaled = scaled[:, moving]
    mean, spread = mean[moving], spread[moving]
    scaled -= mean
    scaled /= spread
    plane, shares = np.zeros((len(shown), 2)), [0.0, 0.0]
    components = min(2, *scaled.shape)
    if components:
        pca = PCA(n_components=components, random_state=seed, copy=False).fit(scaled)
        shares[:components] = pca.explained_variance_ratio_.tolist()
        # In blocks: what is shown may be as much as what decides.
        step = max(1, (NUMBERS >> 3) // len(mean))
        for start in range(0, len(shown), step):
            block = (shown[start : start + step, moving] - mean) / spread
            plane[start : start + step, :components] = pca.transform(block)
    return plane, (shares[0], shares[1])
