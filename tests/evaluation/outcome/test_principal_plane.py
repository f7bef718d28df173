"""The plane of embeddings: from all of few images, from a sample of many."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from cxrfeat.evaluation.outcome.principal_plane import principal_plane, sampled


def made(n: int, dimension: int) -> np.ndarray:
    random = np.random.default_rng(0)
    causes = random.normal(size=(n, 3)) * [5, 3, 1]
    X = causes @ random.normal(size=(3, dimension)) + 0.3 * random.normal(size=(n, dimension))
    X[:, 0] = 7  # never moves
    return (X * np.exp(random.normal(size=dimension))).astype(np.float32)


def test_it_is_the_principal_components_of_the_scaled_embeddings() -> None:
    X = made(60, 20)
    plane, shares = principal_plane(X, X[:7])
    scaled = (X - X.mean(axis=0, dtype=float))[:, 1:] / X.std(axis=0, dtype=float)[1:]
    pca = PCA(2).fit(scaled)
    np.testing.assert_allclose(np.abs(plane), np.abs(pca.transform(scaled[:7])), rtol=1e-6)
    np.testing.assert_allclose(shares, pca.explained_variance_ratio_)


@pytest.mark.parametrize(("n", "dimension"), [(1, 4), (3, 1), (5, 4)])
def test_few_images_or_numbers_have_a_plane_too(n: int, dimension: int) -> None:
    X = np.arange(n * dimension, dtype=np.float32).reshape(n, dimension)
    plane, shares = principal_plane(X, X)
    assert plane.shape == (n, 2)
    assert np.isfinite(plane).all()
    assert np.isfinite(shares).all()


def test_blocks_do_not_change_it(monkeypatch: pytest.MonkeyPatch) -> None:
    X = made(60, 20)
    whole, _ = principal_plane(X, X)
    monkeypatch.setattr("cxrfeat.evaluation.outcome.principal_plane.NUMBERS", 8 * 20 * 7)
    np.testing.assert_allclose(principal_plane(X, X)[0], whole, rtol=1e-9, atol=1e-9)


def test_of_many_images_a_sample_decides_and_it_is_the_same_every_time() -> None:
    assert sampled(16_384, 2048).tolist() == list(range(16_384))
    rows = sampled(112_120, 2048, seed=3)
    assert len(rows) == 16_384
    assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(rows, sampled(112_120, 2048, seed=3))
    assert len(sampled(112_120, 25_088)) == 1337
