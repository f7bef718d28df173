"""The part of an attribute is learned from training rows and taken off all."""

from __future__ import annotations

import numpy as np

from cxrfeat.evaluation.audit.removal import Removed
from cxrfeat.evaluation.study.folds import Fold

FOLD = Fold("fold 1", 0, np.arange(80), np.arange(80, 100))


def test_the_levels_are_as_one_in_the_training_rows_and_test_rows_teach_nothing() -> None:
    random = np.random.default_rng(0)
    X, code = random.normal(size=(100, 6)).astype(np.float32), random.integers(0, 3, 100)
    X += np.eye(3, 6)[code].astype(np.float32) * 5
    left = Removed(X, code, None)(FOLD)
    means = np.stack([left[:80][code[:80] == k].mean(axis=0) for k in range(3)])
    np.testing.assert_allclose(means, np.tile(X[:80].mean(axis=0), (3, 1)), atol=1e-5)
    other = X.copy()
    other[80:] += 100
    np.testing.assert_allclose(Removed(other, code, None)(FOLD)[:80], left[:80], atol=1e-5)
    np.testing.assert_allclose(Removed(other, code, None)(FOLD)[80:], left[80:] + 100, atol=1e-4)


def test_given_the_class_what_the_class_does_to_a_channel_is_kept() -> None:
    random = np.random.default_rng(0)
    y = random.integers(0, 2, 100)
    code = np.where(random.random(100) < 0.8, y, 1 - y)
    X = (3.0 * y[:, None] + 2.0 * code[:, None] + np.zeros((100, 2))).astype(np.float32)
    labels = np.eye(2)[y]
    left = Removed(X, code, labels)(FOLD)
    assert np.ptp(left[y == 0], axis=0).max() < 1e-4
    np.testing.assert_allclose(left[y == 1].mean(axis=0) - left[y == 0].mean(axis=0), 3, atol=1e-4)
    labels[::7] = np.nan
    assert np.isfinite(Removed(X, code, labels)(FOLD)).all()


def test_a_level_that_no_training_row_has_is_left_as_it_is() -> None:
    X = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
    code = np.zeros(100, dtype=int)
    code[90:] = 1
    np.testing.assert_allclose(Removed(X, code, None)(FOLD), X, atol=1e-6)
