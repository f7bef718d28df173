from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from cxrfeat.errors import UnknownNameError
from cxrfeat.evaluation.statistics.metrics import METRICS, metric
from cxrfeat.evaluation.statistics.metrics.calibration_error import per_class_ece, reliability
from cxrfeat.evaluation.statistics.metrics.curve_areas import per_class_auroc
from cxrfeat.evaluation.statistics.metrics.decisions import (
    at_prevalence,
    confusion,
    threshold_at_specificity,
)

seeds = st.integers(0, 10_000)


def predictions(seed: int, n_classes: int, ties: bool) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    y = np.concatenate([np.arange(n_classes), random.integers(0, n_classes, 40)])
    p = random.dirichlet(np.ones(n_classes), len(y))
    if ties:
        p = np.maximum(np.round(p, 1), 0.05)
        p /= p.sum(axis=1, keepdims=True)
        p = np.round(p, 2)
        p[:, 0] += 1 - p.sum(axis=1)
    return y, p


@settings(max_examples=40, deadline=None)
@given(seeds, st.booleans(), st.integers(2, 5))
def test_multi_class_scores_equal_scikit_learns(seed: int, ties: bool, n_classes: int) -> None:
    y, p = predictions(seed, n_classes, ties)
    truth = np.eye(n_classes)[y]
    called, labels = p.argmax(axis=1), range(n_classes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = {
            "auroc": np.mean([reference.roc_auc_score(y == k, p[:, k]) for k in labels]),
            "auprc": np.mean([reference.average_precision_score(y == k, p[:, k]) for k in labels]),
            "accuracy": reference.accuracy_score(y, called),
            "balanced_accuracy": reference.balanced_accuracy_score(y, called),
            "f1": reference.f1_score(y, called, average="macro", labels=labels),
            "mcc": reference.matthews_corrcoef(y, called),
            "sensitivity": reference.recall_score(y, called, average="macro"),
            "ppv": reference.precision_score(y, called, average="macro", zero_division=0),
            "specificity": np.mean(
                [reference.recall_score(y != k, called != k, zero_division=0) for k in labels]
            ),
            "npv": np.mean(
                [reference.precision_score(y != k, called != k, zero_division=0) for k in labels]
            ),
            "log_loss": reference.log_loss(y, p, labels=labels),
            "brier": np.mean(np.sum((p - truth) ** 2, axis=1)),
        }
    for name, value in expected.items():
        assert METRICS[name](truth, p, True) == pytest.approx(value, abs=1e-9), name


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_multi_label_scores_equal_scikit_learns_on_the_known_images(seed: int) -> None:
    random = np.random.default_rng(seed)
    truth = (random.random((60, 3)) < 0.4).astype(float)
    truth[:2] = [[0, 0, 0], [1, 1, 1]]
    p = np.round(random.random((60, 3)), 2)
    truth[2:][random.random((58, 3)) < 0.3] = np.nan
    each: dict[str, list[float]] = {name: [] for name in METRICS}
    cuts = np.array([0.5, 0.2, 0.71])
    for t, q, cut in zip(truth.T, p.T, cuts, strict=True):
        known = np.isfinite(t)
        t, q = t[known].astype(int), q[known]
        called = q > cut
        each["auroc"].append(reference.roc_auc_score(t, q))
        each["auprc"].append(reference.average_precision_score(t, q))
        each["accuracy"].append(reference.accuracy_score(t, called))
        each["balanced_accuracy"].append(reference.balanced_accuracy_score(t, called))
        each["f1"].append(reference.f1_score(t, called))
        each["mcc"].append(reference.matthews_corrcoef(t, called))
        each["log_loss"].append(reference.log_loss(t, np.clip(q, 1e-15, 1 - 1e-15)))
        each["brier"].append(reference.brier_score_loss(t, q))
    for name, values in each.items():
        if values:
            found = METRICS[name](truth, p, False, cuts)
            assert found == pytest.approx(np.mean(values), abs=1e-9), name


@settings(max_examples=30, deadline=None)
@given(seeds, st.sampled_from(sorted(METRICS)), st.booleans())
def test_weights_count_an_image_as_often_as_it_is_drawn(
    seed: int, name: str, exclusive: bool
) -> None:
    """The identity that the bootstrap rests on."""
    y, p = predictions(seed, 3, ties=True)
    truth = np.eye(3)[y]
    drawn = np.random.default_rng(seed).integers(0, 4, (5, len(y)))
    weighted = METRICS[name].function(truth, p, drawn.astype(float), exclusive)
    for weights, value in zip(drawn, weighted, strict=True):
        repeated = np.repeat(np.arange(len(y)), weights)
        plain = METRICS[name](truth[repeated], p[repeated], exclusive)
        assert value == pytest.approx(plain, abs=1e-9, nan_ok=True)


def test_a_class_that_is_absent_is_left_out_of_the_mean() -> None:
    truth = np.eye(3)[[0, 0, 1, 1]]
    p = np.array([[0.9, 0.1, 0.0], [0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.1, 0.1, 0.8]])
    assert np.isnan(per_class_auroc(truth, p, np.ones((1, 4)))[0, 2])
    assert METRICS["auroc"](truth, p, True) == pytest.approx((1.0 + 0.75) / 2)
    assert METRICS["balanced_accuracy"](truth, p, True) == pytest.approx(0.75)


def test_one_class_alone_has_no_auroc() -> None:
    assert np.isnan(METRICS["auroc"](np.eye(2)[[0, 0, 0]], np.full((3, 2), 0.5), True))


def test_calibration_error_is_the_gap_in_each_bin_by_hand() -> None:
    truth = np.array([1.0, 0.0, 1.0, 1.0, np.nan])
    p = np.array([0.12, 0.18, 0.95, 1.0, 0.5])
    table = reliability(truth, p)
    assert [(row["low"], row["images"]) for row in table] == [(0.1, 2), (0.9, 2)]
    assert table[0]["predicted"] == pytest.approx(0.15)
    assert table[0]["observed"] == pytest.approx(0.5)
    # Each squared gap less its variance: two images, then each counted four times.
    few, more = (
        per_class_ece(truth[:, None], p[:, None], np.full((1, 5), float(times))) for times in (1, 4)
    )
    assert few[0, 0] == 0  # 0.35^2 - 0.5 * 0.5 / 1 is below
    expected = 0.5 * (0.35**2 - 0.5 * 0.5 / 7) + 0.5 * (0.025**2 - 0)
    assert more[0, 0] == pytest.approx(np.sqrt(expected))


def test_ppv_at_another_prevalence_follows_bayes() -> None:
    ppv, npv = at_prevalence(0.9, 0.8, 0.01)
    assert ppv == pytest.approx(0.009 / (0.009 + 0.198))
    assert npv == pytest.approx(0.792 / (0.792 + 0.001))


@settings(max_examples=40, deadline=None)
@given(seeds, st.floats(0.05, 0.99))
def test_a_threshold_keeps_the_specificity_it_was_chosen_for(seed: int, specificity: float) -> None:
    random = np.random.default_rng(seed)
    truth = (np.arange(50) % 3 == 0).astype(float)
    score = np.round(random.random(50), 1)
    threshold = threshold_at_specificity(truth, score, specificity)
    negatives = score[truth == 0]
    assert np.mean(negatives <= threshold) >= specificity - 1e-9
    below = negatives[negatives < threshold]
    assert len(below) / len(negatives) < specificity


def test_the_confusion_matrix_has_a_row_per_true_class() -> None:
    truth = np.eye(3)[[0, 0, 0, 1, 2]]
    p = np.eye(3)[[0, 0, 1, 1, 1]]
    assert confusion(truth, p).tolist() == [[2, 1, 0], [0, 1, 0], [0, 1, 0]]


def test_an_unknown_metric_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean auroc"):
        metric("aurocc")


@pytest.mark.parametrize("name", METRICS)
def test_what_was_not_predicted_counts_as_unknown(name: str) -> None:
    """A label that one fold could not learn has no probability there."""
    random = np.random.default_rng(0)
    truth = (random.random((40, 3)) < 0.5).astype(float)
    p = random.random((40, 3))
    p[:, 1] = np.nan
    p[:10, 2] = np.nan
    unknown = np.where(np.isnan(p), np.nan, truth)
    expected = METRICS[name](unknown, np.where(np.isnan(p), 0.5, p), False)
    assert np.isfinite(expected)
    assert METRICS[name](truth, p, False) == pytest.approx(expected, abs=1e-12)
    assert np.isnan(METRICS[name](truth[:, 1:2], p[:, 1:2], False))


@pytest.mark.parametrize("name", METRICS)
def test_rows_that_were_not_predicted_are_left_out_among_classes(name: str) -> None:
    y, p = predictions(1, 3, ties=False)
    truth, blank = np.eye(3)[y], p.copy()
    blank[::4] = np.nan
    kept = np.isfinite(blank).all(axis=1)
    expected = METRICS[name](truth[kept], p[kept], True)
    assert METRICS[name](truth, blank, True) == pytest.approx(expected, abs=1e-12)
    assert np.isnan(METRICS[name](truth, np.full_like(p, np.nan), True))


def test_the_reliability_curve_leaves_out_what_was_not_predicted() -> None:
    (row,) = reliability(np.array([1.0, 0.0]), np.array([0.55, np.nan]))
    assert (row["images"], row["observed"]) == (1, 1.0)
