"""The Gaussian kernel machine: exact, and approximated on landmarks above a stated size."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics.pairwise import rbf_kernel

from cxrfeat.estimators import GaussianLandmarks, gaussian_width
from cxrfeat.evaluation.heads import registry
from cxrfeat.evaluation.heads.registry import APPROXIMATE, EXACT, find_heads, for_size, weighted
from tests.evaluation.made import blobs, first_rows


def names(heads: list[registry.Head]) -> list[str]:
    return [head.name for head in heads]


def test_up_to_the_stated_size_every_head_stays_as_it_is() -> None:
    heads = find_heads(None)
    assert for_size(heads, EXACT) == (heads, [])
    assert for_size(find_heads(["lda"]), 10 * EXACT) == (find_heads(["lda"]), [])


def test_above_it_the_machine_is_approximated_and_that_is_said() -> None:
    heads, (note,) = for_size(find_heads(["lda", "svm_rbf", "dummy"]), 89_696)
    assert names(heads) == ["lda", APPROXIMATE, "dummy"]
    assert note == (
        "svm_rbf: 89,696 training images are more than 6,000; it is approximated on 1,024 of them,"
        " drawn at random (svm_rbf_nystroem)"
    )


@pytest.mark.parametrize("asked", [["svm_rbf", APPROXIMATE], [APPROXIMATE, "svm_rbf"]])
def test_the_approximation_is_not_run_twice(asked: list[str]) -> None:
    assert names(for_size(find_heads(asked), EXACT)[0]) == asked
    assert names(for_size(find_heads(asked), EXACT + 1)[0]) == [APPROXIMATE]


def test_the_approximation_weighs_classes_where_the_machine_was_to() -> None:
    heads, _ = weighted(find_heads(["svm_rbf"]), "balanced")
    ((approximate,), _) = for_size(heads, EXACT + 1)
    assert all(setting["class_weight"] == "balanced" for setting in approximate.grid)


def test_with_every_row_a_landmark_the_kernel_is_exact() -> None:
    X, _ = blobs(150, 20, distance=2)
    Z = first_rows(X, 100).X
    features = GaussianLandmarks().fit(Z[:100]).transform(Z)
    kernel = rbf_kernel(Z, Z[:100], gamma=gaussian_width(Z[:100]))
    np.testing.assert_allclose(features @ features[:100].T, kernel, atol=1e-4)


def test_copies_among_the_landmarks_are_no_trouble() -> None:
    X, _ = blobs(60, 20, distance=2)
    Z = np.tile(first_rows(X, 60).X, (3, 1))
    features = GaussianLandmarks().fit(Z).transform(Z)
    assert features.shape[1] <= 60
    kernel = rbf_kernel(Z, Z, gamma=gaussian_width(Z))
    np.testing.assert_allclose(features @ features.T, kernel, atol=1e-3)


def test_landmarks_are_drawn_by_the_seed_among_the_training_rows_alone() -> None:
    X, _ = blobs(150, 20, distance=2)
    fold = first_rows(X, 100)
    one, again, other = (GaussianLandmarks(40, seed).fit(fold.X[:100]) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.landmarks_, again.landmarks_)
    assert not np.array_equal(one.landmarks_, other.landmarks_)
    X[100:] += 1000
    moved = first_rows(X, 100)
    np.testing.assert_array_equal(moved.landmarks(0).landmarks_, fold.landmarks(0).landmarks_)
