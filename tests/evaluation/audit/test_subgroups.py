"""Scores and rates of underdiagnosis by the levels of a column."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from cxrfeat.evaluation.audit.predictions import predict
from cxrfeat.evaluation.audit.proportions import share_of, wilson
from cxrfeat.evaluation.audit.subgroups import subgroup_checks
from cxrfeat.evaluation.audit.subject import Subject
from cxrfeat.results.audit import Verdict
from tests.benchmark import benchmark

simulated = benchmark("audit_confounders")
made, value = simulated.made, simulated.value


def blurred(seed: int = 0) -> Subject:
    """The images of half of the patients tell nothing."""
    subject = made(0.0, 0.0, seed=seed, head="lda", images=600, patients=400)
    random = np.random.default_rng(seed)
    patient = np.unique(subject.study.meta["group"], return_inverse=True)[1]
    worse = patient % 2 == 0
    X = subject.study.extractors[0].X.copy()
    X[worse] = random.normal(size=(int(worse.sum()), X.shape[1]))
    study = replace(
        subject.study, extractors=[replace(subject.study.extractors[0], X=X)],
        meta={**subject.study.meta, "sex": np.where(worse, "f", "m")},
    )  # fmt: skip
    return replace(subject, study=study)


def test_a_level_that_scores_lower_is_found_with_its_score() -> None:
    subject = blurred()
    score, missed = subgroup_checks(subject, "made", ["sex"])
    assert (score.code, missed.code) == ("subgroups:sex", "underdiagnosis:sex")
    assert score.verdict is Verdict.FOUND
    rows = {row[0]: row for row in score.tables[0].rows}
    predicted = predict(subject, subject.study.extractors[0].X)
    for sex in ("f", "m"):
        areas = []
        for fold, p in zip(predicted.folds, predicted.probability, strict=True):
            here = subject.study.meta["sex"][fold.test] == sex
            truth = subject.study.labels[fold.test][here]
            areas.append(np.mean([roc_auc_score(truth[:, k], p[here, k]) for k in range(3)]))
        assert rows[sex][4] == pytest.approx(np.mean(areas), abs=1e-9)
        assert rows[sex][5] < rows[sex][4] < rows[sex][6]
    assert rows["f"][7] == pytest.approx(rows["m"][4] - rows["f"][4])
    assert score.figures[0].value == pytest.approx(rows["f"][7])


def test_rates_of_underdiagnosis_are_those_of_the_calls() -> None:
    subject = blurred()
    _, missed = subgroup_checks(subject, "made", ["sex"])
    predicted = predict(subject, subject.study.extractors[0].X)
    called = np.full(len(subject.study), -1)
    for fold, p in zip(predicted.folds, predicted.probability, strict=True):
        called[fold.test] = p.argmax(axis=1)
    y, sex = subject.study.y, subject.study.meta["sex"]
    for row in missed.tables[0].rows:
        ill, well = (sex == row[0]) & (y != 0), (sex == row[0]) & (y == 0)
        assert row[1] == ill.sum()
        assert row[3] == pytest.approx(np.mean(called[ill] == 0))
        assert row[4] < row[3] < row[5]
        assert row[11] == pytest.approx(np.mean(called[well] != 0))
    assert missed.verdict is Verdict.FOUND


def test_levels_that_mean_nothing_are_not_found_and_few_are_not_judged() -> None:
    subject = made(0.0, 0.0, seed=1, head="lda")
    few = np.where(np.arange(300) < 12, "rare", "usual")
    dice, _, rare, _ = subgroup_checks(
        subject, "made", {"dice": subject.study.meta["dice"], "rare": few}
    )
    assert dice.verdict is Verdict.NOT_FOUND
    assert 0 < dice.detectable < 0.6
    assert "takes about" in dice.seen
    assert rare.verdict is Verdict.UNTESTED
    assert rare.tables[0].rows[1][-1].startswith("fewer than 10")


def test_without_a_class_that_says_that_nothing_is_wrong_there_is_no_underdiagnosis() -> None:
    subject = made(0.0, 0.0, head="lda")
    subject = replace(subject, study=replace(subject.study, classes=["a", "b", "c"]))
    _, missed = subgroup_checks(subject, "made", ["dice"])
    assert missed.verdict is Verdict.UNTESTED
    assert "no finding" in missed.answer


def test_of_labels_an_image_with_none_called_is_called_free() -> None:
    subject = blurred()
    labels = subject.study.labels[:, 1:].copy()
    study = replace(subject.study, labels=labels, classes=["a", "b"], kind="multilabel")
    subject = replace(subject, study=study)
    _, missed = subgroup_checks(subject, "made", ["sex"])
    predicted = predict(subject, study.extractors[0].X)
    free = np.zeros(len(study), dtype=bool)
    for fold, p, cuts in zip(predicted.folds, predicted.probability, predicted.cuts, strict=True):
        free[fold.test] = ~(p > cuts).any(axis=1)
    for row in missed.tables[0].rows:
        ill = (study.meta["sex"] == row[0]) & (labels == 1).any(axis=1)
        assert row[3] == pytest.approx(free[ill].mean())


def test_a_share_of_images_counts_patients() -> None:
    hit = np.array([True] * 30 + [False] * 70)
    single = share_of(hit, np.arange(100))
    assert single.interval == pytest.approx(wilson(30, 100), abs=1e-3)
    assert single.interval == pytest.approx((0.2189, 0.3958), abs=1e-3)
    alike = share_of(hit, np.arange(100) // 10)
    assert alike.interval[0] < single.interval[0]
    assert alike.interval[1] > single.interval[1]
    assert alike.interval == pytest.approx(wilson(30 * 9 / 100, 9), abs=0.02)
    assert np.isnan(share_of(hit[:0], np.arange(0)).value)
