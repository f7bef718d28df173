"""Calibration slope and intercept, against statsmodels and known truths."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm

from cxrfeat.evaluation.statistics.recalibration import recalibration


def drawn(n: int, slope: float, intercept: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Truth, and probabilities whose recalibration is known."""
    random = np.random.default_rng(seed)
    x = random.normal(size=n) * 1.5
    truth = (random.random(n) < 1 / (1 + np.exp(-intercept - slope * x))).astype(float)
    return truth, 1 / (1 + np.exp(-x))


def once(truth: np.ndarray, p: np.ndarray, **given: np.ndarray) -> Any:
    nothing = np.zeros(len(truth), dtype=np.intp)
    alone = {"repeat": nothing, "fold": nothing, "patient": np.arange(len(truth))}
    return recalibration(truth, p, **(alone | given))


@pytest.mark.parametrize("slope", [0.3, 1.0, -0.5])
@pytest.mark.parametrize("n", [60, 317])
def test_slope_and_intercept_are_those_of_statsmodels(n: int, slope: float) -> None:
    truth, p = drawn(n, slope, -0.7)
    patient = np.arange(n) // 2
    found = once(truth, p, patient=patient)
    x = np.log(p / (1 - p))
    clusters = {"groups": patient, "use_correction": False}
    line = sm.GLM(truth, sm.add_constant(x), family=sm.families.Binomial()).fit(
        cov_type="cluster", cov_kwds=clusters, tol=1e-12
    )
    level = sm.GLM(truth, np.ones((n, 1)), family=sm.families.Binomial(), offset=x).fit(
        cov_type="cluster", cov_kwds=clusters, tol=1e-12
    )
    groups = len(np.unique(patient))
    for value, limits, fitted, place in (
        (found.slope, found.slope_interval, line, 1),
        (found.intercept, found.intercept_interval, level, 0),
    ):
        assert value == pytest.approx(fitted.params[place], abs=1e-6)
        reach = 1.96 * fitted.bse[place] * np.sqrt(groups / (groups - 1))
        assert limits == pytest.approx((value - reach, value + reach), abs=1e-6)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Calibrated: slope 1 and intercept 0 lie in 95 % of the intervals, patients of two images."""
    held = []
    for seed in range(200):
        random = np.random.default_rng(seed)
        truth, p = (np.repeat(part, 2) for part in drawn(150, 1.0, 0.0, seed))
        order = random.permutation(300)
        patient = np.repeat(np.arange(150), 2)[order]
        found = once(truth[order], p[order], patient=patient)
        held.append(
            (
                found.slope_interval[0] <= 1 <= found.slope_interval[1],
                found.intercept_interval[0] <= 0 <= found.intercept_interval[1],
            )
        )
    assert np.all(np.mean(held, axis=0) > 0.91)  # as single images they would hold it in 83 %


def test_repeats_are_averaged_and_unknown_images_left_out() -> None:
    (first, p), (second, q) = drawn(100, 1.0, 0.0, 1), drawn(100, 0.5, 0.5, 2)
    both = once(
        np.concatenate([first, second, [np.nan, 1.0]]),
        np.concatenate([p, q, [0.5, np.nan]]),
        repeat=np.repeat([0, 1, 1], [100, 100, 2]),
        fold=np.zeros(202, np.intp),
        patient=np.concatenate([np.arange(100), np.arange(102)]),
    )
    each = [once(first, p), once(second, q)]
    assert both.slope == pytest.approx(np.mean([one.slope for one in each]), abs=1e-9)
    assert both.intercept == pytest.approx(np.mean([one.intercept for one in each]), abs=1e-9)


def test_probabilities_that_separate_the_class_have_an_intercept_but_no_slope() -> None:
    truth = np.array([0.0, 0, 0, 1, 1, 1])
    p = np.array([0.1, 0.2, 0.4, 0.4, 0.8, 0.9])
    found = once(truth, p)
    assert np.isnan([found.slope, *found.slope_interval]).all()
    assert np.isfinite([found.intercept, *found.intercept_interval]).all()
    assert np.isfinite(once(truth, p[[0, 1, 3, 2, 5, 4]]).slope) == np.False_
    assert np.isfinite(once(truth, p[[0, 4, 3, 2, 1, 5]]).slope)


def test_a_head_that_says_the_same_of_every_image_of_a_fold_has_no_slope() -> None:
    truth = np.array([0.0, 1, 1, 0, 0, 1])
    fold = np.array([0, 0, 0, 1, 1, 1])
    found = once(truth, np.where(fold == 0, 0.4, 0.6), fold=fold)
    assert np.isnan(found.slope)
    assert found.intercept == pytest.approx(0.0, abs=0.02)


def test_one_class_alone_has_neither() -> None:
    found = once(np.ones(5), np.linspace(0.1, 0.9, 5))
    assert np.isnan([found.slope, found.intercept]).all()


def test_a_probability_of_0_or_1_is_taken_to_be_a_hair_off() -> None:
    truth, p = drawn(80, 1.0, 0.0)
    p[:2] = [0.0, 1.0]
    near = p.copy()
    near[:2] = [1e-8, 1 - 1e-8]
    assert once(truth, p) == once(truth, near)
