"""An audit from start to end: which questions are asked, in which order, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cxrfeat import model
from cxrfeat.auditing.opening import Audited
from cxrfeat.auditing.questions import Questions
from cxrfeat.auditing.steps import AuditProgress, Step, run_steps
from cxrfeat.results.audit import Audit, Section
from cxrfeat.version import __version__


def steps_of(questions: Questions) -> list[Step]:
    """List the steps of an audit, in order: later ones use what earlier ones saw of pictures."""
    return [
        Step("pictures", Section.CONTROLS, questions.look_at_pictures),
        Step("controls", Section.CONTROLS, questions.controls),
        Step("corner mark", Section.CONTROLS, questions.corner_mark),
        Step("duplicates", Section.DUPLICATES, questions.duplicates),
        Step("attributes", Section.ATTRIBUTES, questions.attributes),
        Step("sources", Section.SOURCES, questions.sources),
        Step("labels", Section.LABELS, questions.labels),
        Step("outliers", Section.OUTLIERS, questions.outliers),
        Step("subgroups", Section.SUBGROUPS, questions.subgroups),
        Step("pretraining", Section.PRETRAINING, questions.pretraining),
    ]


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
    questions = Questions(audited)
    checks, seconds = run_steps(steps_of(questions), progress)
    subject = audited.subject
    patients = subject.design.patients
    return Audit(
        headline=questions.headline,
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
        notes=[*audited.notes, *questions.notes],
        seconds=seconds,
        versions={**model.installed_versions(), "cxrfeat": __version__},
        run=run,
    )
