"""Each source left out in turn, against the same images scored by models that know their source.

Left out: learned from all other sources, and from no patient with an image of the tested one.
Within: as the folds of the study say, so that each model has learned from other images of the same
source, too; but from no more images than the other sources have, drawn by patient, because a fall
for lack of images is another matter.
Both are scored on the same test images, fold by fold, so that the difference is paired. Its
interval is over test patients, with the models as they are. A source counts for as much as any
other in the mean over the sources.

What it can say: what this score would be at another hospital like these. A fall may come from what
is special to a source beside the lungs, from other kinds of patients, or from another share of each
class. Classes that no other source has cannot be learned without it;
their images are left out on both sides.

References
----------
Zech JR, Badgeley MA, Liu M, et al. Variable generalization performance of a deep learning model to
detect pneumonia in chest radiographs. PLoS Med 2018;15:e1002683. Justice AC, Covinsky KE, Berlin
JA. Assessing the generalizability of prognostic information. Ann Intern Med 1999;130:515-524.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from cxrfeat.arrays import Groups, Matrix, RowNumbers
from cxrfeat.errors import UnknownNameError
from cxrfeat.evaluation.audit.dealing import numbered
from cxrfeat.evaluation.audit.levels import FEWEST, Levels, class_table, levels_of
from cxrfeat.evaluation.audit.partial_confounder import LEVEL, POWER
from cxrfeat.evaluation.audit.predictions import (
    Difference,
    PartScore,
    Predicted,
    paired,
    part_score,
    predict,
)
from cxrfeat.evaluation.audit.sampling import some_patients, some_units
from cxrfeat.evaluation.audit.subject import Subject
from cxrfeat.evaluation.statistics.paired_tests import holm
from cxrfeat.evaluation.study.folds import Fold
from cxrfeat.results.audit import Check, Figure, Section, Table, Verdict

SAMPLE = 10_000
"""Images that are asked about, all of some patients: of more, so many are drawn."""


@dataclass(frozen=True)
class _Source:
    """One source: who is tested, and what came out.

    Attributes
    ----------
    name : str
    truth : ndarray, shape (N, K)
        Of its images; NaN for classes that cannot be scored.
    rows : ndarray of bool, shape (N,)
        Its images that are tested.
    train : ndarray of int
        Images of other sources and patients.
    why : str
        Why it cannot be tested; "" where it can.
    """

    name: str
    truth: Matrix
    rows: RowNumbers
    train: RowNumbers
    why: str


@dataclass(frozen=True)
class _Scored:
    within: PartScore
    left_out: PartScore
    fall: Difference


def source_checks(subject: Subject, source_column: str) -> list[Check]:
    """Ask of each extractor whether its score falls on a source that was not learned from.

    Parameters
    ----------
    source_column : str
        A column of the study.

    Returns
    -------
    list of Check
        ``leave-source-out:EXTRACTOR`` for each.

    Raises
    ------
    UnknownNameError
        No such column.
    """
    if source_column not in subject.study.meta:
        raise UnknownNameError("column", source_column, subject.study.meta)
    whole = len(subject.study)
    subject = subject.of(some_patients(subject, SAMPLE))
    levels = levels_of(source_column, subject.study.meta[source_column], subject.design.patients)
    names = [one.name for one in subject.study.extractors]
    if len(levels.names) < 2:
        why = (
            f"{source_column} has {len(levels.names)} level{'s' * (len(levels.names) != 1)} with"
            f" {FEWEST} patients or more: at least two are needed to leave one out"
        )
        return [_untested(name, source_column, why, []) for name in names]
    sources = [_source(subject, levels, number) for number in range(len(levels.names))]
    testable = [source for source in sources if not source.why]
    tables = [class_table(subject.study, levels)]
    if not testable:
        each = "; ".join(f"{source.name}: {source.why}" for source in sources)
        why = f"no {source_column} can be tested: {each}"
        return [_untested(name, source_column, why, tables) for name in names]
    scored = {name: _score(subject, name, testable) for name in names}
    means = {name: _mean([one.fall for one in of.values()]) for name, of in scored.items()}
    adjusted = dict(zip(names, holm([means[name].p_above for name in names]), strict=True))
    drawn = "" if len(subject.study) == whole else (
        f" Asked of {len(subject.study)} of {whole} images, all of patients drawn at random."
    )  # fmt: skip
    return [
        _check(
            subject, source_column, name, sources, scored[name], means[name], adjusted[name],
            len(names), drawn, tables,
        )
        for name in names
    ]  # fmt: skip


def _source(subject: Subject, levels: Levels, number: int) -> _Source:
    """Make out what of a source can be tested by what the others teach."""
    labels, patients = subject.study.labels.astype(np.float64), subject.design.patients
    patient = numbered(patients, len(labels))
    inside = levels.code == number
    outside = (levels.code >= 0) & ~inside
    if patients is not None:
        outside &= ~np.isin(patient, patient[inside])
    taught = (labels[outside] == 1).any(axis=0)
    if not subject.exclusive:
        taught &= (labels[outside] == 0).any(axis=0)
    tested = np.zeros(len(labels), dtype=bool)
    for fold in subject.design.folds:
        tested[fold.test] = True
    rows = inside & tested
    if subject.exclusive:
        rows &= taught[labels.argmax(axis=1)]
        truth = np.where(rows[:, None], labels, np.nan)
    else:
        truth = np.where(rows[:, None] & taught, labels, np.nan)
    both = [
        min(len(np.unique(patient[truth[:, k] == side])) for side in (0, 1))
        for k in range(labels.shape[1])
    ]
    why = ""
    if max(both) < FEWEST:
        lacks = [name for name, ok in zip(subject.study.classes, taught, strict=True) if not ok]
        why = f"no class that others teach has {FEWEST} tested patients with and without it here"
        if lacks:
            why += f"; the others lack {', '.join(lacks)}"
    elif not _defined(subject, truth, rows):
        why = f"no fold has test images on which {subject.metric.title} is defined"
    elif _constant(levels.code, inside, subject.design.folds):
        why = "the folds learn from no image of it, so that there is nothing to compare with"
    return _Source(levels.names[number], truth, rows, np.flatnonzero(outside), why)


def _constant(code: RowNumbers, inside: RowNumbers, folds: list[Fold]) -> bool:
    """Whether no fold that tests a source learns from it."""
    return not any(inside[fold.test].any() and inside[fold.train].any() for fold in folds)


def _defined(subject: Subject, truth: Matrix, rows: RowNumbers) -> bool:
    """Whether any fold has the metric on some of its test rows, whatever is predicted."""
    for fold in subject.design.folds:
        of = truth[fold.test[rows[fold.test]]]
        if len(of) and np.isfinite(subject.metric(of, np.full(of.shape, 0.75), subject.exclusive)):
            return True
    return False


def _score(subject: Subject, extractor: str, sources: list[_Source]) -> dict[str, _Scored]:
    X, exclusive = subject.extractor(extractor).X, subject.exclusive
    within = predict(subject, X)
    folds = [Fold(one.name, 0, one.train, np.flatnonzero(one.rows)) for one in sources]
    apart = replace(subject, design=replace(subject.design, folds=folds))
    left_out = predict(apart, X)
    found = {}
    for number, source in enumerate(sources):
        here = within.among(source.rows)
        fewer = [_fewer(subject, fold, len(source.train)) for fold in here.folds]
        if any(len(a.train) < len(b.train) for a, b in zip(fewer, here.folds, strict=True)):
            here = predict(replace(subject, design=replace(subject.design, folds=fewer)), X)
        there = _on_folds(
            here, folds[number].test, left_out.probability[number], left_out.cuts[number]
        )

        def scored(predicted: Predicted, truth: Matrix = source.truth) -> PartScore:
            patients: Groups = subject.design.patients
            return part_score(predicted, truth, patients, subject.metric, exclusive)

        first, second = scored(here), scored(there)
        found[source.name] = _Scored(first, second, paired(first, second, subject.metric))
    return found


def _fewer(subject: Subject, fold: Fold, images: int) -> Fold:
    """Learn from no more than so many images, whole patients, drawn at random."""
    if len(fold.train) <= images:
        return fold
    patient = numbered(subject.design.patients, len(subject.study))[fold.train]
    return replace(fold, train=fold.train[some_units(patient, images, subject.seed)])


def _on_folds(like: Predicted, rows: RowNumbers, p: Matrix, cuts: Matrix) -> Predicted:
    """Divide the predictions of one model among the test rows of several folds."""
    place = np.full(int(rows.max()) + 1, -1)
    place[rows] = np.arange(len(rows))
    return Predicted(
        like.folds, [p[place[fold.test]] for fold in like.folds], [cuts] * len(like.folds)
    )


def _mean(falls: list[Difference]) -> Difference:
    """Mean over sources, whose patients are others."""
    value = float(np.mean([one.value for one in falls]))
    squares = np.array([one.error**2 for one in falls])
    variance = float(squares.sum()) / len(falls) ** 2
    below = float(np.sum(squares**2 / np.array([one.degrees for one in falls])))
    degrees = float(squares.sum()) ** 2 / below if below > 0 else 1.0
    return Difference.of(value, variance, degrees)


def _check(
    subject: Subject,
    column: str,
    extractor: str,
    sources: list[_Source],
    scored: dict[str, _Scored],
    mean: Difference,
    adjusted: float,
    tests: int,
    drawn: str,
    tables: list[Table],
) -> Check:
    title, found = subject.metric.title, adjusted <= LEVEL
    within = float(np.mean([one.within.value for one in scored.values()]))
    left_out = float(np.mean([one.left_out.value for one in scored.values()]))
    reach = stats.t.isf(LEVEL / tests, mean.degrees) + stats.t.ppf(POWER, mean.degrees)
    detectable = float(reach * mean.error)
    lost = [source for source in sources if source.why]
    low, high = mean.interval
    verb = "falls" if found else "does not fall by more than chance makes"
    answer = (
        f"On a {column} that was not learned from, {extractor} {verb}: {title} {left_out:.3f}"
        f" against {within:.3f} within, a fall of {mean.value:.3f} (95 % interval {low:.3f} to"
        f" {high:.3f}), over {len(scored)} of {len(sources)}."
    )
    if lost:
        each = "; ".join(f"{source.name} ({source.why})" for source in lost)
        answer += f" Could not be tested: {each}."
    return Check(
        code=f"leave-source-out:{extractor}",
        section=Section.SOURCES,
        question=_question(extractor, column),
        verdict=Verdict.FOUND if found else Verdict.NOT_FOUND,
        answer=answer + drawn,
        figures=[
            Figure(f"fall of {title} where the {column} is left out", mean.value, mean.interval),
            Figure(f"{title} within", within),
            Figure(f"{title} left out", left_out),
            Figure("p, one-sided, adjusted over the extractors (Holm)", adjusted),
        ],
        seen=f"A fall of {detectable:.3f} or more would have been found with 80 % probability.",
        detectable=detectable,
        tables=[_table(column, extractor, title, sources, scored), *tables],
        remedy=(
            f"Report the score with each {column} left out (fit --leave-out {column}) beside the"
            " other, and expect it elsewhere."
            if found
            else ""
        ),
    )


def _question(extractor: str, column: str) -> str:
    return f"Does the score of {extractor} fall on a {column} that was not learned from?"


def _table(
    column: str,
    extractor: str,
    title: str,
    sources: list[_Source],
    scored: dict[str, _Scored],
) -> Table:
    rows: list[list[str | float | int | None]] = []
    for source in sources:
        row: list[str | float | int | None] = [
            source.name, int(np.sum(source.rows)), len(source.train),
        ]  # fmt: skip
        if source.why:
            rows.append([*row, None, None, None, None, None, source.why])
            continue
        one = scored[source.name]
        low, high = one.fall.interval
        rows.append(
            [*row, one.within.value, one.left_out.value, one.fall.value, low, high, "tested"]
        )
    return Table(
        f"leave-source-out-{extractor}",
        f"{title} of {extractor} with each {column} left out in turn",
        [column, "images", "learned from", "within", "left out", "fall", "low", "high", ""],
        rows,
    )


def _untested(extractor: str, column: str, why: str, tables: list[Table]) -> Check:
    return Check(
        code=f"leave-source-out:{extractor}",
        section=Section.SOURCES,
        question=_question(extractor, column),
        verdict=Verdict.UNTESTED,
        answer=why[0].upper() + why[1:] + ".",
        tables=tables,
    )
