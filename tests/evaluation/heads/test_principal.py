"""Heads on principal components: ``pca+NAME``."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from cxrfeat import estimators
from cxrfeat.errors import UnknownNameError
from cxrfeat.estimators import PrincipalComponents
from cxrfeat.evaluation.final_model.linear_form import collapse
from cxrfeat.evaluation.final_model.refit import refit
from cxrfeat.evaluation.heads.registry import find_heads, for_size, weighted
from cxrfeat.evaluation.heads.task import Labels
from cxrfeat.evaluation.statistics.metrics import METRICS
from cxrfeat.evaluation.validation import cost
from cxrfeat.evaluation.validation.tuning import Plan
from tests.evaluation.made import blobs, first_rows


@pytest.mark.parametrize("shape", [(200, 30), (40, 300)], ids=["more rows", "more columns"])
def test_the_directions_are_those_of_scikit_learn(shape: tuple[int, int]) -> None:
    X = blobs(*shape, distance=3)[0]
    ours = PrincipalComponents(5).fit(X)
    theirs = PCA(5, svd_solver="full").fit(X.astype(np.float64))
    same = np.abs(np.sum(ours.components_ * theirs.components_, axis=1))
    np.testing.assert_allclose(same, 1, atol=1e-6)
    np.testing.assert_allclose(
        np.abs(ours.transform(X)), np.abs(theirs.transform(X)), rtol=1e-3, atol=1e-3
    )


def test_very_many_rows_and_columns_are_decomposed_at_random_and_alike(monkeypatch) -> None:
    X = blobs(200, 60, distance=9)[0]
    exact = PrincipalComponents(2).fit(X).transform(X)
    monkeypatch.setattr(estimators.PrincipalComponents, "WIDE", 50)
    np.testing.assert_allclose(PrincipalComponents(2).fit(X).transform(X), exact, rtol=0.02, atol=1)


def test_there_are_fewer_components_where_there_are_fewer_rows_or_none_to_tell_apart() -> None:
    assert PrincipalComponents(64).fit(blobs(10, 30, distance=1)[0]).components_.shape == (9, 30)
    same = PrincipalComponents(3).fit(np.ones((4, 3), np.float32))
    assert np.isfinite(same.transform(np.ones((1, 3), np.float32))).all()


def test_the_decomposition_sees_the_rows_to_fit_on_alone_inside_the_inner_folds_too(
    monkeypatch,
) -> None:
    X, y = blobs(90, 20, distance=2)
    fold, seen = first_rows(X, 60), []
    fit = PrincipalComponents.fit
    monkeypatch.setattr(
        PrincipalComponents, "fit", lambda self, X, y=None: (seen.append(X), fit(self, X))[1]
    )
    (head,) = find_heads(["pca5+logreg"])
    pairs = [(np.arange(0, 40), np.arange(40, 60)), (np.arange(20, 60), np.arange(0, 20))]
    labels = Labels(np.eye(3)[y[:60]] + np.where(np.arange(60) < 5, np.nan, 0)[:, None])
    head.path(fold, labels, pairs, [head.grid] * 3, 0)
    assert [len(rows) for rows in seen] == [40, 40]  # once for all labels
    for rows, (rows_to_fit, _) in zip(seen, pairs, strict=True):
        np.testing.assert_array_equal(rows, fold.X[rows_to_fit])


@pytest.mark.parametrize("name", ["pca5+logreg", "pca5+sklearn.svm:LinearSVC"])
@pytest.mark.parametrize("large", [False, True])
def test_what_is_saved_is_what_was_scored_where_labels_are_unknown(name: str, large: bool) -> None:
    X, y = blobs(120, 20, distance=3)
    labels = np.eye(3)[y]
    labels[np.random.default_rng(0).random(labels.shape) < 0.3] = np.nan
    (head,) = find_heads([name])
    head = replace(head, grid=head.grid[-1:], large=0 if large else head.large)
    fold = first_rows(X, 120)
    (scores,) = head.path(
        fold, Labels(labels.astype(np.float32)), [(fold.train, fold.train)], [head.grid] * 3, 0
    )
    plan = Plan([head], METRICS["auroc"], exclusive=False)
    saved, _ = refit(head, X, labels, None, plan)
    ours = saved.predict_proba(X)
    for label in range(3):  # calibrated or not, images stand in the same order
        order = np.argsort(scores[0][:, label])
        assert np.all(np.diff(ours[order, label]) > -2e-3)


def test_the_saved_head_is_one_linear_function_for_exact_maps() -> None:
    X, y = blobs(90, 20, distance=3)
    (head,) = find_heads(["pca5+logreg"])
    saved, _ = refit(head, X, np.eye(3)[y], None, Plan([head], METRICS["auroc"]))
    linear = collapse(saved, 20)
    assert linear is not None
    theirs = saved.estimator.decision_function(X.astype(np.float64))
    np.testing.assert_allclose(
        X @ linear.weights + linear.shift + linear.intercept, theirs, atol=1e-6
    )


def test_names_settings_size_and_cost_go_with_the_head_behind() -> None:
    (head,) = find_heads(["pca100+svm_rbf"])
    assert "on the 100 largest principal components" in head.what
    assert {setting["n_components"] for setting in head.grid} == {100}
    (small,), notes = for_size([head], 7000)
    assert small.name == "pca100+svm_rbf_nystroem"
    assert notes[0].startswith("pca100+svm_rbf: on the 100 largest principal components")
    (weighing,), _ = weighted(find_heads(["pca+logreg"]), "balanced")
    assert weighing.grid[0] == {"n_components": 64, "C": 1e-4, "class_weight": "balanced"}
    size = cost.Size(20_000, 200, 512, 14, fits=11, scans=3)
    behind = cost.seconds("xgboost", replace(size, dimensions=64))
    assert behind < cost.seconds("pca+xgboost", size) < cost.seconds("xgboost", size)
    for wrong in ("pca+dummy", "pca+logrek", "pca+"):
        with pytest.raises(UnknownNameError, match="pca"):
            find_heads([wrong])


def test_channels_are_scaled_before_they_are_decomposed() -> None:
    X, _ = blobs(60, 6, distance=1)
    X[:, 0] *= 1e6
    (head,) = find_heads(["pca2+logreg"])
    estimator = head.estimator(head.grid[0], 60, 0).fit(X, np.arange(60) % 2)
    expected = PCA(2).fit(StandardScaler().fit_transform(X)).components_
    same = np.abs(np.sum(estimator[1].components_ * expected, axis=1))
    np.testing.assert_allclose(same, 1, atol=1e-4)
