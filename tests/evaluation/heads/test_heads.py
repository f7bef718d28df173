"""The contract of every head in the registry."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxrfeat import model
from cxrfeat.errors import UnknownNameError
from cxrfeat.estimators import raw_scores
from cxrfeat.evaluation.final_model.refit import refit
from cxrfeat.evaluation.heads.head import Head
from cxrfeat.evaluation.heads.registry import APPROXIMATE, HEADS, find_heads
from cxrfeat.evaluation.heads.standardised_fold import SharedFold
from cxrfeat.evaluation.heads.task import Classes
from cxrfeat.evaluation.statistics.metrics import METRICS
from cxrfeat.evaluation.study.folds import inner_folds
from cxrfeat.evaluation.validation.tuning import Outcome, Plan, gains, score_fold
from cxrfeat.spec import fingerprint
from tests.evaluation.made import blobs, first_rows

ON_COMPONENTS = ["pca+logreg", "pca10+lda", "pca10+svm_rbf", "pca+sklearn.svm:LinearSVC"]
EVERY = [*HEADS.values(), *find_heads(ON_COMPONENTS)]
BUT_TREES = [head for head in EVERY if head.name != "xgboost"]
every_head = pytest.mark.parametrize("head", EVERY, ids=lambda head: head.name)
every_head_but_trees = pytest.mark.parametrize("head", BUT_TREES, ids=lambda head: head.name)


def plan_of(head: Head, **options: Any) -> Plan:
    return Plan([head], METRICS["auroc"], **options)


def one_hot(y: np.ndarray) -> np.ndarray:
    return np.eye(int(y.max()) + 1)[y]


def auroc(y: np.ndarray, p: np.ndarray) -> float:
    return METRICS["auroc"](np.eye(p.shape[1])[y], p, True)


def score(
    head: Head, X: np.ndarray, y: np.ndarray, train: np.ndarray, test: np.ndarray, **options: Any
) -> Outcome:
    fold = SharedFold(X, train, test)
    return score_fold(fold, one_hot(y)[train], None, plan_of(head, **options))[head.name]


@every_head
def test_probabilities_are_a_distribution_over_the_classes(head: Head) -> None:
    X, y = blobs(90, 20, distance=3)
    p = score(head, X, y, np.arange(60), np.arange(60, 90)).probability
    assert p.shape == (30, 3)
    assert np.all(p >= 0)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-6)


@every_head
def test_a_head_finds_classes_that_are_there(head: Head) -> None:
    X, y = blobs(150, 20, distance=5)
    p = score(head, X, y, np.arange(100), np.arange(100, 150)).probability
    expected = 0.5 if head.name == "dummy" else 0.9
    assert auroc(y[100:], p) >= expected


@every_head
def test_the_same_seed_gives_the_same_probabilities(head: Head) -> None:
    X, y = blobs(90, 20, distance=2)
    first, second = (score(head, X, y, np.arange(60), np.arange(60, 90)) for _ in range(2))
    np.testing.assert_array_equal(first.probability, second.probability)
    assert first.tuned[0].setting == second.tuned[0].setting


@every_head
def test_test_rows_change_nothing_about_each_other(head: Head) -> None:
    """Scaling, tuning and calibration see the training rows alone."""
    X, y = blobs(90, 20, distance=2)
    train, test = np.arange(60), np.arange(60, 90)
    honest = score(head, X, y, train, test).probability
    X[61:] *= 1000
    y[61:] = 0
    np.testing.assert_allclose(
        score(head, X, y, train, test).probability[0], honest[0], rtol=1e-4, atol=1e-6
    )


@every_head_but_trees
@pytest.mark.parametrize("dimension", [20, 300], ids=["more images", "more dimensions"])
def test_the_shared_path_scores_as_the_scikit_learn_estimator_does(
    head: Head, dimension: int
) -> None:
    """Trees draw channels, and two draws differ: `test_boosting.py` compares their means."""
    X, y = blobs(240, dimension, distance=3)
    fold = first_rows(X, 160)
    for setting in head.grid:
        (shared,) = head.path(fold, Classes(y[:160]), [(fold.train, fold.test)], [[setting]], 0)
        estimator = head.estimator(setting, 160, 0).fit(X[:160], y[:160])
        reference = raw_scores(estimator, head.gives, X[160:])
        assert auroc(y[160:], shared[0]) == pytest.approx(auroc(y[160:], reference), abs=0.002)


@every_head
def test_two_classes_work_as_three_do(head: Head) -> None:
    X, y = blobs(120, 20, distance=4, n_classes=2)
    p = score(head, X, y, np.arange(80), np.arange(80, 120)).probability
    assert p.shape == (40, 2)
    assert auroc(y[80:], p) >= (0.5 if head.name == "dummy" else 0.85)


@every_head
def test_a_class_that_the_training_rows_lack_gets_probability_zero(head: Head) -> None:
    X, y = blobs(90, 20, distance=3)
    train = np.flatnonzero(y != 1)
    p = score(head, X, y, train, np.flatnonzero(y == 1)).probability
    assert p.shape[1] == 3
    assert np.all(p[:, 1] == 0)


@every_head
def test_settings_are_chosen_by_the_inner_folds_alone(head: Head) -> None:
    X, y = blobs(90, 20, distance=3)
    tuned = score(head, X, y, np.arange(60), np.arange(60, 90)).tuned[0]
    if len(head.grid) == 1:
        assert tuned.setting == head.grid[0]
        return
    assert [{k: v for k, v in row.items() if k != "score"} for row in tuned.tried] == list(
        head.grid
    )
    best = max(round(row["score"], 6) for row in tuned.tried)
    chosen = next(row for row in tuned.tried if round(row["score"], 6) == best)
    assert tuned.setting == {k: v for k, v in chosen.items() if k != "score"}


@pytest.mark.parametrize("name", ["linear_svm", "svm_rbf"])
@pytest.mark.parametrize("metric", ["f1", "mcc", "accuracy", "balanced_accuracy", "sensitivity"])
def test_a_label_is_called_at_margin_zero_while_settings_are_chosen(name: str, metric: str) -> None:
    """Two classes and the second as a label are one problem; its decisions are the same."""
    random = np.random.default_rng(0)
    X = random.normal(size=(120, 8)).astype(np.float32)
    y = (X[:, 0] + X[:, 1] + random.normal(size=120) > 0.5).astype(int)
    head, fold = HEADS[name], first_rows(X, 90)
    label = score_fold(fold, y[:90, None].astype(float), None, Plan([head], METRICS[metric], False))
    pairs = inner_folds(y[:90], None, 0)
    scores = head.path(fold, Classes(y[:90]), pairs, [head.grid], 0)
    for number, row in enumerate(label[name].tuned[0].tried):
        by_hand = [
            METRICS[metric](y[val, None].astype(float), (of[number][:, 1:] > 0) * 1.0, False)
            for (_, val), of in zip(pairs, scores, strict=True)
        ]
        assert row["score"] == pytest.approx(np.mean(by_hand))


@pytest.mark.parametrize("metric", ["log_loss", "brier", "ece"])
def test_where_probabilities_are_needed_decision_scores_are_chosen_by_auroc(metric: str) -> None:
    X, y = blobs(90, 20, distance=2)
    head, fold = HEADS["linear_svm"], first_rows(X, 60)
    found, areas = (
        score_fold(fold, one_hot(y)[:60], None, Plan([head], METRICS[name]))["linear_svm"].tuned[0]
        for name in (metric, "auroc")
    )
    assert found.tried == areas.tried
    assert np.all(
        (found.gains > -1) & (found.gains < 0)
    )  # of calibrated probabilities, turned so that larger is better


@pytest.mark.parametrize("name", ["lda", "linear_svm"])
def test_the_gain_is_of_rows_that_the_calibration_has_not_seen(name: str) -> None:
    """Noise gains nothing: a constant probability of a half has a Brier score of 0.5."""
    gained = []
    for seed in range(10):
        random = np.random.default_rng(seed)
        X = random.normal(size=(91, 5)).astype(np.float32)
        y = random.permutation(np.arange(90) % 2)
        plan = Plan([HEADS[name]], METRICS["brier"], calibrate="isotonic")
        gained.append(gains(score_fold(first_rows(X, 90), one_hot(y), None, plan))[name])
    assert np.mean(gained) < -0.5


def test_heads_are_chosen_by_the_same_inner_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one is tuned on fewer, the gains of others are of those alone; their tuning is not."""
    X, y = blobs(120, 10, distance=1)
    fold, labels = first_rows(X, 90), one_hot(y)[:90]
    alone = score_fold(fold, labels, None, plan_of(HEADS["lda"]))["lda"]
    monkeypatch.setattr("cxrfeat.evaluation.validation.tuning.LARGE", 50)
    both = Plan([HEADS["lda"], HEADS["xgboost"]], METRICS["auroc"])
    beside = score_fold(fold, labels, None, both)
    assert beside["lda"].tuned[0].tried == alone.tuned[0].tried
    (_, val), *_ = inner_folds(y[:90], None, 0)
    for head in both.heads:
        pairs = inner_folds(y[:90], None, 0)[:1]
        (scores,) = head.path(fold, Classes(y[:90]), pairs, [head.grid], 0)
        best = head.grid.index(beside[head.name].tuned[0].setting)
        assert gains(beside)[head.name] == pytest.approx(auroc(y[val], scores[best]))


@every_head
def test_a_training_set_too_small_for_tuning_still_gives_probabilities(head: Head) -> None:
    X, y = blobs(12, 6, distance=8)
    train = np.array([np.flatnonzero(y == k)[0] for k in range(3)])
    outcome = score(head, X, y, train, np.setdiff1d(np.arange(12), train))
    assert outcome.tuned[0].tried == []
    np.testing.assert_allclose(outcome.probability.sum(axis=1), 1, atol=1e-6)


@every_head
def test_a_saved_head_gives_the_same_probabilities_after_loading(
    head: Head, tmp_path: Path
) -> None:
    X, y = blobs(90, 20, distance=3)
    estimator, tuned = refit(head, X, one_hot(y), None, plan_of(head))
    before = model.Model(
        estimator=estimator,
        head=head.name,
        classes=["a", "b", "c"],
        kind="multiclass",
        extractor="made",
        spec={"backbone": "made"},
        fingerprint=fingerprint({"backbone": "made"}),
        dimension=20,
        training={"settings": [one.setting for one in tuned]},
    )
    model.save(tmp_path / "model.skops", before)

    after = model.load(tmp_path / "model.skops")

    np.testing.assert_array_equal(after.predict_proba(X), before.predict_proba(X))
    np.testing.assert_allclose(after.predict_proba(X).sum(axis=1), 1, atol=1e-6)
    assert after.training == before.training
    assert after.versions["scikit-learn"]


@every_head
def test_the_refitted_head_agrees_with_what_was_cross_validated(head: Head) -> None:
    X, y = blobs(240, 20, distance=3)
    estimator, tuned = refit(head, X[:160], one_hot(y[:160]), None, plan_of(head))
    cross_validated = score(head, X, y, np.arange(160), np.arange(160, 240))
    assert tuned[0].setting == cross_validated.tuned[0].setting
    assert auroc(y[160:], estimator.predict_proba(X[160:])) == pytest.approx(
        auroc(y[160:], cross_validated.probability), abs=0.002
    )


IMPORTED = ("sklearn.neighbors:KNeighborsClassifier", "sklearn.svm:SVC")


@pytest.mark.parametrize("name", [*HEADS, *IMPORTED])
@pytest.mark.parametrize("widths", [(), (4, 36)], ids=["one extractor", "combined"])
@pytest.mark.parametrize("calibrate", [None, "sigmoid"])
@pytest.mark.parametrize("labelled", ["classes", "labels", "labels with unknown"])
def test_what_is_saved_is_what_was_scored(
    name: str, widths: tuple[int, ...], calibrate: Any, labelled: str
) -> None:
    """Refitted on a fold's training rows, a head gives the fold's out-of-fold probabilities."""
    X, y = blobs(120, 40, distance=2)
    exclusive = labelled == "classes"
    labels = one_hot(y) if exclusive else np.stack([y == 0, y > 0], axis=1).astype(float)
    if labelled == "labels with unknown":
        # Not any rows: those that lie far out, so that their part in the scaling shows.
        far = np.argsort(-np.abs(X[:90]).sum(axis=1))[:20]
        labels[far, 0] = np.nan
    plan = plan_of(*find_heads([name]), exclusive=exclusive, calibrate=calibrate)
    fold = first_rows(X, 90, widths)
    scored = score_fold(fold, labels[:90], None, plan)[name]
    estimator, tuned = refit(plan.heads[0], X[:90], labels[:90], None, plan, widths)
    assert [one.setting for one in tuned] == [one.setting for one in scored.tuned]
    # Imported heads are scored by the estimator itself; the paths of the others stop before
    # scikit-learn's solvers do. Without the blocks' scaling it is off by 0.5.
    off = 1e-6 if name in IMPORTED else 0.01
    np.testing.assert_allclose(estimator.predict_proba(X[90:]), scored.probability, atol=off)


@pytest.mark.parametrize("name", [name for name, head in HEADS.items() if head.fit_large])
@pytest.mark.parametrize("widths", [(), (4, 36)], ids=["one extractor", "combined"])
@pytest.mark.parametrize("n_train", [90, 30], ids=["more images", "more dimensions"])
@pytest.mark.parametrize("labelled", ["classes", "labels"])
def test_what_is_fitted_on_many_rows_is_what_was_scored(
    name: str,
    widths: tuple[int, ...],
    n_train: int,
    labelled: str,
    tmp_path: Path,
) -> None:
    """The path's own solver fits it: the same numbers, in scikit-learn's estimator, in a file."""
    head = replace(HEADS[name], large=0)
    X, y = blobs(120, 40, distance=2)
    exclusive = labelled == "classes"
    labels = one_hot(y) if exclusive else np.stack([y == 0, y > 0], axis=1).astype(float)
    if not exclusive:
        labels[:5, 0] = np.nan
    plan = plan_of(head, exclusive=exclusive)
    fold = first_rows(X, n_train, widths)
    scored = score_fold(fold, labels[:n_train], None, plan)[name]
    estimator, tuned = refit(plan.heads[0], X[:n_train], labels[:n_train], None, plan, widths)
    assert [one.setting for one in tuned] == [one.setting for one in scored.tuned]
    found = estimator.predict_proba(X[n_train:])
    np.testing.assert_allclose(found, scored.probability, atol=2e-4)
    made = model.Model(
        estimator=estimator,
        head=name,
        classes=["a", "b", "c"][: labels.shape[1]],
        kind="multiclass" if exclusive else "multilabel",
        extractor="made",
        spec={"backbone": "made"},
        fingerprint=fingerprint({"backbone": "made"}),
        dimension=40,
    )
    model.save(tmp_path / "model.skops", made)
    loaded = model.load(tmp_path / "model.skops")
    np.testing.assert_array_equal(loaded.predict_proba(X[n_train:]), found)


def test_a_constant_channel_is_no_trouble() -> None:
    X, y = blobs(90, 20, distance=3)
    X[:, 3] = 7.0
    for head in HEADS.values():
        p = score(head, X, y, np.arange(60), np.arange(60, 90)).probability
        assert np.isfinite(p).all(), head.name


def test_inner_folds_of_copies_never_share_a_patient() -> None:
    groups = np.repeat(np.arange(20).astype(str), 3)
    y = np.repeat(np.arange(20) % 2, 3)
    for fit, val in inner_folds(y, groups, seed=3):
        assert not set(groups[fit]) & set(groups[val])


def test_an_unknown_head_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean logreg"):
        find_heads(["logrek"])


def test_no_names_mean_every_head_that_is_no_approximation_of_another() -> None:
    every = [name for name in HEADS if name != APPROXIMATE]
    assert [head.name for head in find_heads(None)] == every
    assert [head.name for head in find_heads(["lda", "lda"])] == ["lda"]
