"""An audit from start to end: which questions are asked, in which order, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cxrfeat import model
from cxrfeat.auditing.opening import Audited
from cxrfeat.auditing.steps import AuditProgress, Step, run_steps
from cxrfeat.results.audit import Audit, Check, Section, Verdict
from cxrfeat.version import __version__

NO_HEADLINE = "Whether something other than the lungs could explain the score was not tested."


def steps_of(audited: Audited) -> list[Step]:
    """List the steps of an audit, in order."""
    return []


def audit_study(
    audited: Audited,
    *,
    options: dict[str, Any],
    run: str = "",
    progress: Callable[[AuditProgress], None] | None = None,
) -> Audit:
    """Ask every question about a study.

    Parameters
    ----------
    options
        What the audit was asked for, as plain data.
    run
        The run whose folds and head were taken; "" without one.
    progress
        Called at the beginning of each step, and while it counts images.
    """
    checks, seconds = run_steps(steps_of(audited), progress)
    subject = audited.subject
    patients = subject.design.patients
    return Audit(
        headline=headline(checks),
        checks=checks,
        metric=subject.metric.name,
        head=subject.head.name,
        extractors=[extractor.name for extractor in subject.study.extractors],
        images=len(subject.study),
        patients=None if patients is None else len(np.unique(patients)),
        classes=subject.study.classes,
        kind=subject.study.kind,
        folds=audited.folds,
        options=options,
        notes=audited.notes,
        seconds=seconds,
        versions={**model.installed_versions(), "cxrfeat": __version__},
        run=run,
    )


def headline(checks: Sequence[Check]) -> str:
    """Say what the controls say in one sentence: the answer of the first that was tested."""
    controls = [check for check in checks if check.section is Section.CONTROLS]
    tested = [check for check in controls if check.verdict is not Verdict.UNTESTED]
    return tested[0].answer if tested else NO_HEADLINE
