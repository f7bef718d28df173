"""Neighbours by cosine: exact, in tiles, and with no matrix of all pairs."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from cxrfeat import model
from cxrfeat.evaluation.final_model.refit import refit
from cxrfeat.evaluation.heads import neighbours
from cxrfeat.evaluation.heads.registry import HEADS
from cxrfeat.evaluation.heads.standardised_fold import SharedFold, candidates
from cxrfeat.evaluation.heads.task import Labels
from cxrfeat.evaluation.statistics.metrics import METRICS
from cxrfeat.evaluation.validation.tuning import Plan
from cxrfeat.spec import fingerprint
from tests.evaluation.made import blobs, first_rows


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "TILE", 64)


def rows(n: int, dimension: int = 12) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, dimension)).astype(np.float32)


def all_pairs(X: np.ndarray, n: int) -> np.ndarray:
    """Rows in order of their cosine, by the matrix of all of them."""
    unit = X.astype(np.float64) / np.linalg.norm(X.astype(np.float64), axis=1, keepdims=True)
    return np.argsort(-(unit @ unit[:n].T), axis=1, kind="stable")


@pytest.mark.parametrize(("n", "total"), [(30, 40), (64, 64), (300, 451)])
def test_neighbours_are_those_of_the_matrix_of_all_pairs(
    n: int, total: int, small_tiles: None
) -> None:
    X = rows(total)
    found = neighbours.most_alike(X, n, kept=40)
    np.testing.assert_array_equal(found, all_pairs(X, n)[:, :40])


def test_neighbours_among_some_rows_are_the_best_of_these(small_tiles: None) -> None:
    X = rows(450)
    among, others = np.arange(3, 300, 2), np.arange(300, 450)
    order = all_pairs(X[[*among, *others]], len(among))[len(among) :, :5]
    found = neighbours.most_alike_among(X, others, among, 5)
    np.testing.assert_array_equal(found, among[order])


def test_neighbours_do_not_depend_on_how_many_tiles_are_worked_on_at_a_time(
    small_tiles: None,
) -> None:
    X = rows(500)
    X[100:] = X[np.random.default_rng(1).integers(0, 100, 400)]  # most of them are copies
    alone, together = (neighbours.most_alike(X, 400, jobs, kept=20) for jobs in (1, 4))
    np.testing.assert_array_equal(alone, together)


def test_of_equally_alike_rows_the_first_ones_are_kept(small_tiles: None) -> None:
    X = np.ones((200, 4), np.float32)
    np.testing.assert_array_equal(
        neighbours.most_alike(X, 150, kept=10), np.tile(np.arange(10), (200, 1))
    )


def test_a_row_of_zeros_is_as_far_from_all(small_tiles: None) -> None:
    X = rows(100)
    X[7] = 0
    found = neighbours.most_alike(X, 100, kept=30)
    np.testing.assert_array_equal(found[7], np.arange(30))
    assert (found >= 0).all()


def test_candidates_are_put_in_the_order_of_the_fold(small_tiles: None) -> None:
    """Test rows that lie far out move the common scaling; the fold's own decides."""
    X = rows(300)
    X[250:, :3] *= 2
    train, test = np.arange(250), np.arange(250, 300)
    alone = SharedFold(X, train, test)
    given = SharedFold(X, train, test, candidates=candidates(X))
    assert not np.array_equal(given.candidates[:250, :20], given.nearest[:250, :20])
    np.testing.assert_array_equal(given.nearest[:, :20], alone.nearest[:, :20])


def unknown_labels(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings with three labels: all known, three of four, and one of thirty."""
    X, y = blobs(n, 20, distance=2)
    values = np.stack([y == 0, y == 1, y == 2], axis=1).astype(np.float32)
    values[::4, 1] = np.nan
    values[np.arange(n) % 30 > 0, 2] = np.nan
    return X, values


def test_the_neighbours_of_a_label_are_those_that_know_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where so few know it that a row's list does not hold enough of them."""
    monkeypatch.setattr(neighbours.most_alike, "__defaults__", (1, 50))
    X, values = unknown_labels(700)
    fold = first_rows(X, 600)
    fit, val = np.arange(0, 500), np.arange(500, 700)
    grid = [{"n_neighbors": 11}, {"n_neighbors": 3}]
    (scores,) = HEADS["knn"].path(fold, Labels(values[:600]), [(fit, val)], [grid] * 3, 0)
    assert fold.nearest.shape[1] == 50
    for label in range(3):
        known = fit[np.isfinite(values[fit, label])]
        for found, setting in zip(scores[:, :, label], grid, strict=True):
            plain = KNeighborsClassifier(setting["n_neighbors"], metric="cosine", algorithm="brute")
            plain.fit(fold.X[known].astype(float), values[known, label])
            np.testing.assert_allclose(found, plain.predict_proba(fold.X[val].astype(float))[:, 1])


def test_neighbours_take_no_matrix_of_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "TILE", 512)
    n = 4000
    X, values = rows(n), (rows(n, 2) > 0).astype(np.float32)
    fold = first_rows(X, n - 1000)
    pairs = [(np.arange(1000), np.arange(1000, 3000)), (fold.train, fold.test)]
    tracemalloc.start()
    try:
        HEADS["knn"].path(fold, Labels(values[: n - 1000]), pairs, [HEADS["knn"].grid] * 2, 0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * n * (n - 1000)


def test_a_model_of_many_labels_holds_its_training_rows_once(tmp_path: Path) -> None:
    head = replace(HEADS["knn"], large=100)
    X, y = blobs(300, 200, distance=2)
    labels = np.stack([y == k % 3 for k in range(6)], axis=1).astype(float)
    plan = Plan([head], METRICS["auroc"], False)
    estimator, _ = refit(head, X, labels, None, plan)
    made = model.Model(
        estimator=estimator,
        head="knn",
        classes=list("abcdef"),
        kind="multilabel",
        extractor="made",
        spec={"backbone": "made"},
        fingerprint=fingerprint({"backbone": "made"}),
        dimension=200,
    )
    before = estimator.predict_proba(X[:5])
    model.save(tmp_path / "model.skops", made)
    assert (tmp_path / "model.skops").stat().st_size < 1.5 * X.nbytes
    np.testing.assert_array_equal(model.load(tmp_path / "model.skops").predict_proba(X[:5]), before)
