"""Each source left out in turn, against the same images scored by models that know their source.

Both are scored on the same test images of a source, fold by fold of the study. Left out: learned
from the training images of the other sources, and of no patient with an image of the tested one.
Within: learned from as many of all training images, those of the same source among them; they are
drawn by patient, because a fall for lack of images is another matter. The differences of the folds
are judged by the corrected resampled t-test, as pairs of extractors are, so that what a model owes
to the images that it happened to learn from is in the interval. A source counts for as much as any
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
Nadeau C, Bengio Y. Inference for the generalization error. Machine Learning 2003;52:239-281.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import stats

from cxrfeat.arrays import Matrix, Matrix32, RowNumbers, Vector
from cxrfeat.errors import UnknownNameError
from cxrfeat.evaluation.audit.dealing import numbered
from cxrfeat.evaluation.audit.levels import FEWEST, Levels, class_table, levels_of
from cxrfeat.evaluation.audit.partial_confounder import LEVEL, POWER
from cxrfeat.evaluation.audit.predictions import predict, teaches
from cxrfeat.evaluation.audit.sampling import some_patients, some_units
from cxrfeat.evaluation.audit.subject import Subject
from cxrfeat.evaluation.statistics.metrics import Metric
from cxrfeat.evaluation.statistics.metrics.undefined import mean_of_known
from cxrfeat.evaluation.statistics.paired_tests import corrected_t, holm
from cxrfeat.results.audit import Check, Figure, Section, Table, Verdict
from cxrfeat.results.data import Interval

SAMPLE = 10_000
"""Images that are asked about, all of some patients: of more, so many are drawn."""


@dataclass(frozen=True)
class _Source:
    """One source: who is tested, and what came out.

    Attributes
    ----------
    name : str
    inside : ndarray of bool, shape (N,)
        Its images.
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
    inside: npt.NDArray[np.bool_]
    truth: Matrix
    rows: npt.NDArray[np.bool_]
    train: RowNumbers
    why: str


@dataclass(frozen=True)
class _Scored:
    """Scores of the folds on the test images of one source.

    Attributes
    ----------
    within, left_out : ndarray, shape (F,)
        NaN for folds that cannot say.
    ratio : ndarray, shape (F,)
        Tested images by those learned from.
    learned : float
        Images learned from, on average.
    """

    within: Vector
    left_out: Vector
    ratio: Vector
    learned: float


@dataclass(frozen=True)
class _Fall:
    """By how much a score falls, 95 % interval, one-sided p, standard error, degrees of freedom."""

    value: float
    interval: Interval
    p: float
    error: float
    degrees: float

    @classmethod
    def of(cls, scored: Sequence[_Scored], metric: Metric) -> _Fall:
        """Mean over sources, fold by fold."""
        sign = 1.0 if metric.larger_is_better else -1.0
        gaps = np.array([sign * (one.within - one.left_out) for one in scored])
        known = np.isfinite(gaps)
        folds = known.any(axis=0)
        mean = np.where(known, gaps, 0.0).sum(axis=0)[folds] / known.sum(axis=0)[folds]
        nan = float("nan")
        if len(mean) < 2:
            return cls(float(mean.mean()) if len(mean) else nan, (nan, nan), nan, nan, 1.0)
        ratio = float(np.array([one.ratio for one in scored])[known].mean())
        test = corrected_t(mean, ratio)
        p = test.p / 2 if test.difference > 0 else 1 - test.p / 2
        return cls(
            test.difference, (test.low, test.high), p, test.standard_error, float(test.degrees)
        )


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
    scored = {
        name: {
            source.name: _score(subject, subject.extractor(name).X, source) for source in testable
        }
        for name in names
    }
    falls = {name: _Fall.of(list(of.values()), subject.metric) for name, of in scored.items()}
    adjusted = dict(zip(names, holm([falls[name].p for name in names]), strict=True))
    drawn = "" if len(subject.study) == whole else (
        f" Asked of {len(subject.study)} of {whole} images, all of patients drawn at random."
    )  # fmt: skip
    return [
        _untested(
            name,
            source_column,
            f"fewer than two folds test a {source_column} that they have learned from: two at least"
            " are needed to compare it with one left out",
            tables,
        )
        if np.isnan(adjusted[name])
        else _check(
            subject, source_column, name, sources, scored[name], falls[name], adjusted[name],
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
    return _Source(levels.names[number], inside, truth, rows, np.flatnonzero(outside), why)


def _score(subject: Subject, X: Matrix32, source: _Source) -> _Scored:
    """Score the test images of a source by models that know it, and by models that do not."""
    folds = subject.design.folds
    outside = np.zeros(len(subject.study), dtype=bool)
    outside[source.train] = True
    tested, apart, within = [], [], []
    for number, fold in enumerate(folds):
        test = fold.test[source.rows[fold.test]]
        train = fold.train[outside[fold.train]]
        fewer = _fewer(subject, fold.train, len(train), number)
        labels, exclusive = subject.study.labels, subject.exclusive
        known = source.inside[fold.train].any()
        if known and len(test) and all(teaches(labels[of], exclusive) for of in (train, fewer)):
            tested.append(number)
            apart.append(replace(fold, train=train, test=test))
            within.append(replace(fold, train=fewer, test=test))
    values = np.full((3, len(folds)), np.nan)
    for place, some in enumerate((within, apart)):
        asked = replace(subject, design=replace(subject.design, folds=some))
        for number, value in zip(tested, _values(asked, X, source.truth), strict=True):
            values[place, number] = value
    for number, fold in zip(tested, apart, strict=True):
        values[2, number] = len(fold.test) / len(fold.train)
    learned = float(np.mean([len(fold.train) for fold in apart])) if apart else 0.0
    return _Scored(values[0], values[1], values[2], learned)


def _values(subject: Subject, X: Matrix32, truth: Matrix) -> list[float]:
    predicted = predict(subject, X)
    return [
        subject.metric(truth[fold.test], p, subject.exclusive, cuts)
        for fold, p, cuts in zip(
            predicted.folds, predicted.probability, predicted.cuts, strict=True
        )
    ]


def _fewer(subject: Subject, train: RowNumbers, images: int, number: int) -> RowNumbers:
    """Draw so many training images at most, whole patients, for the fold of a number."""
    if len(train) <= images:
        return train
    patient = numbered(subject.design.patients, len(subject.study))[train]
    return train[some_units(patient, images, subject.seed + number)]


def _check(
    subject: Subject,
    column: str,
    extractor: str,
    sources: list[_Source],
    scored: dict[str, _Scored],
    fall: _Fall,
    adjusted: float,
    tests: int,
    drawn: str,
    tables: list[Table],
) -> Check:
    title, found = subject.metric.title, adjusted <= LEVEL
    within = mean_of_known(np.concatenate([one.within for one in scored.values()]))
    left_out = mean_of_known(np.concatenate([one.left_out for one in scored.values()]))
    reach = stats.t.isf(LEVEL / tests, fall.degrees) + stats.t.ppf(POWER, fall.degrees)
    detectable = float(reach * fall.error)
    lost = [source for source in sources if source.why]
    low, high = fall.interval
    verb = "falls" if found else "does not fall by more than chance makes"
    answer = (
        f"On a {column} that was not learned from, {extractor} {verb}: {title} {left_out:.3f}"
        f" against {within:.3f} within, a fall of {fall.value:.3f} (95 % interval {low:.3f} to"
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
            Figure(f"fall of {title} where the {column} is left out", fall.value, fall.interval),
            Figure(f"{title} within", within),
            Figure(f"{title} left out", left_out),
            Figure("p, one-sided, adjusted over the extractors (Holm)", adjusted),
        ],
        seen=f"A fall of {detectable:.3f} or more would have been found with 80 % probability.",
        detectable=detectable,
        tables=[_table(column, extractor, subject.metric, sources, scored), *tables],
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
    metric: Metric,
    sources: list[_Source],
    scored: dict[str, _Scored],
) -> Table:
    rows: list[list[str | float | int | None]] = []
    for source in sources:
        tested = int(np.sum(source.rows))
        if source.why:
            rows.append([source.name, tested, None, None, None, None, None, None, source.why])
            continue
        one = scored[source.name]
        fall = _Fall.of([one], metric)
        rows.append(
            [
                source.name, tested, round(one.learned), mean_of_known(one.within),
                mean_of_known(one.left_out), fall.value, *fall.interval,
                "tested" if np.isfinite(fall.value) else "no fold can compare it",
            ]
        )  # fmt: skip
    return Table(
        f"leave-source-out-{extractor}",
        f"{metric.title} of {extractor} with each {column} left out in turn",
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
