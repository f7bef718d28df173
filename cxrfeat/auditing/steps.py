"""The steps of an audit, one after the other: what each asks, how long it took."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cxrfeat.errors import CxrfeatError
from cxrfeat.results.audit import Check, Section, Verdict

Told = Callable[[int, int], None]
"""Takes how many images of how many a step has done."""


@dataclass(frozen=True)
class Step:
    """One part of an audit.

    Attributes
    ----------
    name : str
        What it does, e.g. ``"duplicates"``; `Audit.seconds` has it.
    section : Section
        Of its checks.
    ask : callable
        Answers its questions; it may tell how far it is.
    """

    name: str
    section: Section
    ask: Callable[[Told], list[Check]]


@dataclass(frozen=True)
class AuditProgress:
    """How far an audit is.

    Attributes
    ----------
    step : str
    number, steps : int
        The step's, from 1, of how many.
    done, total : int
        Images within the step; 0 of 0 where it does not count.
    """

    step: str
    number: int
    steps: int
    done: int = 0
    total: int = 0


def run_steps(
    steps: Sequence[Step], progress: Callable[[AuditProgress], None] | None = None
) -> tuple[list[Check], dict[str, float]]:
    """Ask every question, in order.

    A step that cannot be taken, for lack of weights, say, is a question that could not be tested,
    with the reason; the others are asked all the same.

    Returns
    -------
    checks : list of Check
        In the order of `Section`.
    seconds : dict of str to float
        By the name of the step.
    """
    tell = progress or (lambda event: None)
    checks: list[Check] = []
    seconds: dict[str, float] = {}
    for number, step in enumerate(steps, 1):
        began = time.monotonic()
        tell(AuditProgress(step.name, number, len(steps)))

        def told(done: int, total: int, step: Step = step, number: int = number) -> None:
            tell(AuditProgress(step.name, number, len(steps), done, total))

        try:
            checks += step.ask(told)
        except CxrfeatError as error:
            checks.append(_untested(step, error))
        seconds[step.name] = round(time.monotonic() - began, 2)
    order = list(Section)
    return sorted(checks, key=lambda check: order.index(check.section)), seconds


def _untested(step: Step, error: CxrfeatError) -> Check:
    return Check(
        code=f"{step.section.value}-not-tested",
        section=step.section,
        question=f"What do the {step.section.value} say?",
        verdict=Verdict.UNTESTED,
        answer=str(error),
    )
