"""A source left out in turn, against the same images scored by models that know it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cxrfeat.errors import UnknownNameError
from cxrfeat.evaluation.audit.sources import source_checks
from cxrfeat.evaluation.audit.subject import Subject
from cxrfeat.evaluation.study.design import Asked, make_folds
from cxrfeat.results.audit import Verdict
from tests.benchmark import benchmark

simulated = benchmark("audit_confounders")
made, value = simulated.made, simulated.value


def with_sites(subject: Subject, site: np.ndarray) -> Subject:
    meta = {**subject.study.meta, "site": site}
    return replace(subject, study=replace(subject.study, meta=meta))


def opposed(seed: int = 0) -> Subject:
    """Two sites in which a mark goes with opposite classes: each teaches what is wrong there."""
    subject = made(0.0, 0.0, seed=seed, head="lda")
    patient = np.unique(subject.study.meta["group"], return_inverse=True)[1]
    north = patient % 2 == 0
    X = subject.study.extractors[0].X.copy()
    mark = np.where(north, subject.study.y == 0, subject.study.y == 1)
    X[:, 0] += 4 * mark
    X[:, 1] += 4 * north
    subject = with_sites(subject, np.where(north, "north", "south"))
    extractors = [replace(subject.study.extractors[0], X=X)]
    return replace(subject, study=replace(subject.study, extractors=extractors))


def test_a_score_that_falls_elsewhere_is_found() -> None:
    (check,) = source_checks(opposed(), "site")
    assert check.code == "leave-source-out:made"
    assert check.verdict is Verdict.FOUND
    assert check.figures[0].value > 0.05
    assert check.figures[0].interval[0] > 0
    assert value(check, "AUROC left out") == pytest.approx(
        value(check, "within") - value(check, "fall of"), abs=0.01
    )
    north, south = check.tables[0].rows
    assert [north[0], south[0]] == ["north", "south"]
    assert north[1] + south[1] == 300
    assert check.remedy


def test_sites_that_mean_nothing_are_not_found() -> None:
    (check,) = source_checks(made(0.0, 0.0, seed=0, head="lda"), "site")
    assert check.verdict is Verdict.NOT_FOUND
    assert check.figures[0].interval[0] < 0 < check.figures[0].interval[1]
    assert 0 < check.detectable < 0.5
    assert check.seen


def test_a_source_without_enough_of_a_class_that_others_teach_could_not_be_tested() -> None:
    subject = made(0.0, 0.0, seed=0, head="lda")
    y = subject.study.y
    only = with_sites(subject, np.array(["north", "south", "west"])[y])
    (check,) = source_checks(only, "site")
    assert check.verdict is Verdict.UNTESTED
    assert "the others lack" in check.answer
    some = np.where(np.arange(300) % 3 == 0, "east", np.array(["north", "south", "west"])[y])
    (check,) = source_checks(with_sites(subject, some), "site")
    by_name = {row[0]: row for row in check.tables[0].rows}
    assert by_name["east"][-1] == "tested"
    assert "no class that others teach" in by_name["north"][-1]


def test_folds_that_leave_sources_out_have_nothing_to_compare_with() -> None:
    subject = made(0.0, 0.0, seed=0, head="lda")
    patient = np.unique(subject.study.meta["group"], return_inverse=True)[1]
    subject = with_sites(subject, np.where(patient % 2 == 0, "north", "south"))
    design = make_folds(subject.study, Asked(leave_out="site"))
    (check,) = source_checks(replace(subject, design=design), "site")
    assert check.verdict is Verdict.UNTESTED
    assert "have learned from" in check.answer


def test_one_source_leaves_nothing() -> None:
    subject = with_sites(made(0.0), np.full(300, "north"))
    (check,) = source_checks(subject, "site")
    assert check.verdict is Verdict.UNTESTED
    with pytest.raises(UnknownNameError):
        source_checks(subject, "sites")
