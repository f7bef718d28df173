"""Intervals of a score: what goes into them, and how often they hold the truth."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrfeat.commands.fit import fit as fit_with_page
from cxrfeat.evaluation.statistics.intervals import Variance, limits, over_patients, over_training
from cxrfeat.evaluation.statistics.metrics import METRICS
from cxrfeat.evaluation.statistics.paired_tests import delong
from cxrfeat.evaluation.statistics.patient_influence import TestPatients
from cxrfeat.evaluation.study.folds import Fold
from tests.benchmark import benchmark
from tests.evaluation.made import blobs, write_file

AUROC = METRICS["auroc"]
fit = partial(fit_with_page, report=False)


def scored(n: int, seed: int, distance: float = 1.2) -> tuple[np.ndarray, np.ndarray]:
    """Truth and probabilities of two classes."""
    random = np.random.default_rng(seed)
    y = np.arange(n) % 2
    p = 1 / (1 + np.exp(-random.normal(size=n) - distance * y))
    return np.eye(2)[y], np.stack([1 - p, p], axis=1)


def whole(n: int) -> Fold:
    return Fold("test", 0, np.arange(0), np.arange(n))


# The test patients' part


def test_contributions_to_an_auroc_have_delongs_variance() -> None:
    truth, p = scored(60, 0)
    macro, classes = TestPatients([whole(60)], None).of_auroc(truth, [p])
    constant = delong(truth[:, 1] == 1, p[:, 1], np.zeros(60))
    for contributions in (macro, classes[:, 1]):
        assert np.sqrt(np.sum(contributions**2)) == pytest.approx(constant.standard_error)


def test_leaving_patients_out_gives_an_accuracy_the_variance_of_a_share() -> None:
    truth, p = scored(150, 1)
    patients = TestPatients([whole(150)], None)
    found = over_patients(patients.contributions(METRICS["accuracy"], truth, [p], True))
    right = METRICS["accuracy"](truth, p, True)
    assert found.value == pytest.approx(right * (1 - right) / 149)


def test_blocks_of_patients_tell_the_same_as_single_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, p = scored(600, 2)
    values = []
    for blocks in (600, 100):
        monkeypatch.setattr("cxrfeat.evaluation.statistics.patient_influence.BLOCKS", blocks)
        contributions = TestPatients([whole(600)], None).contributions(AUROC, truth, [p], True)
        left_out = TestPatients([whole(600)], None)._left_out(AUROC, truth, [p], True, [0.5])
        assert np.sum(left_out**2) == pytest.approx(np.sum(contributions**2), rel=0.3)
        values.append(len(left_out))
    assert values == [600, 100]


@pytest.mark.parametrize("metric", ["auroc", "accuracy"])
def test_images_of_one_patient_count_as_one(metric: str) -> None:
    truth, p = scored(80, 3)
    five = np.repeat(np.arange(80), 5)
    folds = [whole(400)]
    alone = TestPatients(folds, None).contributions(METRICS[metric], truth[five], [p[five]], True)
    together = TestPatients(folds, five.astype(str))
    found = together.contributions(METRICS[metric], truth[five], [p[five]], True)
    assert np.sum(found**2) == pytest.approx(5 * np.sum(alone**2), rel=0.1)


def test_unknown_labels_and_folds_without_a_class_are_left_out() -> None:
    truth, p = scored(80, 4)
    truth = np.stack([truth[:, 1], truth[:, 1]], axis=1)
    p = np.stack([p[:, 1], p[:, 1]], axis=1)
    truth[::3, 1] = np.nan
    truth[:40, 1][truth[:40, 1] == 1] = 0  # the second label is absent from the first fold
    folds = [
        Fold("1", 0, np.arange(40, 80), np.arange(40)),
        Fold("2", 0, np.arange(40), np.arange(40, 80)),
    ]
    patients = TestPatients(folds, None)
    _, classes = patients.of_auroc(truth, [p[:40], p[40:]])
    assert np.all(classes[:40, 1] == 0)
    alone = TestPatients([folds[1]], None).of_auroc(truth, [p[40:]])[1][:, 1]
    np.testing.assert_allclose(classes[40:, 1], alone)
    assert patients.of_rarer_side(truth[:, 1]) == int(np.nansum(truth[:, 1]))


def test_one_positive_patient_shows_no_spread_and_gets_the_widest() -> None:
    truth = np.eye(2)[[1, 0, 0, 0, 0, 0]]
    p = np.array([0.8, 0.1, 0.2, 0.3, 0.4, 0.9])
    _, classes = TestPatients([whole(6)], None).of_auroc(truth, [np.stack([1 - p, p], axis=1)])
    assert abs(classes[0, 1]) == pytest.approx(np.sqrt(0.8 * 0.2))


# The training patients' part


@pytest.mark.parametrize(("mutual", "common"), [(1.0, 0.0), (0.0, 1.0), (0.5, 0.5)])
def test_what_folds_learn_from_each_other_is_recovered(mutual: float, common: float) -> None:
    """Scores that are sums of parts of the folds learned from, whose variances are known."""
    random = np.random.default_rng(0)
    F, found = 5, []
    share = np.full((F, F), 1 / (F - 1))
    for _ in range(3000):
        both = np.triu(random.normal(size=(F, F)), 1)
        part = np.sqrt(mutual) * (both + both.T) + np.sqrt(common) * random.normal(size=F)
        np.fill_diagonal(part, 0)
        scores = part.sum(axis=1) / (F - 1)
        without = (part.sum(axis=1, keepdims=True) - part) / (F - 2)
        np.fill_diagonal(without, np.nan)
        variance = over_training(scores + 0.01, without, share)
        assert variance is not None
        found.append(variance.value)
    # Of the mean over folds: each pair counts twice where it is mutual; tests learn for nobody.
    learned = 2 * F * (F - 1) * mutual / (F * (F - 1)) ** 2 + common / F
    noise_of_tests = F * (F - 1) * mutual / (F * (F - 1)) ** 2
    expected = learned - noise_of_tests
    # Not below 0, so that a part that is small against its noise is taken a little too large.
    assert expected * 0.95 <= np.mean(found) <= expected * 1.25


def test_fewer_than_three_folds_tell_nothing_of_training() -> None:
    assert over_training(np.ones(2), np.ones((2, 2)), np.full((2, 2), 0.5)) is None
    unknown = np.full((5, 5), np.nan)
    assert over_training(np.ones(5), unknown, np.full((5, 5), 0.2)) is None


# From a variance to an interval


def test_an_interval_stays_within_the_range_of_its_metric() -> None:
    wide = Variance(0.01**2, 30)
    low, high = limits(0.99, wide, "auroc", 50)
    assert 0.8 < low < 0.99 < high < 1
    assert limits(0.99, Variance(1.0, 30), "auroc", 50)[1] <= 1
    low, high = limits(-0.95, wide, "mcc", 50)
    assert -1 < low < -0.95 < high
    low, high = limits(0.05, Variance(0.1**2, 30), "log_loss", 50)
    assert 0 < low < 0.05 < high
    middle = limits(0.5, Variance(0.01**2, 1e6), "auroc", 50)
    assert middle == pytest.approx((0.4804, 0.5196), abs=1e-4)


def test_a_perfect_score_is_not_certain() -> None:
    low, high = limits(1.0, Variance(0.0, 30), "auroc", 20)
    assert 0.8 < low < 0.9
    assert high == 1.0
    assert limits(0.0, Variance(0.0, 30), "sensitivity", 20) == pytest.approx((0, 1 - low))
    assert limits(1.0, Variance(0.0, 30), "accuracy", 0) == pytest.approx((0, 1), abs=1e-9)
    assert limits(0.5, Variance(0.0, 30), "auroc", 20) == (0.5, 0.5)
    assert np.isnan(limits(float("nan"), Variance(0.0, 30), "auroc", 20)).all()


def test_a_spread_that_few_patients_tell_near_the_end_does_not_reach_over_the_range() -> None:
    """On the logit scale it was 0.47 to 1: hardly less than perfect was less sure than perfect."""
    low, high = limits(0.9996, Variance(0.00025**2, 1.0), "auroc", 137)
    perfect, _ = limits(1.0, Variance(0.0, 1e6), "auroc", 137)
    assert low == pytest.approx(perfect, abs=0.01)
    assert 0.9996 < high <= 1


@given(st.floats(0, 1), st.floats(0, 0.5), st.floats(1, 1000))
def test_an_interval_holds_its_score_and_grows_with_its_spread(
    value: float, spread: float, degrees: float
) -> None:
    low, high = limits(value, Variance(spread**2, degrees), "auroc", 30)
    assert 0 <= low <= value + 1e-12
    assert value - 1e-12 <= high <= 1
    if 0 < value < 1:
        wider = limits(value, Variance((spread + 0.01) ** 2, degrees), "auroc", 30)
        assert wider[1] - wider[0] >= high - low - 1e-12


# Whole runs


def test_a_run_says_what_its_intervals_are_over(tmp_path: Path) -> None:
    X, y = blobs(90, 12, distance=2)
    patients = {"group": [f"p{i // 2}" for i in range(90)]}
    patients["split"] = ["test" if i // 2 % 3 == 0 else "train" for i in range(90)]
    path = write_file(tmp_path / "a.h5", X, y, meta=patients)
    folds = fit(path, head=["dummy"], out=tmp_path / "folds")
    assert folds.intervals == "over test and training patients"
    for other, options in {"split": {"split": True}, "two": {"cv": 2}}.items():
        found = fit(path, head=["dummy"], out=tmp_path / other, **options)
        assert found.intervals == "over test patients, with the models as they are"
    path = write_file(tmp_path / "b.h5", X, y)
    found = fit(path, head=["dummy"], out=tmp_path / "alone")
    assert found.intervals == "over test and training images"


def test_every_class_has_an_interval_of_its_auroc(tmp_path: Path) -> None:
    X, y = blobs(120, 12, distance=2)
    (report,) = fit(
        write_file(tmp_path / "a.h5", X, y), head=["logreg"], out=tmp_path / "r"
    ).reports
    for entry in report.classes:
        low, high = entry.auroc_interval
        assert 0 < low < entry.auroc < high < 1
    labels = np.stack([y == 0, y == 1], axis=1).astype(float)
    labels[::7, 1] = np.nan
    path = write_file(tmp_path / "b.h5", X, labels, classes=["left", "right"], kind="multilabel")
    (report,) = fit(path, head=["logreg"], out=tmp_path / "m").reports
    for entry in report.classes:
        low, high = entry.auroc_interval
        assert 0 < low < entry.auroc < high < 1


def test_one_of_eleven_extractors_is_better_on_one_test_set(tmp_path: Path) -> None:
    _, y = blobs(400, 1, distance=0)
    split = {"split": ["test" if i % 2 else "train" for i in range(400)]}
    for number in range(11):
        random = np.random.default_rng(number)
        X = random.normal(size=(400, 3)) + (2.0 if number == 0 else 0.5) * np.eye(3)[y]
        write_file(tmp_path / f"e{number}.h5", X.astype(np.float32), y, meta=split)
    found = fit(tmp_path, head=["lda"], split=True, groups="none", out=tmp_path / "run")
    of_best = [pair for pair in found.comparisons if pair.first == "e0"]
    assert len(of_best) == 10
    assert len(found.comparisons) == 55
    assert {pair.verdict for pair in of_best} == {"better"}
    assert min(pair.p for pair in of_best) < 1e-6


# How often it is right


@pytest.mark.slow
@pytest.mark.parametrize("most_images", [1, 3])
def test_an_interval_of_95_percent_covers_95_percent(most_images: int) -> None:
    """100 patients; 500 data sets know a coverage of 0.95 to 0.01 (one standard deviation)."""
    simulation = benchmark("coverage")
    for line in simulation.row(simulation.Scene(100, most_images, 16, 1.4657), 500)[:2]:
        *_, old, tested, new, _ = (float(cell) for cell in line.split("|")[5:-1])
        assert 92.5 <= new <= 98
        assert old < new
        assert tested < new


@pytest.mark.slow
@pytest.mark.parametrize("patients", [50, 300])
def test_without_a_difference_one_test_set_finds_one_in_a_twentieth(patients: int) -> None:
    from cxrfeat.evaluation.statistics.extractor_comparison import _on_one_test_set

    random = np.random.default_rng(patients)
    truth = np.eye(2)[np.arange(patients) % 2]
    tested = TestPatients([whole(patients)], None)
    p = []
    for _ in range(2000):
        shared = random.normal(size=patients) + truth[:, 1]
        found = []
        for _ in range(2):
            score = shared + random.normal(size=patients)
            both = np.stack([-score, score], axis=1)
            found.append((AUROC(truth, both, True), tested.of_auroc(truth, [both])[0]))
        (first, of_first), (second, of_second) = found
        p.append(_on_one_test_set(first - second, of_first - of_second, 0.01)["p"])
    assert 0.035 <= np.mean(np.array(p) < 0.05) <= 0.065
    assert np.mean(np.array(p) < 0.005) <= 0.01
