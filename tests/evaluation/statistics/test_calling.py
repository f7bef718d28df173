"""Thresholds of labels, set on held-out training images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, roc_curve

from cxrfeat.evaluation.heads.registry import HEADS
from cxrfeat.evaluation.statistics.calling import NEAR, fallback, threshold, thresholds
from cxrfeat.evaluation.statistics.metrics import METRICS
from cxrfeat.evaluation.validation.problems import of_problem, problems
from cxrfeat.evaluation.validation.tuning import Plan, as_probabilities, score_fold
from tests.evaluation.made import first_rows

seeds = st.integers(0, 10_000)


def scored(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Few positives, scores with ties."""
    random = np.random.default_rng(seed)
    truth = (np.arange(80) < random.integers(2, 20)).astype(float)
    score = np.round(1 / (1 + np.exp(2 - 2 * truth - random.normal(size=80))), 1 + seed % 3)
    return truth, score


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_f1_at_its_threshold_is_near_the_best_there_is(seed: int) -> None:
    truth, score = scored(seed)
    best = max(f1_score(truth, score >= value) for value in np.unique(score))
    cut = threshold("f1", truth, score, 0.9)
    assert f1_score(truth, score > cut) >= NEAR * best - 1e-12


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_youdens_index_at_its_threshold_is_near_the_best_there_is(seed: int) -> None:
    truth, score = scored(seed)
    fpr, tpr, _ = roc_curve(truth, score)
    said = score > threshold("youden", truth, score, 0.9)
    index = np.mean(said[truth == 1]) - np.mean(said[truth == 0])
    assert index >= NEAR * np.max(tpr - fpr) - 1e-12


@settings(max_examples=40, deadline=None)
@given(seeds, st.floats(0.05, 0.99))
def test_a_threshold_keeps_the_specificity_and_calls_all_it_may(
    seed: int, specificity: float
) -> None:
    truth, score = scored(seed)
    cut = threshold("specificity", truth, score, specificity)
    assert np.mean(score[truth == 0] <= cut) >= specificity - 1e-9
    lower = score[score <= cut]
    assert np.mean(score[truth == 0] < lower.max()) < specificity


@pytest.mark.parametrize("rule", ["f1", "youden", "specificity"])
@settings(max_examples=20, deadline=None)
@given(seeds)
def test_thresholds_lie_between_scores_so_that_no_digit_decides(rule: str, seed: int) -> None:
    truth, score = scored(seed)
    cut = threshold(rule, truth, score, 0.9)
    written = np.array([float(f"{value:.6g}") for value in score])
    np.testing.assert_array_equal(score > cut, written > cut)
    assert not np.isin(cut, score[score > 0])


@pytest.mark.parametrize("rule", ["f1", "youden", "specificity"])
def test_calls_do_not_depend_on_the_scale_of_the_scores(rule: str) -> None:
    truth, score = scored(3)
    margins = np.log(score + 0.01) * 7
    np.testing.assert_array_equal(
        score > threshold(rule, truth, score, 0.9), margins > threshold(rule, truth, margins, 0.9)
    )


def test_a_handful_of_positives_gives_a_steady_threshold() -> None:
    """The best of all thresholds jumps about; the middle of those near it does so less."""

    def best(truth: np.ndarray, score: np.ndarray) -> float:
        values = np.unique(score)
        called = score >= values[:, None]
        f1 = 2 * (called * truth).sum(axis=1) / (called.sum(axis=1) + truth.sum())
        return float(values[np.argmax(f1)])

    steady, jumping = [], []
    for seed in range(30):
        random = np.random.default_rng(seed)
        truth = (np.arange(150) < 8).astype(float)
        score = random.normal(size=150) + 1.5 * truth
        steady.append(threshold("f1", truth, score, 0.9))
        jumping.append(best(truth, score))
    assert np.std(steady) < np.std(jumping)


def test_where_nothing_could_be_held_out_or_a_number_was_given_that_holds() -> None:
    assert np.isnan(threshold("f1", np.zeros(5), np.arange(5.0), 0.9))
    truth = np.array([[0, 1], [0, 0], [0, 1]])
    score = np.array([[0.1, 0.8], [0.2, 0.3], [0.4, 0.7]])
    found = thresholds("f1", truth, score, 0.9)
    assert found[0] == fallback("f1") == 0.5
    assert found[1] == pytest.approx(0.5)
    assert thresholds(0.3, truth, score, 0.9).tolist() == [0.3, 0.3]


@pytest.mark.parametrize("name", ["logreg", "linear_svm"])
@pytest.mark.parametrize("rule", ["f1", "youden"])
def test_settings_and_gain_are_judged_at_thresholds_from_the_other_inner_folds(
    name: str, rule: str
) -> None:
    random = np.random.default_rng(0)
    X = random.normal(size=(200, 8)).astype(np.float32)
    labels = (X[:, :1] + X[:, 1:2] + random.normal(size=(200, 1)) > 2).astype(float)
    head, metric, fold = HEADS[name], METRICS["f1"], first_rows(X, 150)
    plan = Plan([head], metric, False, threshold=rule)
    tuned = score_fold(fold, labels[:150], None, plan)[name].tuned[0]
    found = problems(labels[:150], None, False, 0)
    (problem,), pairs = found.each, found.inner
    scores = head.path(fold, found.task, pairs, [head.grid], 0)
    _, scores = of_problem(found, 0, pairs, scores, head.gives)

    def by_hand(place: int, p: list[np.ndarray]) -> float:
        others = [number for number in range(3) if number != place]
        y = np.concatenate([problem.y[pairs[number][1]] for number in others])
        cut = threshold(rule, y, np.concatenate([p[number] for number in others]), 0.9)
        return float(f1_score(problem.y[pairs[place][1]], p[place] > cut))

    for number, row in enumerate(tuned.tried):
        held = [of_pair[number][:, 1] for of_pair in scores]
        assert row["score"] == pytest.approx(np.mean([by_hand(k, held) for k in range(3)]))
    held = [of_pair[head.grid.index(tuned.setting)][:, 1] for of_pair in scores]
    assert tuned.gains.mean() == pytest.approx(np.mean([by_hand(k, held) for k in range(3)]))
    final = [as_probabilities(head, of[head.grid.index(tuned.setting)], tuned.calibration)[:, 1]
             for of in scores]  # fmt: skip
    y = np.concatenate([problem.y[val] for _, val in pairs])
    assert tuned.cuts[0] == pytest.approx(threshold(rule, y, np.concatenate(final), 0.9))


def test_a_head_tuned_on_one_inner_fold_takes_its_thresholds_from_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    random = np.random.default_rng(1)
    X = random.normal(size=(200, 8)).astype(np.float32)
    labels = (X[:, :1] + random.normal(size=(200, 1)) > 1.5).astype(float)
    head, fold = replace(HEADS["lda"], inner=1), first_rows(X, 150)
    monkeypatch.setattr("cxrfeat.evaluation.validation.tuning.LARGE", 50)
    plan = Plan([head], METRICS["f1"], False, threshold="f1")
    tuned = score_fold(fold, labels[:150], None, plan)["lda"].tuned[0]
    found = problems(labels[:150], None, False, 0)
    (problem,), pairs = found.each, found.inner[:2]
    scores = head.path(fold, found.task, pairs, [head.grid], 0)
    _, scores = of_problem(found, 0, pairs, scores, head.gives)
    first, second = (of_pair[head.grid.index(tuned.setting)][:, 1] for of_pair in scores)
    cut = threshold("f1", problem.y[pairs[1][1]], second, 0.9)
    assert tuned.gains[0] == pytest.approx(f1_score(problem.y[pairs[0][1]], first > cut))
