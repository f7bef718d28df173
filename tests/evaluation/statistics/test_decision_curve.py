"""Net benefit, by hand and at its ends."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrfeat.evaluation.statistics.decision_curve import THRESHOLDS, decision_curve, net_benefit

TRUTH = np.array([1.0, 1, 0, 0, 0, 1, 0, 0, 0, 0])
P = np.array([0.9, 0.5, 0.6, 0.4, 0.1, 0.2, 0.2, 0.05, 0.0, 0.3])


def test_net_benefit_by_hand() -> None:
    found = net_benefit(TRUTH, P, np.array([0.2, 0.5, 0.75]))
    # From 0.2: three true calls, four false ones at a quarter each. From 0.5: two true, one false
    # at one each. From 0.75: one true call.
    assert found == pytest.approx([(3 - 4 * 0.25) / 10, (2 - 1) / 10, 1 / 10])


@given(st.integers(0, 1000))
def test_no_call_is_worth_nothing_and_no_model_more_than_the_prevalence(seed: int) -> None:
    random = np.random.default_rng(seed)
    truth = (random.random(50) < 0.3).astype(float)
    assert net_benefit(truth, np.zeros(50)) == pytest.approx(np.zeros(50))
    assert net_benefit(truth, truth) == pytest.approx(np.full(50, truth.mean()))
    p = random.random(50)
    assert (net_benefit(truth, p) <= truth.mean() + 1e-12).all()
    assert net_benefit(truth, p, np.array([1e-9]))[0] == pytest.approx(truth.mean(), abs=1e-8)


def test_calling_all_is_the_prevalence_less_the_odds_of_every_other_image() -> None:
    curve = decision_curve([TRUTH], [P])
    odds = THRESHOLDS / (1 - THRESHOLDS)
    assert curve["treat_all"] == pytest.approx(0.3 - 0.7 * odds, abs=1e-6)
    assert curve["threshold"] == THRESHOLDS.tolist()
    assert len(THRESHOLDS) == 50


def test_repeats_are_averaged_and_unknown_images_left_out() -> None:
    unknown = np.concatenate([TRUTH, [np.nan, 1.0]]), np.concatenate([P, [0.9, np.nan]])
    worse = TRUTH, 1 - P
    curve = decision_curve([unknown[0], worse[0]], [unknown[1], worse[1]])
    each = [net_benefit(TRUTH, P), net_benefit(*worse)]
    assert curve["net_benefit"] == pytest.approx(np.mean(each, axis=0), abs=1e-6)
    assert np.isnan(net_benefit(np.array([np.nan]), np.array([0.5]))).all()
