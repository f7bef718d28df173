"""Steps are taken in order, timed, and one that cannot be taken does not end the audit."""

from __future__ import annotations

import pytest

from cxrfeat.auditing.steps import AuditProgress, Step, Told, run_steps
from cxrfeat.errors import WeightsError
from cxrfeat.results.audit import Check, Section, Verdict
from tests.auditing.made import some_checks

CHECKS = some_checks([f"{i}.png" for i in range(9)])


def of(section: Section) -> list[Check]:
    return [check for check in CHECKS if check.section is section]


def test_checks_come_in_the_order_of_the_page_whatever_the_order_of_the_steps() -> None:
    steps = [
        Step("last", Section.OUTLIERS, lambda told: of(Section.OUTLIERS)),
        Step("first", Section.CONTROLS, lambda told: of(Section.CONTROLS)),
    ]
    checks, seconds = run_steps(steps)
    assert [check.code for check in checks] == ["best-control", "outliers"]
    assert list(seconds) == ["last", "first"]


def test_progress_tells_the_step_and_how_many_images_it_has_done() -> None:
    def counting(told: Told) -> list[Check]:
        told(3, 9)
        return []

    seen: list[AuditProgress] = []
    run_steps(
        [Step("a", Section.LABELS, counting), Step("b", Section.SOURCES, lambda told: [])],
        seen.append,
    )
    assert seen == [
        AuditProgress("a", 1, 2),
        AuditProgress("a", 1, 2, 3, 9),
        AuditProgress("b", 2, 2),
    ]


def test_a_step_that_cannot_be_taken_could_not_be_tested_and_the_others_are() -> None:
    def without_weights(told: Told) -> list[Check]:
        raise WeightsError("no weights: give --weights FILE")

    steps = [
        Step("controls", Section.CONTROLS, without_weights),
        Step("labels", Section.LABELS, lambda told: of(Section.LABELS)),
    ]
    first, second = run_steps(steps)[0]
    assert (first.verdict, first.answer) == (
        Verdict.UNTESTED,
        "no weights: give --weights FILE",
    )
    assert second.code == "label-errors"


def test_a_bug_in_a_step_is_not_taken_for_an_answer() -> None:
    def broken(told: Told) -> list[Check]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_steps([Step("broken", Section.LABELS, broken)])
