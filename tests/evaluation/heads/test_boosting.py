"""Boosted trees: quantised once a fold, a tenth of the channels each, XGBoost's own scores."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xgboost

from cxrfeat.estimators import BoostedTrees
from cxrfeat.evaluation.final_model.refit import refit
from cxrfeat.evaluation.heads.boosting import boosted_trees, boosting_path
from cxrfeat.evaluation.heads.registry import HEADS, weighted
from cxrfeat.evaluation.heads.task import Classes, Labels
from cxrfeat.evaluation.statistics.metrics import METRICS
from cxrfeat.evaluation.study.folds import Fold
from cxrfeat.evaluation.study.study import Extractor
from cxrfeat.evaluation.validation.cross_validation import Common, score_extractor
from cxrfeat.evaluation.validation.side_by_side import in_threads
from cxrfeat.evaluation.validation.tuning import Plan, score_fold
from tests.evaluation.made import blobs, first_rows

TWELVE = {"n_estimators": 12}
XGBOOST = HEADS["xgboost"]


def two_labels(y: np.ndarray) -> np.ndarray:
    return np.stack([y == 0, y > 0], axis=1).astype(np.float32)


def test_a_fold_is_quantised_once_for_all_labels_settings_and_refits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = []
    quantile_matrix = xgboost.QuantileDMatrix

    def counting(data: np.ndarray, **options: object) -> object:
        rows.append(len(data))
        return quantile_matrix(data, **options)

    monkeypatch.setattr(xgboost, "QuantileDMatrix", counting)
    X, y = blobs(90, 20, distance=2)
    part = np.arange(90) % 3
    folds = [
        Fold(str(k), 0, np.flatnonzero(part != k), np.flatnonzero(part == k)) for k in range(3)
    ]
    plan = Plan([XGBOOST], METRICS["auroc"], False)
    common = Common(two_labels(y).astype(float), None, folds, plan)
    score_extractor(common, Extractor("all", X, False, {}, "1"), 0, ["xgboost"])
    # Ten blocks of channels, dealt out in two ways: of the training rows and of the test rows.
    assert rows == [60] * 20 + [30] * 20


@pytest.mark.parametrize(
    ("labelled", "class_weight"),
    [
        ("classes", None),
        ("classes", "balanced"),
        ("two classes", None),
        ("labels with unknown", None),
        ("labels with unknown", "balanced"),
    ],
)
def test_what_is_saved_is_what_was_scored(labelled: str, class_weight: str | None) -> None:
    X, y = blobs(120, 40, distance=2, n_classes=2 if labelled == "two classes" else 3)
    exclusive = "classes" in labelled
    labels = np.eye(y.max() + 1)[y] if exclusive else two_labels(y).astype(float)
    if labelled == "labels with unknown":
        labels[:20, 0] = np.nan
    ((head,), _) = weighted([XGBOOST], class_weight)
    plan = Plan([head], METRICS["auroc"], exclusive)
    scored = score_fold(first_rows(X, 90), labels[:90], None, plan)["xgboost"]
    estimator, tuned = refit(head, X[:90], labels[:90], None, plan)
    assert [one.setting for one in tuned] == [one.setting for one in scored.tuned]
    np.testing.assert_allclose(estimator.predict_proba(X[90:]), scored.probability, atol=1e-6)


@pytest.mark.parametrize(("n_classes", "class_weight"), [(2, None), (3, None), (3, "balanced")])
def test_trees_that_take_turns_score_as_the_estimator_does(
    n_classes: int, class_weight: str | None
) -> None:
    """One deals out channels, the other draws them: for a seed they differ, on average not."""
    setting = {"n_estimators": 50, "class_weight": class_weight}
    in_turns, at_once = [], []
    for seed in range(4):
        X, y = blobs(1400, 60, distance=2, n_classes=n_classes, seed=seed)
        fold, truth = first_rows(X, 600), np.eye(n_classes)[y[600:]]
        pairs = [(fold.train, fold.test)]
        ((p,),) = boosting_path(fold, Classes(y[:600]), pairs, [[setting]], seed)
        in_turns.append(METRICS["auroc"](truth, p, True))
        trees = BoostedTrees(50, seed, class_weight).fit(X[:600], y[:600])
        at_once.append(METRICS["auroc"](truth, trees.predict_proba(X[600:]), True))
    assert np.mean(in_turns) == pytest.approx(np.mean(at_once), abs=0.01)


def test_each_tree_asks_for_a_tenth_of_the_channels_in_turn() -> None:
    X, y = blobs(90, 35, distance=2)
    fold = first_rows(X, 90)
    (trees,) = boosted_trees(fold, Classes(y), [{"n_estimators": 25}], 0)
    model = json.loads(trees.booster_json_)["learner"]["gradient_booster"]["model"]
    assert len(model["trees"]) == 25 * 3
    parts = fold.quantised.channels
    assert max(map(len, parts)) == 4
    for deal in (parts[:10], parts[10:]):
        assert sorted(np.concatenate(deal)) == list(range(35))
    for number, tree in enumerate(model["trees"]):
        split = np.array(tree["left_children"]) != -1
        assert split.any()
        assert set(np.array(tree["split_indices"])[split]) <= set(parts[number // 3 % 20])


def test_classes_of_which_the_rows_to_fit_on_have_one_still_get_probabilities() -> None:
    """As may be in an inner fold that keeps few patients together."""
    X, y = blobs(30, 20, distance=2)
    pairs = [(np.flatnonzero(y == 0), np.flatnonzero(y > 0))]
    ((p,),) = boosting_path(first_rows(X, 30), Classes(y), pairs, [[TWELVE]], 0)
    np.testing.assert_allclose(p, [[1, 0, 0]] * 20, atol=1e-4)


@pytest.mark.parametrize("kind", ["rows left out", "rows that do not know the label"])
def test_rows_that_do_not_count_teach_nothing(kind: str) -> None:
    """Whatever their labels: only the quantiles, which need none, are of all training rows."""
    X, y = blobs(120, 20, distance=2, n_classes=2)
    fold, fit = first_rows(X, 90), np.arange(60)

    def scores(values: np.ndarray, fit: np.ndarray) -> np.ndarray:
        task = Labels(values[:90, None].astype(np.float32))
        (found,) = boosting_path(fold, task, [(fit, fold.test)], [[TWELVE]], 0)
        return found

    honest, otherwise = y.astype(float), y.astype(float)
    if kind == "rows left out":
        otherwise[60:] = 1 - otherwise[60:]
        changed = scores(otherwise, fit)
    else:
        otherwise[60:] = np.nan
        changed = scores(otherwise, fold.train)
    np.testing.assert_array_equal(changed, scores(honest, fit))


@pytest.mark.parametrize(("images", "bins"), [(30, 16), (1600, 32), (4000, 64)])
def test_few_images_have_fewer_quantiles(images: int, bins: int) -> None:
    X = np.random.default_rng(0).normal(size=(images, 1)).astype(np.float32)
    quantised = first_rows(X, images).quantised
    assert quantised.bins == bins
    edges = {int(matrix.get_quantile_cut()[0][-1]) for matrix in quantised.train}
    assert edges == {bins + 1}


def test_held_out_training_rows_are_scored_as_the_saved_model_would() -> None:
    """Their margins are read along the way, and no rows are quantised or predicted for them."""
    X, y = blobs(120, 20, distance=2)
    fold, fit, val = first_rows(X, 120), np.arange(80), np.arange(80, 120)
    settings = [{"n_estimators": rounds} for rounds in (3, 12)]
    values = two_labels(y)
    (found,) = boosting_path(fold, Labels(values), [(fit, val)], [settings] * 2, 0)
    values[val] = np.nan
    for scores, setting in zip(found, settings, strict=True):
        saved = boosted_trees(fold, Labels(values), [setting] * 2, 0)
        expected = np.stack([one.predict_proba(X[val])[:, 1] for one in saved], axis=1)
        np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_training_stops_where_held_out_rows_no_longer_gain() -> None:
    """Nothing is to be learned, so that many rounds only get worse; what comes after stays."""
    random = np.random.default_rng(0)
    X, y = random.normal(size=(300, 20)).astype(np.float32), np.arange(300) % 2
    settings = [{"n_estimators": rounds} for rounds in (10, 60, 100)]
    pairs = [(np.arange(200), np.arange(200, 300))]
    (scores,) = boosting_path(first_rows(X, 300), Classes(y), pairs, [settings], 0)
    assert not np.array_equal(scores[0], scores[1])
    np.testing.assert_array_equal(scores[1], scores[2])


def test_labels_that_are_learned_side_by_side_give_the_same_bits() -> None:
    X, y = blobs(240, 30, distance=1.0)
    labels = np.stack([y == 0, y > 0, np.arange(240) % 7 < 2, X[:, 0] > 0], axis=1).astype(float)
    plan = Plan([XGBOOST], METRICS["auroc"], False)

    def task() -> tuple[np.ndarray, list[str]]:
        fold = first_rows(X, 160)
        scored = score_fold(fold, labels[:160], None, plan)["xgboost"].probability
        saved = boosted_trees(fold, Labels(labels[:160]), [TWELVE] * labels.shape[1], 0)
        return scored, [trees.booster_json_ for trees in saved]

    scored, saved = task()
    for _ in range(5):
        ((_, (beside, saved_beside)),) = in_threads(4)(task, [()])
        np.testing.assert_array_equal(beside, scored)
        assert saved_beside == saved
