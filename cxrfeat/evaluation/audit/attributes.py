"""Attributes of the images, such as source, view, scanner or sex, and what the score owes them.

An attribute is **found** where both hypotheses of `partial_confounder` are rejected: it goes with
the labels, and the predictions go with it beyond what the true class explains. Over all attributes
of a call the chance of finding any where there is none is at most `LEVEL` (Holm 1979). Beside the
verdict stand, each on the folds of the study and only where the level of an image is known:

- how well a table of the class shares per level predicts the labels (the attribute alone);
- how well the same head predicts the attribute from the embeddings, and what guessing gets;
- by how much the score falls where the attribute's part is taken off (`removal`);
- what score is left on labels shuffled within its levels (`restricted_shuffling`).

What it cannot say. An attribute that can be predicted, or that predicts the label, is not for that
used. One that is found may still stand for something in the lungs, such as more severe disease at
one source or more of it in the old: then predictions differ between its levels within a class, and
rightly so. And where a class comes from one level only, class and level cannot be told apart by any
method: that is said, and is an answer about the data.

References
----------
Spisak T. GigaScience 2022;11:giac082. Chaibub Neto E et al. KDD 2019:54-64. Holm S. Scand J Stat
1979;6:65-70. Zech JR et al. PLoS Med 2018;15:e1002683 (hospitals told apart by a network).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cxrfeat.evaluation.audit.attribute_control import control_check
from cxrfeat.evaluation.audit.attribute_figures import Beside, beside
from cxrfeat.evaluation.audit.levels import (
    FEWEST,
    Attribute,
    Levels,
    class_table,
    levels_of,
    single,
)
from cxrfeat.evaluation.audit.partial_confounder import (
    LEVEL,
    PERMUTATIONS,
    ConfounderTests,
    confounder_tests,
    within_class,
)
from cxrfeat.evaluation.audit.predictions import Predicted, predict
from cxrfeat.evaluation.audit.sampling import some_patients
from cxrfeat.evaluation.audit.subject import Subject
from cxrfeat.evaluation.statistics.paired_tests import holm
from cxrfeat.evaluation.study.study import Study
from cxrfeat.results.audit import Check, Figure, Section, Verdict

SAMPLE = 4000
"""Images that are asked about, all of some patients: of more, so many are drawn."""


def attribute_checks(
    subject: Subject,
    extractor: str,
    attributes: Mapping[str, Attribute],
    *,
    control: bool = True,
) -> list[Check]:
    """Ask of each attribute whether the score comes from it.

    Parameters
    ----------
    extractor : str
        Whose embeddings are asked about.
    attributes : mapping of str to ndarray, shape (N,)
        Text is categories, "" where unknown; floats are numbers, NaN where unknown, and are cut at
        their quartiles.
    control : bool
        Whether attributes that mean nothing and planted ones are tested as well.

    Returns
    -------
    list of Check
        ``attribute:NAME`` for each, and ``random-attribute`` for the control. Nothing without
        attributes.

    Raises
    ------
    UnknownNameError
        No such extractor.
    """
    rows = some_patients(subject, SAMPLE)
    asked = subject.of(rows, [extractor])
    if not attributes:
        return []
    patients = asked.design.patients
    levels = {name: levels_of(name, of[rows], patients) for name, of in attributes.items()}
    predicted = predict(asked, asked.study.extractors[0].X)
    tests, why = _tests(asked, predicted, levels)
    testable = {name: levels[name] for name in tests}
    adjusted = dict(zip(tests, holm([found.p for found in tests.values()]), strict=True))
    drawn = "" if len(rows) == len(subject.study) else (
        f"asked of {len(rows)} of {len(subject.study)} images, all of patients drawn at random"
    )  # fmt: skip
    controls, proved = [], ""
    if control:
        check, proved = control_check(asked, extractor, predicted, testable, drawn)
        controls = [check]
    checks = []
    for name, of in levels.items():
        figures = None
        if len(of.names) > 1:
            known = of.rows
            whole = predicted if len(known) == len(rows) else None
            figures = beside(asked.of(known), of.code[known], whole)
        if figures is None or name in why:
            checks.append(_untested(asked, extractor, of, why[name], figures))
            continue
        answered = _Answered(tests[name], adjusted[name], LEVEL / len(tests), figures)
        checks.append(_check(asked, extractor, of, answered, proved, drawn))
    return [*checks, *controls]


@dataclass(frozen=True)
class _Answered:
    """What the verdict on one attribute goes by, and what stands beside it.

    Attributes
    ----------
    tests : ConfounderTests
    adjusted : float
        The larger p-value, over all attributes.
    level : float
        Of the strictest of the tests on all attributes.
    beside : Beside
    """

    tests: ConfounderTests
    adjusted: float
    level: float
    beside: Beside


def _tests(
    subject: Subject, predicted: Predicted, levels: Mapping[str, Levels]
) -> tuple[dict[str, ConfounderTests], dict[str, str]]:
    """Test every attribute that can be tested, and say why the others cannot."""
    labels = subject.study.labels.astype(np.float64)
    residuals = within_class(predicted, labels, subject.exclusive)
    tests, why = {}, {}
    for name, of in levels.items():
        if reason := _untestable(subject.study, of):
            why[name] = reason
            continue
        found = confounder_tests(
            subject, residuals, of.code, _permutations(len(levels)), subject.seed
        )
        if np.isfinite(found.p):
            tests[name] = found
        else:
            why[name] = (
                "the folds leave nothing to compare: within every class the tested images are of"
                f" one level of {name}, or all predicted alike, or the level of one class only is"
                " known; folds that test several levels of each class would be needed"
            )
    return tests, why


def _permutations(attributes: int) -> int:
    """So many that the smallest p-value is less than Holm's first limit."""
    return max(PERMUTATIONS, int(2 * attributes / LEVEL) - 1)


def _untestable(study: Study, levels: Levels) -> str:
    """Say why an attribute cannot be tested; "" where it can."""
    if len(levels.names) < 2:
        known = len(levels.code) - levels.unknown
        return (
            f"the column has {len(levels.names)} level{'s' * (len(levels.names) != 1)} with"
            f" enough patients, of {known} images with a value: two with {FEWEST} each are needed"
        )
    alone = single(study, levels)
    held = int(np.sum((study.labels[levels.rows] == 1).any(axis=0)))
    exclusive = study.kind == "multiclass"
    if alone and len(alone) == held and exclusive:
        each = "; ".join(f"{name}: {level}" for name, level in alone.items())
        return (
            f"cannot be identified: every class comes from one {levels.name} only ({each}), so that"
            " no method can tell class and level apart; images of each class from two levels would"
            " be needed"
        )
    return ""


def _untested(
    subject: Subject, extractor: str, levels: Levels, why: str, figures: Beside | None
) -> Check:
    name = levels.name
    return Check(
        code=f"attribute:{name}",
        section=Section.ATTRIBUTES,
        question=_question(name),
        verdict=Verdict.UNTESTED,
        answer=f"{why[0].upper()}{why[1:]}.",
        figures=[] if figures is None else figures.figures(subject.metric.title, extractor, name),
        tables=[] if figures is None else [class_table(subject.study, levels)],
    )


def _question(name: str) -> str:
    return f"Does the score come from {name}?"


def _check(
    subject: Subject, extractor: str, levels: Levels, of: _Answered, proved: str, drawn: str
) -> Check:
    name, metric = levels.name, subject.metric.title
    tests, figures, found = of.tests, of.beside, of.adjusted <= LEVEL
    share, low, high = tests.given.share, *tests.given.interval
    detectable = tests.given.detectable(of.level)
    alone = single(subject.study, levels)
    parts = [_said(name, tests, found, share, low, high)]
    parts.append(
        f"The labels are predicted from {name} alone with {metric} {figures.alone.value:.3f}, and"
        f" {name} from the embeddings with {figures.readable.value:.3f} (guessing:"
        f" {figures.guessed:.3f}), which is no proof that it is used."
    )
    fall = figures.kept_class
    parts.append(
        f"Without its part, given the class, {metric} changes from {figures.full.value:.3f} by"
        f" {-fall.value:+.3f} (95 % interval {-fall.interval[1]:+.3f} to {-fall.interval[0]:+.3f})."
    )
    if alone:
        each = ", ".join(f"{one} ({level})" for one, level in alone.items())
        parts.append(
            f"Classes of one level only cannot be told apart from it: {each}; the test goes by the"
            " others."
        )
    notes = "; ".join(part for part in (levels.said, drawn) if part)
    if notes:
        parts.append(notes[0].upper() + notes[1:] + ".")
    return Check(
        code=f"attribute:{name}",
        section=Section.ATTRIBUTES,
        question=_question(name),
        verdict=Verdict.FOUND if found else Verdict.NOT_FOUND,
        answer=" ".join(parts),
        figures=[
            Figure(
                f"share of the predictions' spread within a class that goes with {name}", share,
                (low, high),
            ),
            Figure("p that predictions do not go with it, given the class", tests.given.p),
            Figure("p that labels do not go with it", tests.of_class.p),
            Figure("larger p, adjusted over the attributes (Holm)", of.adjusted),
            *figures.figures(metric, extractor, name),
        ],
        seen=(
            f"A share of {detectable:.3f} or more of the predictions' spread within a class would"
            f" have been found with 80 % probability. {proved}"
        ),
        detectable=detectable,
        tables=[class_table(subject.study, levels)],
        remedy=_remedy(name) if found else "",
    )  # fmt: skip


def _said(
    name: str, tests: ConfounderTests, found: bool, share: float, low: float, high: float
) -> str:
    about = f"{100 * share:.1f} % (95 % interval {100 * low:.1f} to {100 * high:.1f} %)"
    if found:
        return (
            f"The predictions go with {name} beyond what the class explains: {about} of their"
            f" spread within a class, and the labels go with {name}, too, so that part of the score"
            " may come from it, or from what differs in the lungs between its levels."
        )
    if tests.given.p > LEVEL:
        return (
            f"Given the class, no more of the predictions' spread goes with {name} than chance"
            f" makes: {about}."
        )
    if tests.of_class.p > LEVEL:
        return (
            f"The predictions shift with {name} within a class ({about} of their spread), but the"
            " labels do not go with it here, so that it lifts no score; the scores by level say"
            " whom it harms."
        )
    return (
        f"The predictions may go with {name} ({about} of their spread within a class), but among so"
        " many attributes that can be chance."
    )


def _remedy(name: str) -> str:
    return (
        f"Score with each {name} left out in turn (fit --leave-out, for a column), give the scores"
        f" by {name}, and collect images so that every class has every level."
    )
