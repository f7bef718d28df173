"""Metrics of many resamples at once: sorted and summed once, and equal to the plain definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from cxrfeat.evaluation.statistics.metrics import METRICS, Weights, all_scores
from cxrfeat.evaluation.statistics.metrics.curve_areas import (
    Ranked,
    per_class_auprc,
    per_class_auroc,
)
from cxrfeat.evaluation.statistics.patient_bootstrap import PatientResamples
from cxrfeat.evaluation.statistics.patient_influence import TestPatients, placements
from cxrfeat.evaluation.study.folds import Fold

seeds = st.integers(0, 10_000)


def labelled(seed: int, n: int = 40, labels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Truth with unknown entries and a label that is nearly absent; scores with many ties."""
    random = np.random.default_rng(seed)
    truth = (random.random((n, labels)) < [0.4, 0.15, 0.02][:labels]).astype(float)
    truth[random.random((n, labels)) < 0.2] = np.nan
    p = np.round(random.random((n, labels)), int(random.integers(1, 4)))
    p[random.random((n, labels)) < 0.05] = np.nan
    return truth, p


def auroc_of_pairs(truth: np.ndarray, p: np.ndarray, times: np.ndarray) -> float:
    known = np.isfinite(truth) & np.isfinite(p)
    truth, p, times = truth[known], p[known], times[known]
    positive, negative = truth == 1, truth == 0
    won = (p[positive, None] > p[None, negative]) + 0.5 * (p[positive, None] == p[None, negative])
    pairs = times[positive, None] * times[None, negative]
    return float((won * pairs).sum() / pairs.sum()) if pairs.sum() else float("nan")


def mean_precision(truth: np.ndarray, p: np.ndarray, times: np.ndarray) -> float:
    known = np.isfinite(truth) & np.isfinite(p)
    truth, p, times = truth[known], p[known], times[known]
    if not (times[truth == 1].sum() and times[truth == 0].sum()):
        return float("nan")
    found = 0.0
    for row in np.flatnonzero((truth == 1) & (times > 0)):
        called = p >= p[row]
        found += times[row] * times[called & (truth == 1)].sum() / times[called].sum()
    return float(found / times[truth == 1].sum())


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_areas_of_every_resample_are_those_of_all_pairs(seed: int) -> None:
    truth, p = labelled(seed)
    times = np.random.default_rng(seed).integers(0, 3, (4, len(truth))).astype(float)
    for areas, plain in ((per_class_auroc, auroc_of_pairs), (per_class_auprc, mean_precision)):
        found = areas(truth, p, times)
        alone = areas(truth, p)[0]
        for k in range(truth.shape[1]):
            expected = [plain(truth[:, k], p[:, k], of) for of in times]
            np.testing.assert_allclose(found[:, k], expected, rtol=0, atol=1e-12)
            once = plain(truth[:, k], p[:, k], np.ones(len(truth)))
            np.testing.assert_allclose(alone[k], once, rtol=0, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(seeds, st.booleans())
def test_images_drawn_together_score_as_if_each_was_counted_by_itself(
    seed: int, exclusive: bool
) -> None:
    random = np.random.default_rng(seed)
    truth, p = labelled(seed)
    if exclusive:
        truth = np.eye(3)[random.integers(0, 3, len(truth))]
        p[np.isnan(p).any(axis=1)] = np.nan
    unit = random.integers(0, 12, len(truth))
    drawn = random.integers(0, 4, (12, 5)).astype(float)
    for name, metric in METRICS.items():
        together = metric.function(truth, p, Weights(drawn, unit), exclusive, 0.4)
        by_image = metric.function(truth, p, drawn.T[:, unit], exclusive, 0.4)
        np.testing.assert_allclose(together, by_image, rtol=0, atol=1e-12, err_msg=name)


@settings(max_examples=20, deadline=None)
@given(seeds, st.booleans())
def test_all_scores_at_once_are_those_of_each_metric(seed: int, exclusive: bool) -> None:
    truth, p = labelled(seed)
    if exclusive:
        truth = np.eye(3)[np.arange(len(truth)) % 3]
    cuts = np.array([0.3, 0.5, 0.7])
    found = all_scores(truth, p, exclusive, cuts)
    assert list(found) == list(METRICS)
    for name, metric in METRICS.items():
        np.testing.assert_array_equal(found[name], metric(truth, p, exclusive, cuts), err_msg=name)


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_placements_are_differences_of_midranks(seed: int) -> None:
    random = np.random.default_rng(seed)
    score = np.round(random.random(30), int(random.integers(1, 3)))
    positive = np.concatenate([[True, False], random.random(28) < 0.3])
    over_all, share = rankdata(score), placements(positive, score)
    n, m = np.sum(~positive), np.sum(positive)
    np.testing.assert_array_equal(
        share[positive], (over_all[positive] - rankdata(score[positive])) / n
    )
    np.testing.assert_array_equal(
        share[~positive], 1 - (over_all[~positive] - rankdata(score[~positive])) / m
    )


@pytest.mark.parametrize("name", [name for name, one in METRICS.items() if not one.descriptive])
def test_a_drawn_score_is_that_of_the_drawn_patients_images(name: str) -> None:
    """Fold by fold, and a fold that a draw leaves undefined is left out of the draw's mean."""
    truth, p = labelled(3, n=90)
    patients = np.array([f"p{number}" for number in np.arange(90) // 3])
    folds = [
        Fold("1", 0, np.arange(45, 90), np.arange(45)),
        Fold("2", 0, np.arange(45), np.arange(45, 90)),
    ]
    resamples = PatientResamples(90, patients, resamples=6, seed=1)
    found = resamples.scores(METRICS[name], truth, folds, [p[:45], p[45:]], False)
    for drawn, score in zip(resamples.drawn, found, strict=True):
        of_folds = []
        for fold in folds:
            rows = fold.test[np.repeat(np.arange(45), drawn[resamples.patient[fold.test]])]
            of_folds.append(METRICS[name](truth[rows], p[rows], False))
        assert score == pytest.approx(np.nanmean(of_folds), abs=1e-12)


@pytest.mark.parametrize("name", ["auprc", "f1", "brier"])
def test_a_blocks_contribution_is_what_its_images_change(name: str) -> None:
    truth, p = labelled(4, n=60)
    fold = Fold("1", 0, np.arange(0), np.arange(60))
    patients = np.arange(60) // 2
    tested = TestPatients([fold], patients.astype(str))
    found = tested.contributions(METRICS[name], truth, [p], False)
    unit = np.unique(patients.astype(str), return_inverse=True)[1]
    without = np.array(
        [METRICS[name](truth[unit != one], p[unit != one], False) for one in range(30)]
    )
    expected = np.sqrt(29 / 30) * (without.mean() - without)
    order = np.argsort(tested._block)  # blocks of one patient each, numbered by lot
    np.testing.assert_allclose(found, expected[order], rtol=0, atol=1e-12)


def test_the_images_of_a_class_lie_in_a_segment_for_each_score_that_positives_have() -> None:
    truth = np.array([1.0, 0, 0, 0, 1, np.nan, 0, 1])
    score = np.array([0.5, 0.1, 0.5, 0.6, 0.9, 0.5, 0.9, 0.9])
    ranked = Ranked.by(truth, score)
    assert ranked.steps == 2
    assert ranked.step.tolist() == [0, 1, 1]
    assert dict(zip(ranked.negatives.tolist(), ranked.segment.tolist(), strict=True)) == {
        1: 0, 2: 1, 3: 2, 6: 3,
    }  # fmt: skip
