"""Balanced class weights: the same in tuning, scoring and the saved model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC, LinearSVC

from cxrfeat.errors import InputError, UnknownNameError
from cxrfeat.estimators import raw_scores
from cxrfeat.evaluation.final_model.refit import refit
from cxrfeat.evaluation.heads.head import Head
from cxrfeat.evaluation.heads.registry import FLOOR, HEADS, find_heads, weighted
from cxrfeat.evaluation.heads.standardised_fold import SharedFold
from cxrfeat.evaluation.heads.task import Classes
from cxrfeat.evaluation.statistics.metrics import METRICS
from cxrfeat.evaluation.validation.tuning import Plan, score_fold
from tests.evaluation.heads.test_linear_solver import minimised, objective
from tests.evaluation.made import blobs, first_rows

WEIGHING = [name for name, head in HEADS.items() if head.weighs]
TRAIN = 150


def rare(dimension: int, n_classes: int, distance: float = 2) -> tuple[np.ndarray, np.ndarray]:
    """150 training rows and 50 others, of which each class has half of the one before."""
    X, y = blobs(1200, dimension, distance=distance, n_classes=n_classes)
    share = 0.5 ** np.arange(n_classes)
    kept = np.random.default_rng(0).random(len(y)) < share[y]
    return X[kept][:200], y[kept][:200]


def balanced(name: str) -> Head:
    (head,), _ = weighted(find_heads([name]), "balanced")
    return head


def exact(name: str, setting: dict[str, float]) -> object:
    if name == "logreg":
        return LogisticRegression(
            C=setting["C"], tol=1e-10, max_iter=100_000, class_weight="balanced"
        )
    if name == "linear_svm":
        return LinearSVC(
            C=setting["C"], dual=False, tol=1e-10, max_iter=1_000_000, class_weight="balanced"
        )
    if name == "svm_rbf":
        return SVC(C=setting["C"], class_weight="balanced")
    priors = np.full(3, 1 / 3)
    return LinearDiscriminantAnalysis(solver="lsqr", shrinkage=setting["shrinkage"], priors=priors)


def test_the_heads_that_weigh_are_those_whose_loss_can() -> None:
    weighing = ["logreg", "linear_svm", "lda", "svm_rbf", "svm_rbf_nystroem", "xgboost"]
    assert weighing == WEIGHING


@pytest.mark.parametrize("dimension", [20, 300], ids=["more images", "more dimensions"])
@pytest.mark.parametrize("name", ["logreg", "linear_svm", "svm_rbf", "lda"])
def test_scores_are_those_of_scikit_learn_balanced(name: str, dimension: int) -> None:
    X, y = rare(dimension, 3)
    fold, head = first_rows(X, TRAIN), balanced(name)
    (scores,) = head.path(fold, Classes(y[:TRAIN]), [(fold.train, fold.test)], [head.grid], 0)
    for found, setting in zip(scores, head.grid, strict=True):
        fitted = exact(name, setting).fit(fold.X[:TRAIN].astype(float), y[:TRAIN])
        theirs = raw_scores(fitted, head.gives, fold.X[TRAIN:].astype(float))
        # Of classes of unequal size the path of the linear machine is this far off without weights.
        off = 0.015 if name == "linear_svm" else 0.01
        np.testing.assert_allclose(found, theirs, atol=off, err_msg=str(setting))


@pytest.mark.parametrize("n_classes", [2, 3], ids=["two classes", "three classes"])
def test_the_solver_comes_to_the_balanced_objective(
    n_classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y = rare(20, n_classes)
    X, y = X[:TRAIN], y[:TRAIN]
    fold = SharedFold(X, np.arange(len(X)), np.arange(len(X)))
    monkeypatch.setitem(HEADS, "logreg", balanced("logreg"))
    W, _ = minimised("logreg", fold, y, monkeypatch)
    weights = len(y) / (n_classes * np.bincount(y))
    # Each row as often as its weight says, in 720ths: what is left for the plain objective.
    count = np.round(weights[y] * 720 * np.bincount(y).prod() / len(y)).astype(int)
    times = count // np.gcd.reduce(count)
    many, of = np.repeat(fold.X[: len(y)], times, axis=0), np.repeat(y, times)
    for number, setting in enumerate(HEADS["logreg"].grid):
        C = setting["C"] * len(y) / len(of)
        fitted = exact("logreg", setting).fit(fold.X[: len(y)].astype(float), y)
        best = objective("logreg", many, of, np.vstack([fitted.coef_.T, fitted.intercept_]), C)
        ours = objective("logreg", many, of, W[number], C)
        assert -1e-7 < (ours - best) / best < 1e-4, setting


@pytest.mark.parametrize(
    "name", [*WEIGHING, "sklearn.svm:SVC", "sklearn.linear_model:RidgeClassifier"]
)
@pytest.mark.parametrize("exclusive", [True, False], ids=["classes", "labels"])
def test_what_is_saved_is_what_was_scored(name: str, exclusive: bool) -> None:
    X, y = rare(20, 3)
    labels = np.eye(3)[y] if exclusive else np.stack([y == 0, y == 2], axis=1).astype(float)
    plan = Plan([balanced(name)], METRICS["auroc"], exclusive)
    scored = score_fold(first_rows(X, TRAIN), labels[:TRAIN], None, plan)[name]
    estimator, tuned = refit(plan.heads[0], X[:TRAIN], labels[:TRAIN], None, plan)
    assert all(one.setting["class_weight"] == "balanced" for one in tuned)
    assert [one.setting for one in tuned] == [one.setting for one in scored.tuned]
    np.testing.assert_allclose(estimator.predict_proba(X[TRAIN:]), scored.probability, atol=0.01)


@pytest.mark.parametrize("name", ["logreg", "lda", "xgboost"])
def test_a_rare_class_gets_more_than_without(name: str) -> None:
    X, y = rare(20, 3, distance=1)
    fold, labels = first_rows(X, TRAIN), np.eye(3)[y[:TRAIN]]
    plain, more = (
        score_fold(fold, labels, None, Plan([head], METRICS["auroc"]))[name]
        .probability[:, 2]
        .mean()
        for head in (HEADS[name], balanced(name))
    )
    assert more > plain + 0.05
    assert plain == pytest.approx(np.mean(y == 2), abs=0.06)


@pytest.mark.parametrize("name", WEIGHING)
def test_where_classes_are_equally_common_weights_change_nothing(name: str) -> None:
    X, y = blobs(120, 20, distance=2)
    y[:90] = np.arange(90) % 3
    fold = first_rows(X, 90)
    plain, more = (
        head.path(fold, Classes(y[:90]), [(fold.train, fold.test)], [head.grid[2:3]], 0)[0]
        for head in (HEADS[name], balanced(name))
    )
    np.testing.assert_allclose(more, plain, atol=1e-4)


def test_what_cannot_weigh_stays_as_it_is_and_that_is_said() -> None:
    heads, notes = weighted(find_heads(["logreg", "knn", "dummy"]), "balanced")
    assert [head.grid[0].get("class_weight") for head in heads] == ["balanced", None, None]
    (note,) = notes
    assert note.startswith("knn cannot weigh classes")
    assert weighted(find_heads(None), None) == (find_heads(None), [])


@pytest.mark.parametrize(
    ("names", "weight", "error", "message"),
    [
        (["logreg"], "ballanced", UnknownNameError, "did you mean balanced"),
        (["knn", "dummy"], "balanced", InputError, "none of the heads knn, dummy can weigh"),
        (["logreg", "sklearn.naive_bayes:GaussianNB"], "balanced", InputError,
         "'sklearn.naive_bayes:GaussianNB' has no parameter class_weight"),
    ],
)  # fmt: skip
def test_wrong_use_is_one_line_with_the_mend(
    names: list[str], weight: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        weighted(find_heads(names), weight)


def test_a_head_that_says_it_weighs_reads_its_setting() -> None:
    """The contract of an entry: the factory takes the setting that the path takes."""
    for name in WEIGHING:
        head = balanced(name)
        assert all(setting["class_weight"] == "balanced" for setting in head.grid)
        parameters = head.estimator(head.grid[0], 100, 0, (), 3).get_params()
        told = [
            value for key, value in parameters.items() if key.endswith(("class_weight", "priors"))
        ]
        assert any(one is not None for one in told), name
    assert replace(HEADS[FLOOR]).weighs is False
