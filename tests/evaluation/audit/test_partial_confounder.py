"""The two tests of an attribute keep their level, whatever patients have in common, and see."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from cxrfeat.evaluation.audit.partial_confounder import (
    Residuals,
    anyhow,
    between_levels,
    confounder_tests,
    given_classes,
    within_class,
)
from cxrfeat.evaluation.audit.predictions import Predicted
from cxrfeat.evaluation.audit.subject import Subject
from cxrfeat.evaluation.study.folds import Fold
from tests.benchmark import benchmark

made = benchmark("audit_confounders").made
DRAWS, PERMUTATIONS = 120, 59


def residuals(values: np.ndarray) -> Residuals:
    return Residuals(values[:, None], np.ones((len(values), 1)))


def test_on_single_images_it_is_the_van_der_waerden_test() -> None:
    """Of one class: normal scores between groups, chi-squared with one degree less than groups."""
    random = np.random.default_rng(0)
    code = np.repeat([0, 1, 2], [40, 30, 30])
    score = stats.norm.ppf(stats.rankdata(random.normal(size=100) + 0.3 * code) / 101)
    labels = np.ones((100, 1))
    found = between_levels(residuals(score), code, anyhow(labels, None, 0), 0, 9999)
    between = sum(score[code == k].sum() ** 2 / np.sum(code == k) for k in range(3))
    p = stats.chi2.sf(between / score.var(ddof=1), 2)
    assert found.p == pytest.approx(p, abs=0.01)
    assert found.degrees == pytest.approx(2, rel=0.1)
    assert found.share == pytest.approx(
        (between / np.sum(score**2) - 2 / 99) / (1 - 2 / 99), abs=0.002
    )


def rejected(attribute_of_patient: bool, known: bool, level: float = 0.05) -> float:
    """Share of draws in which predictions that a patient has in common go with chance."""
    count = 0
    for seed in range(DRAWS):
        random = np.random.default_rng(seed)
        patient = np.repeat(np.arange(40), random.integers(1, 6, 40))
        y = random.integers(0, 2, 40)[patient]
        score = random.normal(size=40)[patient] + 0.3 * random.normal(size=len(patient))
        of = random.integers(0, 2, 40)
        code = of[patient] if attribute_of_patient else random.integers(0, 2, len(patient))
        labels = np.eye(2)[y]
        names = np.array([f"p{number}" for number in patient]) if known else None
        dealing = given_classes(labels, names, 0)
        score -= np.bincount(y, score)[y] / np.bincount(y)[y]
        count += between_levels(residuals(score), code, dealing, seed, PERMUTATIONS).p <= level
    return count / DRAWS


def test_patients_are_kept_together_whether_the_attribute_is_theirs_or_the_images() -> None:
    limit = stats.binom.ppf(0.99, DRAWS, 0.05) / DRAWS
    assert rejected(attribute_of_patient=True, known=True) <= limit
    assert rejected(attribute_of_patient=False, known=True) <= limit
    # Image by image the same data would look like a confounder in every other draw.
    assert rejected(attribute_of_patient=True, known=False) > 0.3


def test_the_share_and_its_interval_are_those_that_were_planted() -> None:
    planted, covered, shares = 0.1, 0, []
    for seed in range(60):
        random = np.random.default_rng(seed)
        code = np.arange(200) % 2
        score = random.normal(size=200) * np.sqrt(1 - planted) + np.sqrt(planted) * (2 * code - 1)
        found = between_levels(
            residuals(score - score.mean()), code, anyhow(np.ones((200, 1)), None, 0), seed, 199
        )
        covered += found.interval[0] <= planted <= found.interval[1]
        shares.append(found.share)
    assert np.mean(shares) == pytest.approx(planted, abs=0.015)
    assert covered >= 51


def test_the_detectable_share_is_found_four_times_in_five() -> None:
    code, count = np.arange(200) % 2, 0
    dealing = anyhow(np.ones((200, 1)), None, 0)
    for seed in range(60):
        random = np.random.default_rng(seed)
        noise = random.normal(size=200)
        at = between_levels(residuals(noise), code, dealing, seed, 199).detectable(0.05)
        score = noise * np.sqrt(1 - at) + np.sqrt(at) * (2 * code - 1)
        found = between_levels(residuals(score - score.mean()), code, dealing, seed, 199)
        count += found.p <= 0.05
    assert 39 <= count <= 56


def predicted(subject: Subject, p: np.ndarray) -> Predicted:
    folds: list[Fold] = subject.design.folds
    return Predicted(
        folds, [p[fold.test] for fold in folds], [np.full(p.shape[1], 0.5)] * len(folds)
    )


def test_predictions_that_know_the_class_alone_go_with_no_attribute_of_it() -> None:
    subject = made(0.7, seed=3)
    random = np.random.default_rng(0)
    p = 0.5 * subject.study.labels + random.dirichlet(np.ones(3), len(subject.study)) / 2
    site = np.unique(subject.study.meta["site"], return_inverse=True)[1]
    labels = subject.study.labels.astype(float)
    tests = confounder_tests(subject, within_class(predicted(subject, p), labels, True), site, 499)
    assert tests.of_class.p == 1 / 500
    assert tests.given.p > 0.05
    assert tests.p == tests.given.p


def test_labels_that_come_together_do_not_pass_for_an_attribute() -> None:
    """The prediction of one label knows the other label, which the attribute goes with."""
    random = np.random.default_rng(1)
    labels = (random.random((400, 2)) < 0.5).astype(np.float32)
    labels[:, 1] = np.where(random.random(400) < 0.6, labels[:, 0], labels[:, 1])
    labels[random.random(400) < 0.1, 1] = np.nan
    code = np.where(random.random(400) < 0.7, labels[:, 0], random.integers(0, 2, 400)).astype(int)
    p = 0.2 + 0.3 * np.nan_to_num(labels) + 0.3 * labels[:, :1] + 0.1 * random.random((400, 2))
    subject = made(0.0, images=400, patients=400)
    study = replace(subject.study, labels=labels, kind="multilabel", classes=["a", "b"])
    subject = replace(subject, study=study)
    found = within_class(predicted(subject, p.astype(float)), labels.astype(float), False)
    assert confounder_tests(subject, found, code, 499).given.p > 0.01
    shifted = p + 0.05 * code[:, None]
    found = within_class(predicted(subject, shifted.astype(float)), labels.astype(float), False)
    assert confounder_tests(subject, found, code, 499).p == 1 / 500
