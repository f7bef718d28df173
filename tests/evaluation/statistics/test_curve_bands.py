"""Mean curves and their bands, against scikit-learn and against known truth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from cxrfeat.evaluation.statistics.curve_bands import GRID, Band, precision_recall_band, roc_band
from cxrfeat.evaluation.statistics.patient_bootstrap import PatientResamples
from cxrfeat.evaluation.study.folds import Fold


def drawn(
    n: int, folds: int, distance: float, seed: int = 0
) -> tuple[np.ndarray, list[Fold], list[np.ndarray]]:
    random = np.random.default_rng(seed)
    truth = (random.random(n) < 0.3).astype(float)
    score = random.normal(size=n) + distance * truth
    rows = np.array_split(random.permutation(n), folds)
    made = [Fold(f"fold {k}", 0, np.setdiff1d(np.arange(n), test), test) for k, test in
            enumerate(rows)]  # fmt: skip
    return truth, made, [score[test] for test in rows]


def test_a_single_fold_gives_the_curve_of_scikit_learn() -> None:
    truth, folds, scores = drawn(400, 1, 1.5)
    band = roc_band(truth, folds, scores, PatientResamples(400, None, resamples=20))
    fpr, tpr, _ = roc_curve(truth[folds[0].test], scores[0], drop_intermediate=False)
    assert band is not None
    for x, y in zip(band.x, band.y, strict=True):
        # On a vertical step the curve is its upper end; elsewhere, a straight line.
        exact = tpr[fpr == x].max() if (fpr == x).any() else np.interp(x, fpr, tpr)
        assert y == pytest.approx(exact)


def test_precision_is_that_of_the_first_threshold_that_reaches_a_recall() -> None:
    truth, folds, scores = drawn(300, 1, 1.0)
    band = precision_recall_band(truth, folds, scores, PatientResamples(300, None, resamples=20))
    assert band is not None
    order = np.argsort(-scores[0])
    hits = np.cumsum(truth[folds[0].test][order])
    for x, y in zip(band.x[1:], band.y[1:], strict=True):
        needed = int(np.argmax(hits >= x * hits[-1] - 1e-9))
        assert y == pytest.approx(hits[needed] / (needed + 1))


def test_the_area_under_the_mean_curve_is_the_mean_area() -> None:
    truth, folds, scores = drawn(1500, 5, 1.2)
    resamples = PatientResamples(1500, None, resamples=20)
    roc = roc_band(truth, folds, scores, resamples)
    recall = precision_recall_band(truth, folds, scores, resamples)
    assert roc is not None
    assert recall is not None
    pairs = list(zip(folds, scores, strict=True))
    areas = [roc_auc_score(truth[fold.test], score) for fold, score in pairs]
    precisions = [average_precision_score(truth[fold.test], score) for fold, score in pairs]
    assert np.trapezoid(roc.y, GRID) == pytest.approx(np.mean(areas), abs=0.005)
    assert np.trapezoid(recall.y, GRID) == pytest.approx(np.mean(precisions), abs=0.005)


def test_bands_hold_the_curve_and_narrow_with_more_patients() -> None:
    widths = []
    for n in (200, 3200):
        truth, folds, scores = drawn(n, 4, 1.2)
        band = roc_band(truth, folds, scores, PatientResamples(n, None, resamples=400))
        assert band is not None
        assert np.all(band.low <= band.y + 0.02)
        assert np.all(band.high >= band.y - 0.02)
        widths.append(float((band.high - band.low).mean()))
    assert widths[1] == pytest.approx(widths[0] / 4, rel=0.35)


def test_images_of_one_patient_are_drawn_together_and_widen_the_band() -> None:
    truth, folds, scores = drawn(300, 1, 1.2)
    place = np.empty(300, dtype=int)
    place[folds[0].test] = np.arange(300)
    eight = np.repeat(np.arange(300), 8)
    fold = [Fold("all", 0, np.array([], int), np.arange(2400))]
    many = [np.repeat(scores[0], 8)]
    truth = np.repeat(truth[folds[0].test], 8)
    apart = roc_band(truth, fold, many, PatientResamples(2400, None, resamples=300))
    together = roc_band(truth, fold, many, PatientResamples(2400, eight.astype(str), resamples=300))
    assert apart is not None
    assert together is not None
    np.testing.assert_allclose(apart.y, together.y)
    assert (together.high - together.low).mean() > 2 * (apart.high - apart.low).mean()


def test_unknown_labels_are_left_out_and_a_class_without_images_has_no_curve() -> None:
    truth, folds, scores = drawn(300, 3, 1.2)
    known = truth.copy()
    known[::5] = np.nan
    resamples = PatientResamples(300, None, resamples=20)
    band = roc_band(known, folds, scores, resamples)
    assert band is not None
    assert np.isfinite(band.y).all()
    assert roc_band(np.zeros(300), folds, scores, resamples) is None
    assert roc_band(np.full(300, np.nan), folds, scores, resamples) is None


def whole(n: int) -> list[Fold]:
    return [Fold("test", 0, np.arange(0), np.arange(n))]


@pytest.mark.parametrize("band_of", [roc_band, precision_recall_band])
@pytest.mark.parametrize("seed", range(5))
def test_a_drawn_curve_is_that_of_the_drawn_patients_images(
    band_of: Callable[..., Band | None], seed: int
) -> None:
    random = np.random.default_rng(seed)
    truth = np.where(random.random(120) < 0.1, np.nan, random.random(120) < 0.3)
    score = np.round(random.random(120) + 0.3 * np.nan_to_num(truth), 1 + seed % 3)
    patients = np.array([f"p{number}" for number in np.arange(120) // 3])
    resamples = PatientResamples(120, patients, resamples=1, seed=seed)
    found = band_of(truth, whole(120), [score], resamples)
    rows = np.repeat(np.arange(120), resamples.drawn[0, resamples.patient])
    repeated = PatientResamples(len(rows), None, resamples=1)
    expected = band_of(truth[rows], whole(len(rows)), [score[rows]], repeated)
    assert found is not None
    assert expected is not None
    np.testing.assert_allclose(found.low, expected.y, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.high, expected.y, rtol=0, atol=1e-12)
