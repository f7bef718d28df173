"""Every statistic against an implementation by other people, or by other means."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests

from cxrfeat.evaluation.statistics import paired_tests

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import baycomp
    from MLstatkit import Delong_test

seeds = st.integers(0, 10_000)


def fold_scores(seed: int, folds: int, ties: bool) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    first, second = random.normal(0.8, 0.03, folds), random.normal(0.79, 0.03, folds)
    return (np.round(first, 2), np.round(second, 2)) if ties else (first, second)


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(2, 10), st.integers(1, 3), st.booleans())
def test_bayesian_correlated_t_equals_baycomp(seed: int, cv: int, repeats: int, ties: bool) -> None:
    first, second = fold_scores(seed, cv * repeats, ties)
    expected = baycomp.two_on_single(second, first, rope=0.01, runs=repeats)
    found = paired_tests.bayesian_correlated_t(first - second, 1 / (cv - 1), 0.01)
    assert found == pytest.approx(expected, abs=1e-6)


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_bayesian_correlated_t_with_unequal_folds_equals_integrating_its_posterior(
    seed: int,
) -> None:
    first, second = fold_scores(seed, 5, ties=False)
    train, test = [80, 82, 75, 79, 84], [20, 18, 25, 21, 16]
    d = first - second
    ratio = np.mean([b / a for a, b in zip(train, test, strict=True)])
    scale = np.sqrt((1 / 5 + ratio) * d.var(ddof=1))
    posterior = stats.t(4, loc=d.mean(), scale=scale).pdf
    same = integrate.quad(posterior, -0.01, 0.01, epsabs=1e-10)[0]
    better = integrate.quad(posterior, 0.01, np.inf, epsabs=1e-10)[0]
    found = paired_tests.bayesian_correlated_t(d, paired_tests.size_ratio(train, test), 0.01)
    assert found[1:] == pytest.approx((same, better), abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(seeds, st.integers(2, 12), st.booleans())
def test_without_correction_the_test_is_scipys_paired_t(seed: int, folds: int, ties: bool) -> None:
    first, second = fold_scores(seed, folds, ties)
    if np.allclose(np.std(first - second), 0):
        return
    expected = stats.ttest_rel(first, second)
    found = paired_tests.corrected_t(first - second, ratio=0.0)
    assert (found.t, found.p) == pytest.approx((expected.statistic, expected.pvalue), abs=1e-6)
    low, high = expected.confidence_interval()
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-6)


def test_the_correction_is_nadeau_and_bengios_by_hand_with_unequal_folds() -> None:
    d = np.array([0.02, 0.05, -0.01, 0.03])
    ratio = paired_tests.size_ratio([90, 80, 100, 85], [30, 40, 20, 35])
    assert ratio == pytest.approx((30 / 90 + 40 / 80 + 20 / 100 + 35 / 85) / 4)
    mean = 0.09 / 4
    variance = sum((x - mean) ** 2 for x in d) / 3
    error = ((1 / 4 + ratio) * variance) ** 0.5
    found = paired_tests.corrected_t(d, ratio)
    assert found.standard_error == pytest.approx(error, abs=1e-12)
    assert found.t == pytest.approx(mean / error, abs=1e-12)
    assert found.p == pytest.approx(2 * (1 - stats.t.cdf(mean / error, 3)), abs=1e-9)


def test_the_detectable_difference_is_found_four_times_out_of_five() -> None:
    found = paired_tests.corrected_t(np.array([0.02, 0.05, -0.01, 0.03, 0.0]), 0.25)
    shifted = stats.t(4, loc=found.detectable / found.standard_error)
    assert shifted.sf(stats.t.ppf(0.975, 4)) == pytest.approx(0.8, abs=1e-6)


def test_equal_scores_in_every_fold_are_no_difference() -> None:
    found = paired_tests.corrected_t(np.zeros(5), 0.25)
    assert (found.p, found.low, found.high) == (1.0, 0.0, 0.0)
    assert paired_tests.bayesian_correlated_t(np.zeros(5), 0.25, 0.01) == (0.0, 1.0, 0.0)


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.sampled_from([0.001, 0.01, 0.02, 0.02, 0.04, 0.3, 0.9, 1.0]), min_size=1, max_size=8
    )
)
def test_holm_equals_statsmodels(p: list[float]) -> None:
    expected = multipletests(p, method="holm")[1]
    assert paired_tests.holm(p) == pytest.approx(list(expected), abs=1e-12)


def test_holm_leaves_undefined_tests_out() -> None:
    assert paired_tests.holm([0.02, float("nan"), 0.03]) == pytest.approx(
        [0.04, float("nan"), 0.04], nan_ok=True
    )


@settings(max_examples=30, deadline=None)
@given(seeds, st.booleans())
def test_delong_equals_mlstatkit(seed: int, ties: bool) -> None:
    random = np.random.default_rng(seed)
    y = np.concatenate([[0, 0, 1, 1], random.integers(0, 2, 60)])
    common = random.normal(size=64) + y
    first, second = (common + random.normal(size=64) for _ in range(2))
    if ties:
        first, second = np.round(first), np.round(second)
    found = paired_tests.delong(y == 1, first, second)
    z, p = Delong_test(y, first, second, verbose=0)[:2]
    assert abs(found.z) == pytest.approx(abs(z), abs=1e-6)
    assert found.p == pytest.approx(p, abs=1e-6)


def test_delong_of_equal_scores_is_no_difference() -> None:
    y, score = np.arange(10) % 2 == 0, np.arange(10.0)
    assert paired_tests.delong(y, score, score).p == 1.0


@settings(max_examples=30, deadline=None)
@given(seeds, st.integers(1, 80))
def test_mcnemar_equals_statsmodels(seed: int, n: int) -> None:
    random = np.random.default_rng(seed)
    first, second = random.random(n) < 0.8, random.random(n) < 0.6
    table = [
        [np.sum(first & second), np.sum(first & ~second)],
        [np.sum(~first & second), np.sum(~first & ~second)],
    ]
    expected = statsmodels_mcnemar(table, exact=True).pvalue
    assert paired_tests.mcnemar(first, second) == pytest.approx(expected, abs=1e-9)
