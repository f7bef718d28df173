from __future__ import annotations

import numpy as np
import pytest

from cxrfeat.evaluation.statistics.metrics import METRICS
from cxrfeat.evaluation.statistics.patient_bootstrap import PatientResamples, interval
from cxrfeat.evaluation.study.folds import Fold

AUROC = METRICS["auroc"]


def halves(n: int) -> list[Fold]:
    rows = np.arange(n)
    return [
        Fold("1", 0, rows[n // 2 :], rows[: n // 2]),
        Fold("2", 0, rows[: n // 2], rows[n // 2 :]),
    ]


def test_all_images_of_a_patient_are_drawn_together_and_patients_with_replacement() -> None:
    groups = np.array(["a", "a", "b", "c", "c", "c"])
    resamples = PatientResamples(6, groups, resamples=500, seed=1)
    weights = resamples.drawn[:, resamples.patient]
    assert np.all(weights[:, 0] == weights[:, 1])
    assert np.all(weights[:, 3] == weights[:, 5])
    assert np.all(resamples.drawn.sum(axis=1) == 3)
    assert resamples.drawn.mean(axis=0) == pytest.approx(np.ones(3), abs=0.15)


def test_a_resampled_score_is_the_mean_over_folds_of_the_repeated_images() -> None:
    random = np.random.default_rng(0)
    truth = np.eye(2)[np.arange(40) % 2]
    p = random.dirichlet([1, 1], 40)
    folds = halves(40)
    resamples = PatientResamples(40, None, resamples=50, seed=2)
    found = resamples.scores(AUROC, truth, folds, [p[fold.test] for fold in folds], True)
    for drawn, value in zip(resamples.drawn, found, strict=True):
        of_folds = []
        for fold in folds:
            rows = np.repeat(fold.test, drawn[fold.test])
            of_folds.append(AUROC(truth[rows], p[rows], True))
        assert value == pytest.approx(np.mean(of_folds), abs=1e-12)


def test_the_interval_is_as_wide_as_scipys_bootstrap() -> None:
    """On a mean, whose bootstrap others also compute."""
    from scipy import stats

    random = np.random.default_rng(3)
    right = random.random(200) < 0.7
    truth, p = np.eye(2)[np.zeros(200, int)], np.eye(2)[(~right).astype(int)]
    fold = Fold("all", 0, np.arange(0), np.arange(200))
    drawn = PatientResamples(200, None, resamples=4000, seed=4).scores(
        METRICS["accuracy"], truth, [fold], [p], True
    )
    expected = stats.bootstrap(
        (right.astype(float),), np.mean, n_resamples=4000, method="percentile", rng=5
    ).confidence_interval
    assert interval(drawn) == pytest.approx(tuple(expected), abs=0.01)


def test_images_of_one_patient_make_the_interval_wider_than_images_alone_would() -> None:
    random = np.random.default_rng(5)
    patient = np.repeat(np.arange(40), 5)
    y = patient % 2
    score = (random.normal(size=40) + np.arange(40) % 2)[patient]
    p = np.stack([-score, score], axis=1)
    fold = Fold("all", 0, np.arange(0), np.arange(200))

    def width(groups: np.ndarray | None) -> float:
        drawn = PatientResamples(200, groups, seed=6).scores(AUROC, np.eye(2)[y], [fold], [p], True)
        low, high = interval(drawn)
        return high - low

    assert width(patient.astype(str)) > 1.7 * width(None)


def test_resamples_without_a_class_are_left_out_and_too_many_of_them_give_no_interval() -> None:
    truth = np.eye(2)[[0, 1, 1]]
    p = np.array([[0.9, 0.1], [0.2, 0.8], [0.1, 0.9]])
    fold = Fold("all", 0, np.arange(0), np.arange(3))
    drawn = PatientResamples(3, None, seed=7).scores(AUROC, truth, [fold], [p], True)
    assert 0.2 < np.isnan(drawn).mean() < 0.5
    assert interval(drawn) == (1.0, 1.0)
    assert np.isnan(interval(np.array([np.nan, np.nan, 1.0]))[0])


def test_small_chunks_give_the_same_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = np.eye(2)[np.arange(40) % 2]
    p = np.random.default_rng(0).dirichlet([1, 1], 40)
    folds = halves(40)

    def scores() -> np.ndarray:
        resamples = PatientResamples(40, None, resamples=70, seed=2)
        return resamples.scores(AUROC, truth, folds, [p[fold.test] for fold in folds], True)

    whole = scores()
    monkeypatch.setattr("cxrfeat.evaluation.statistics.patient_bootstrap.CHUNK", 100)
    np.testing.assert_array_equal(scores(), whole)
