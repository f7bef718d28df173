"""A head as one linear function: equal to what the head itself decides, or not claimed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.dummy import DummyClassifier
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, Normalizer, StandardScaler
from sklearn.svm import SVC, LinearSVC

from cxrfeat.errors import InputError
from cxrfeat.estimators import BlockScaler, Calibrated, PerLabel
from cxrfeat.evaluation.final_model.linear_form import collapse, score_of
from cxrfeat.evaluation.final_model.refit import refit
from cxrfeat.evaluation.heads.registry import HEADS
from cxrfeat.evaluation.statistics.metrics import metric
from cxrfeat.evaluation.validation.tuning import Plan
from tests.evaluation.made import blobs

D = 12
AFFINE = {
    "none": (),
    "pca": (StandardScaler(), PCA(5)),
    "whitened": (StandardScaler(), PCA(5, whiten=True)),
    "blocks": (StandardScaler(), BlockScaler([4, 8])),
    "range": (MinMaxScaler(), "passthrough"),
    "selected": (SelectKBest(k=6),),
    "nested": (make_pipeline(StandardScaler(), PCA(6)), MinMaxScaler()),
}


def decisions(estimator: Any, X: np.ndarray) -> np.ndarray:
    score = estimator.decision_function(X)
    return np.stack([-score, score], axis=1) if score.ndim == 1 else score


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("steps", AFFINE)
@pytest.mark.parametrize("head", ["logreg", "linear_svm", "lda", "ridge"])
def test_the_linear_function_equals_the_decision(head: str, steps: str, classes: int) -> None:
    X, y = blobs(80, D, distance=3, n_classes=classes)
    last = (
        RidgeClassifier() if head == "ridge" else HEADS[head].estimator(HEADS[head].grid[2], 80, 0)
    )
    estimator = make_pipeline(*(clone(s) if s != "passthrough" else s for s in AFFINE[steps]), last)
    estimator.fit(X, y)
    found = collapse(estimator, D)
    assert found is not None
    new, _ = blobs(20, D, distance=3, n_classes=classes, seed=1)
    ours = new.astype(np.float64) @ found.weights + found.shift + found.intercept
    assert ours.shape == (20, classes)
    own = np.ravel((last if head == "ridge" else last[-1]).intercept_)
    np.testing.assert_allclose(found.intercept, [-own[0], own[0]] if classes == 2 else own)
    np.testing.assert_allclose(ours, decisions(estimator, new), atol=1e-4)


@pytest.mark.parametrize("calibrate", [None, "sigmoid", "isotonic"])
@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize("head", ["logreg", "linear_svm", "lda"])
@pytest.mark.parametrize("fitted", ["by scikit-learn", "as many rows are"])
def test_the_decision_below_a_calibration_and_of_each_label(
    fitted: str, head: str, exclusive: bool, calibrate: Any
) -> None:
    used = replace(HEADS[head], large=0) if fitted == "as many rows are" else HEADS[head]
    X, y = blobs(90, D, distance=3)
    plan = Plan([used], metric("auroc"), exclusive, 0, calibrate, 0.9)
    estimator, _ = refit(used, X, np.eye(3)[y], None, plan)
    found = collapse(estimator, D)
    assert found is not None
    bare = estimator.estimator  # as `refit` wraps it
    parts = bare.estimators if isinstance(bare, PerLabel) else [bare]
    assert score_of(estimator).calibrated == any(isinstance(p, Calibrated) for p in parts)
    inner = [p.estimator if isinstance(p, Calibrated) else p for p in parts]
    expected = [one.decision_function(X) for one in inner]
    expected = expected[0] if exclusive else np.stack(expected, axis=1)
    ours = X.astype(np.float64) @ found.weights + found.shift + found.intercept
    np.testing.assert_allclose(ours, expected, atol=1e-4)


class Curved(LogisticRegression):
    """Derived from a linear classifier, but not linear."""

    def decision_function(self, X: Any) -> Any:
        return super().decision_function(X) ** 2


@pytest.mark.parametrize(
    "estimator",
    [
        make_pipeline(Normalizer(), LogisticRegression()),
        make_pipeline(MinMaxScaler(clip=True), LogisticRegression()),
        make_pipeline(StandardScaler(), SVC()),
        Curved(max_iter=1000),
        *(HEADS[name].estimator(HEADS[name].grid[0], 60, 0) for name in ("knn", "xgboost")),
    ],
    ids=["normalised", "clipped", "rbf", "derived", "knn", "xgboost"],
)
def test_what_is_not_linear_is_not_called_linear(estimator: Any) -> None:
    X, y = blobs(60, D, distance=3)
    assert collapse(estimator.fit(X, y), D) is None


def test_the_score_of_a_head_without_decisions_is_its_probability() -> None:
    X, y = blobs(60, D, distance=3)
    forest = HEADS["knn"].estimator(HEADS["knn"].grid[0], 60, 0).fit(X, y)
    score = score_of(forest)
    assert score.what == "probability"
    np.testing.assert_array_equal(score.of(X), forest.predict_proba(X))
    machine = Calibrated(LinearSVC().fit(X, y), "decisions", "sigmoid", np.array([1.0, 0, 0, 0]))
    assert score_of(machine).what == "decision function"


def test_a_head_that_does_not_look_cannot_be_explained() -> None:
    X, y = blobs(60, D, distance=3)
    with pytest.raises(InputError, match="nothing to explain"):
        score_of(DummyClassifier().fit(X, y))
