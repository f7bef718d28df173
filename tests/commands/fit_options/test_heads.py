"""Which heads are compared, and what is asked of them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import cxrfeat
from cxrfeat import model
from cxrfeat.errors import InputError
from cxrfeat.tables import read_table
from tests.commands.fit_options.made import N, fit, made
from tests.evaluation.made import blobs, write_file


def test_any_scikit_learn_classifier_goes_by_its_import_path() -> None:
    heads = ["sklearn.naive_bayes:GaussianNB", "sklearn.linear_model:RidgeClassifier", "dummy"]
    result = fit(made(), head=heads)
    assert {score.head for score in result.ranking} == set(heads)
    assert result.ranking[0].mean["auroc"] > 0.9
    saved = model.load(result.run / "model.skops")
    assert saved.head == result.winner["head"]


def test_a_forest_is_saved_and_loaded_too() -> None:
    result = fit(made(), head=["sklearn.ensemble:ExtraTreesClassifier"], cv=2)
    X, _ = blobs(N, 12, distance=4)
    p = model.load(result.run / "model.skops").predict_proba(X)
    np.testing.assert_allclose(p.sum(axis=1), 1)


def test_class_weights_are_in_options_settings_model_and_notes() -> None:
    heads = ["logreg", "knn", "dummy"]
    result = fit(made(), head=heads, class_weight="balanced", cv=3)
    assert result.options["class_weight"] == "balanced"
    of_logreg = next(score for score in result.ranking if score.head == "logreg")
    for fold in of_logreg.folds:
        assert fold["tuned"][0]["setting"]["class_weight"] == "balanced"
    assert [note for note in result.notes if note.startswith("knn cannot weigh classes")]
    alone = fit(made(), head=["logreg"], class_weight="balanced", cv=3)
    (settings,) = model.load(alone.run / "model.skops").training["settings"]
    assert settings["class_weight"] == "balanced"
    table = read_table(alone.run / "checklist.csv")
    row = table["topic"].index("class imbalance")
    assert "weigh balanced in the loss" in table["value"][row]
    assert "no class is resampled or weighted" not in table["value"][row]


def test_a_machine_that_is_approximated_has_another_name_and_a_note(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cxrfeat.evaluation.heads.registry.EXACT", N // 2)
    result = fit(made(), head=["svm_rbf", "dummy"], cv=3)
    assert {score.head for score in result.ranking} == {"svm_rbf_nystroem", "dummy"}
    assert [note for note in result.notes if note.startswith("svm_rbf: ") and "approx" in note]
    assert model.load(result.run / "model.skops").head == "svm_rbf_nystroem"


def test_extractors_can_be_used_side_by_side() -> None:
    X, y = blobs(N, 12, distance=3)
    write_file(Path("left.h5"), X[:, :4], y)
    write_file(Path("right.h5"), X[:, 4:], y)
    result = fit(["left.h5", "right.h5"], head=["logreg"], combine=["left+right"])
    best = result.ranking[0]
    assert best.extractor == "left+right"
    saved = model.load(result.run / "model.skops")
    assert saved.dimension == 12
    assert set(saved.spec["combined"]) == {"left", "right"}
    np.testing.assert_allclose(saved.predict_proba(X).sum(axis=1), 1)


def test_blocks_have_the_same_weight_whatever_their_dimension() -> None:
    from cxrfeat.evaluation.heads.standardised_fold import SharedFold

    X = np.random.default_rng(0).normal(size=(50, 10)).astype(np.float32)
    standardised = SharedFold(X, np.arange(len(X)), np.arange(0), (2, 8)).X
    assert np.sum(standardised[:, :2] ** 2) == pytest.approx(np.sum(standardised[:, 2:] ** 2))


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_calibration_brings_probabilities_closer_to_the_truth(method: str) -> None:
    X, y = blobs(300, 40, distance=2)
    path = write_file(Path("noisy.h5"), X, y)
    head = ["sklearn.naive_bayes:GaussianNB"]
    X[:, 20:] = X[:, :20]  # copies make naive Bayes far too sure
    write_file(path, X, y)
    plain = fit(path, head=head).ranking[0]
    calibrated = fit(path, head=head, calibrate=method).ranking[0]
    assert calibrated.mean["ece"] < plain.mean["ece"] - 0.02
    assert calibrated.mean["brier"] < plain.mean["brier"]


def test_a_metric_where_less_is_better_ranks_and_compares_the_right_way_round() -> None:
    X, y = blobs(N, 12, distance=4)
    noise = np.random.default_rng(0).normal(size=X.shape).astype(np.float32)
    write_file(Path("good.h5"), X, y)
    write_file(Path("poor.h5"), X + 8 * noise, y)
    result = fit(["good.h5", "poor.h5"], head=["logreg", "linear_svm", "dummy"], metric="brier")
    assert result.ranking[0].extractor == "good"
    assert result.winner["extractor"] == "good"
    pair = result.comparisons[0]
    assert (pair.first, pair.second) == ("good", "poor")
    assert pair.difference > 0


def test_a_head_on_principal_components_is_scored_saved_and_predicts_again() -> None:
    X, y = blobs(N, 12, distance=4)
    result = fit(write_file(Path("good.h5"), X, y), head=["pca5+logreg", "dummy"], cv=3)
    assert result.winner["head"] == "pca5+logreg"
    assert result.winner["settings"][0]["n_components"] == 5
    assert any("pca5+logreg: on the 5 largest principal components" in n for n in result.notes)
    p = model.load(result.run / "model.skops").predict_proba(X)
    assert np.mean(p.argmax(axis=1) == y) > 0.9


HEADS_OF_MY_OWN = """
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

def with_pca():
    return make_pipeline(PCA(3), LogisticRegression())

def broken(n):
    return None

class Mine(ClassifierMixin, BaseEstimator):
    def fit(self, X, y):
        self.inner_ = LogisticRegression().fit(X, y)
        self.classes_ = self.inner_.classes_
        return self
    def predict_proba(self, X):
        return self.inner_.predict_proba(X)
"""


@pytest.fixture
def my_heads(monkeypatch: pytest.MonkeyPatch) -> str:
    Path("heads_of_my_own.py").write_text(HEADS_OF_MY_OWN)
    monkeypatch.syspath_prepend(str(Path.cwd()))
    monkeypatch.delitem(sys.modules, "heads_of_my_own", raising=False)
    return "heads_of_my_own"


def test_a_function_that_returns_a_pipeline_is_a_head(my_heads: str) -> None:
    warned: list[str] = []
    result = fit(made(), head=[f"{my_heads}:with_pca"], cv=3, warn=warned.append)
    assert not warned
    assert model.load(result.run / "model.skops").head == f"{my_heads}:with_pca"
    with pytest.raises(InputError, match="a function that fails without"):
        fit(made(), head=[f"{my_heads}:broken"])


def test_what_cannot_be_saved_is_said_before_the_run_and_by_predict(my_heads: str) -> None:
    warned: list[str] = []
    begun: list[object] = []
    result = fit(
        made(), head=[f"{my_heads}:Mine"], cv=3, warn=warned.append,
        planned=lambda work: begun.append(list(warned)),
    )  # fmt: skip
    (said,) = warned
    assert f"head '{my_heads}:Mine' cannot be saved" in said
    assert f"{my_heads}.Mine" in said
    assert begun == [[said]]
    assert said in result.notes
    with pytest.raises(InputError, match=r"the winner was not saved: .* fit again with heads"):
        cxrfeat.predict(result.run / "model.skops", "good.h5")
    with pytest.raises(InputError, match="is a folder: give the model in it"):
        cxrfeat.predict(result.run, "good.h5")
