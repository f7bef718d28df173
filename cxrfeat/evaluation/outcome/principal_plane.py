"""Embeddings on a plane, for looking at: no score is made of it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA


def principal_plane(
    X: npt.NDArray[np.float32], seed: int = 0
) -> tuple[npt.NDArray[np.float64], tuple[float, float]]:
    """Project embeddings on their first two principal components, every dimension scaled alike.

    Parameters
    ----------
    X : ndarray of float32, shape (n, D)
    seed : int
        Of the randomised decomposition that large matrices get.

    Returns
    -------
    plane : ndarray of float64, shape (n, 2)
    shares : tuple of two floats
        Of the variance that each component explains.
    """
    X = X.astype(np.float64)
    spread = X.std(axis=0)
    moving = spread > 0
    scaled = (X[:, moving] - X[:, moving].mean(axis=0)) / spread[moving]
    plane, shares = np.zeros((len(X), 2)), [0.0, 0.0]
    components = min(2, *scaled.shape)
    if components:
        pca = PCA(n_components=components, random_state=seed)
        plane[:, :components] = pca.fit_transform(scaled)
        shares[:components] = pca.explained_variance_ratio_.tolist()
    return plane, (shares[0], shares[1])
