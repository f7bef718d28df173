"""Scores by the levels of a column: for whom the classifier is worse.

Every level is scored on its own test images of each fold, as the whole study is, and compared with
all other images; so are the rates of underdiagnosis: of the images with a finding, the share that
is called free of any (Seyyed-Kalantari 2021). Beside it stands the share of the images without a
finding that is called ill. Where one class is named after nothing being wrong (`NORMAL`), calling
that class, or none, is what counts as free; of labels without such a one, calling none.

A level is judged where `FEWEST` of its tested patients have a class and as many do not; what it
takes for an interval of a stated width is said, by the spread that the whole study has. Intervals
are over patients, with the models as they are. Differences are adjusted over all levels of all
columns of a call (Holm 1979).

What it cannot say. A lower score at a level may come from harder images or from another mixture of
severities rather than from the classifier; labels that are wrong more often for some people make
any classifier look worse there.

References
----------
Seyyed-Kalantari L, Zhang H, McDermott MBA, Chen IY, Ghassemi M. Underdiagnosis bias of artificial
intelligence algorithms applied to chest radiographs in under-served patient populations. Nat Med
2021;27:2176-2182. Holm S. Scand J Stat 1979;6:65-70.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from cxrfeat.arrays import Matrix, RowNumbers
from cxrfeat.evaluation.audit.dealing import numbered
from cxrfeat.evaluation.audit.levels import FEWEST, Attribute, Levels, levels_of, slug
from cxrfeat.evaluation.audit.partial_confounder import LEVEL, POWER
from cxrfeat.evaluation.audit.predictions import (
    Difference,
    PartScore,
    Predicted,
    part_score,
    predict,
    unpaired,
)
from cxrfeat.evaluation.audit.proportions import Share, share_of
from cxrfeat.evaluation.audit.sampling import some_patients
from cxrfeat.evaluation.audit.subject import Subject
from cxrfeat.evaluation.statistics.metrics.decisions import decide
from cxrfeat.evaluation.statistics.paired_tests import holm
from cxrfeat.results.audit import Check, Figure, Section, Table, Verdict

NORMAL = ("normal", "no finding", "no findings", "healthy", "negative", "none", "clear")
"""Names of the class that says that nothing is wrong, in lower case and with blanks."""
REACH = 0.05
"""Half of the width of an interval by which a level is said to be well known."""
SAMPLE = 20_000
"""Images that are asked about, all of some patients: of more, so many are drawn."""
Cells = list[str | float | int | None]


@dataclass(frozen=True)
class _Level:
    """One level of a column, scored.

    Attributes
    ----------
    images, patients : int
        Tested.
    rarer : int
        Patients of the rarer side of the class that has the most of it.
    score : PartScore
    gap : Difference
        Of the score below that of all other images.
    """

    column: str
    name: str
    images: int
    patients: int
    rarer: int
    score: PartScore
    gap: Difference

    @property
    def judged(self) -> bool:
        return self.rarer >= FEWEST and bool(np.isfinite(self.gap.p))


@dataclass(frozen=True)
class _Missed:
    """Rates of one level: ill called free of any finding, and free called ill."""

    column: str
    name: str
    under: Share
    over: Share
    gap: Difference

    @property
    def judged(self) -> bool:
        return self.under.patients >= FEWEST and bool(np.isfinite(self.gap.p))


def subgroup_checks(
    subject: Subject, extractor: str, columns: Mapping[str, Attribute] | Sequence[str]
) -> list[Check]:
    """Ask of each column whether the score, and underdiagnosis, differ between its levels.

    Parameters
    ----------
    extractor : str
    columns : mapping of str to ndarray, shape (N,), or sequence of str
        Attributes as `attribute_checks` takes them, or names of columns of the study.

    Returns
    -------
    list of Check
        ``subgroups:COLUMN`` and ``underdiagnosis:COLUMN`` for each.

    Raises
    ------
    UnknownNameError
        No such extractor.
    """
    subject.extractor(extractor)
    if not columns:
        return []
    given = (
        columns
        if isinstance(columns, Mapping)
        else {name: subject.study.meta[name] for name in columns}
    )
    rows = some_patients(subject, SAMPLE)
    asked = subject.of(rows, [extractor])
    patients = asked.design.patients
    levels = {name: levels_of(name, of[rows], patients) for name, of in given.items()}
    predicted = predict(asked, asked.study.extractors[0].X)
    scored = {name: _scores(asked, predicted, of) for name, of in levels.items()}
    calls = _calls(asked, predicted)
    missed = {name: _rates(asked, calls, of) for name, of in levels.items()}
    drawn = "" if len(rows) == len(subject.study) else (
        f" Asked of {len(rows)} of {len(subject.study)} images, all of patients drawn at random."
    )  # fmt: skip
    needed = _needed(asked, predicted)
    p_scores = _adjusted([one for of in scored.values() for one in of])
    p_missed = _adjusted([one for of in missed.values() for one in of])
    checks = []
    for name in given:
        checks.append(_score_check(asked, levels[name], scored[name], p_scores, needed, drawn))
        checks.append(_missed_check(asked, levels[name], missed[name], p_missed, drawn))
    return checks


def _truth(subject: Subject) -> Matrix:
    return subject.study.labels.astype(np.float64)


def _scores(subject: Subject, predicted: Predicted, levels: Levels) -> list[_Level]:
    truth, patients, metric = _truth(subject), subject.design.patients, subject.metric
    patient = numbered(patients, len(truth))
    tested = np.zeros(len(truth), dtype=bool)
    for fold in predicted.folds:
        tested[fold.test] = True

    def of(rows: npt.NDArray[np.bool_]) -> PartScore:
        return part_score(predicted.among(rows), truth, patients, metric, subject.exclusive)

    found = []
    for number, name in enumerate(levels.names):
        inside = (levels.code == number) & tested
        rest = (levels.code >= 0) & ~inside & tested
        own = of(inside)
        found.append(
            _Level(
                levels.name, name, int(inside.sum()), len(np.unique(patient[inside])),
                _rarer(truth[inside], patient[inside]), own, unpaired(of(rest), own, metric),
            )
        )  # fmt: skip
    return found


def _rarer(truth: Matrix, patient: RowNumbers) -> int:
    """Patients of the rarer side, of the class that has the most of it."""
    return max(
        min(len(np.unique(patient[column == side])) for side in (0, 1)) for column in truth.T
    )


def _needed(subject: Subject, predicted: Predicted) -> float:
    """Patients with each class that an interval of plus or minus `REACH` takes, about.

    The variance of a score goes down as the patients of the rarest class go up. What it takes to
    judge a level at all is the least, since a score near its end shows hardly any spread.
    """
    truth, patients = _truth(subject), subject.design.patients
    whole = part_score(predicted, truth, patients, subject.metric, subject.exclusive)
    tested = np.unique(np.concatenate([fold.test for fold in predicted.folds]))
    patient = numbered(patients, len(truth))[tested]
    held = [
        min(len(np.unique(patient[column == side])) for side in (0, 1))
        for column in truth[tested].T
    ]
    rarest = min((count for count in held if count), default=0)
    z = float(stats.norm.ppf(0.975))
    return float(max(FEWEST, np.ceil(rarest * whole.variance.value * z**2 / REACH**2)))


def _adjusted(found: Sequence[_Level] | Sequence[_Missed]) -> dict[tuple[str, str], float]:
    """Adjust the p-values of all levels of all columns; by column and level, the judged ones."""
    p = {(one.column, one.name): one.gap.p for one in found if one.judged}
    return dict(zip(p, holm(list(p.values())), strict=True))


def _score_check(
    subject: Subject,
    levels: Levels,
    found: Sequence[_Level],
    adjusted: Mapping[tuple[str, str], float],
    needed: float,
    drawn: str,
) -> Check:
    name, title = levels.name, subject.metric.title
    judged = [one for one in found if one.judged]
    rows: list[Cells] = [
        [
            one.name, one.images, one.patients, one.rarer, one.score.value, *one.score.interval,
            one.gap.value, *one.gap.interval, adjusted.get((name, one.name)),
            "" if one.judged else f"fewer than {FEWEST} patients with and without a class",
        ]
        for one in found
    ]  # fmt: skip
    table = Table(
        f"scores-by-{slug(name)}",
        f"{title} by {name}",
        [
            name, "images", "patients", "of the rarer side", title, "low", "high",
            "below the others by", "from", "to", "p (Holm)", "",
        ],
        rows,
    )  # fmt: skip
    unit = "images" if subject.design.patients is None else "patients"
    enough = (
        f"An interval of ±{REACH:g} takes about {needed:.0f} {unit} with each class and without it."
        if np.isfinite(needed)
        else ""
    )
    if len(judged) < 2:
        return _untested("subgroups", name, _score_question(name, title), levels, [table], enough)
    worst = max(judged, key=lambda one: one.gap.value)
    p = min(adjusted[name, one.name] for one in judged)
    differing = [one for one in judged if adjusted[name, one.name] <= LEVEL]
    if differing:
        worst = max(differing, key=lambda one: abs(one.gap.value))
    verdict = Verdict.FOUND if differing else Verdict.NOT_FOUND
    low, high = worst.gap.interval
    side = "below" if worst.gap.value >= 0 else "above"
    if worst.gap.value < 0:
        low, high = -high, -low
    told = "differs" if differing else "does not differ by more than chance makes"
    answer = (
        f"{title} {told} between the levels of {name}: the"
        f" {'clearest' if differing else 'lowest'} is {worst.name} with"
        f" {worst.score.value:.3f} ({worst.score.interval[0]:.3f} to"
        f" {worst.score.interval[1]:.3f}), {abs(worst.gap.value):.3f} {side} all others (95 %"
        f" interval {low:+.3f} to {high:+.3f}; p {p:.2g}, adjusted)."
    )
    answer += _left_out(levels, [one.name for one in found if not one.judged]) + drawn
    detectable = max(_detectable(one.gap, len(adjusted)) for one in judged)
    return Check(
        code=f"subgroups:{name}",
        section=Section.SUBGROUPS,
        question=_score_question(name, title),
        verdict=verdict,
        answer=answer,
        figures=[
            Figure(
                f"{title} below all others at {worst.name}", worst.gap.value, worst.gap.interval
            ),
            Figure("smallest p, adjusted over all levels (Holm)", p),
            Figure(f"{unit} of each class for an interval of ±{REACH:g}", needed),
            *(
                Figure(f"{title} at {one.name}", one.score.value, one.score.interval)
                for one in judged
            ),
        ],
        seen=(
            f"A difference of {detectable:.3f} or more at any judged level would have been found"
            f" with 80 % probability. {enough}"
        ),
        detectable=detectable,
        tables=[table],
        remedy=f"Report the score by {name}; collect more of the levels that score lower."
        if differing
        else "",
    )  # fmt: skip


def _score_question(name: str, title: str) -> str:
    return f"Does {title} differ between the levels of {name}?"


def _detectable(difference: Difference, tests: int) -> float:
    degrees = difference.degrees
    reach = stats.t.isf(LEVEL / 2 / max(1, tests), degrees) + stats.t.ppf(POWER, degrees)
    return float(reach * difference.error)


def _left_out(levels: Levels, names: Sequence[str]) -> str:
    said = f" Too few to judge: {', '.join(names)}." if names else ""
    return said + (f" {levels.said[0].upper()}{levels.said[1:]}." if levels.said else "")


def _untested(
    code: str, name: str, question: str, levels: Levels, tables: list[Table], enough: str
) -> Check:
    return Check(
        code=f"{code}:{name}",
        section=Section.SUBGROUPS,
        question=question,
        verdict=Verdict.UNTESTED,
        answer=(
            f"Fewer than two levels of {name} can be judged: {FEWEST} patients with a class and"
            f" {FEWEST} without it are needed at each. {enough}".rstrip()
            + _left_out(levels, [])
        ),
        tables=tables,
    )


@dataclass(frozen=True)
class _Calls:
    """Of tested images: which are ill, and which are called free of any finding.

    Attributes
    ----------
    known : ndarray of bool, shape (N,)
        Tested, and known to be ill or not.
    ill, free : ndarray of bool, shape (N,)
    """

    known: npt.NDArray[np.bool_]
    ill: npt.NDArray[np.bool_]
    free: npt.NDArray[np.bool_]


def _calls(subject: Subject, predicted: Predicted) -> _Calls | None:
    """Decide who is called free of any finding; None where no class says so."""
    truth, exclusive = _truth(subject), subject.exclusive
    named = [name.strip().lower().replace("_", " ") for name in subject.study.classes]
    normal = next((k for k, name in enumerate(named) if name in NORMAL), None)
    if normal is None and exclusive:
        return None
    findings = [k for k in range(len(named)) if k != normal]
    called = np.zeros(truth.shape, dtype=bool)
    tested = np.zeros(len(truth), dtype=bool)
    for fold, p, cuts in zip(predicted.folds, predicted.probability, predicted.cuts, strict=True):
        if fold.repeat == predicted.folds[0].repeat:
            called[fold.test] = decide(np.nan_to_num(p), exclusive, cuts)
            tested[fold.test] = True
    ill = (truth[:, findings] == 1).any(axis=1)
    healthy = (truth[:, findings] == 0).all(axis=1)
    free = np.asarray(~called[:, findings].any(axis=1))
    if normal is not None:
        healthy |= (truth[:, normal] == 1) & ~ill
        free |= called[:, normal]
    return _Calls(tested & (ill | healthy), ill, free)


def _rates(subject: Subject, calls: _Calls | None, levels: Levels) -> list[_Missed]:
    if calls is None:
        return []
    patient = numbered(subject.design.patients, len(subject.study))

    def share(rows: npt.NDArray[np.bool_], hit: npt.NDArray[np.bool_]) -> Share:
        return share_of(hit[rows], patient[rows])

    found = []
    for number, name in enumerate(levels.names):
        here = calls.known & (levels.code == number)
        rest = calls.known & (levels.code >= 0) & (levels.code != number)
        under, others = share(here & calls.ill, calls.free), share(rest & calls.ill, calls.free)
        over = share(here & ~calls.ill, ~calls.free)
        gap = Difference.of(
            under.value - others.value, under.error**2 + others.error**2,
            max(1.0, min(under.patients, others.patients) - 1.0),
        )  # fmt: skip
        found.append(_Missed(levels.name, name, under, over, gap))
    return found


def _missed_check(
    subject: Subject,
    levels: Levels,
    found: Sequence[_Missed],
    adjusted: Mapping[tuple[str, str], float],
    drawn: str,
) -> Check:
    name = levels.name
    question = f"Are the ill called free of any finding more often at some level of {name}?"
    rows: list[Cells] = [
        [
            one.name, one.under.images, one.under.patients, one.under.value, *one.under.interval,
            one.gap.value, *one.gap.interval, adjusted.get((name, one.name)), one.over.images,
            one.over.value, *one.over.interval,
        ]
        for one in found
    ]  # fmt: skip
    table = Table(
        f"underdiagnosis-by-{slug(name)}",
        f"Underdiagnosis by {name}",
        [
            name, "ill images", "ill patients", "called free of any finding", "low", "high",
            "above the others by", "from", "to", "p (Holm)", "images without a finding",
            "called ill", "low ", "high ",
        ],
        rows,
    )  # fmt: skip
    judged = [one for one in found if one.judged]
    if len(judged) < 2:
        check = _untested("underdiagnosis", name, question, levels, [table] if found else [], "")
        if found:
            return check
        return Check(
            code=check.code, section=check.section, question=question, verdict=check.verdict,
            answer=(
                "No class says that nothing is wrong; one of the names"
                f" {', '.join(NORMAL)} would be taken for it."
            ),
        )  # fmt: skip
    differing = [one for one in judged if adjusted[name, one.name] <= LEVEL]
    worst = max(differing or judged, key=lambda one: one.gap.value)
    p = min(adjusted[name, one.name] for one in judged)
    told = "differs" if differing else "does not differ by more than chance makes"
    low, high = worst.gap.interval
    answer = (
        f"The rate of underdiagnosis {told} between the levels of {name}: the highest is"
        f" {worst.name} with {worst.under.value:.3f} ({worst.under.interval[0]:.3f} to"
        f" {worst.under.interval[1]:.3f}), {worst.gap.value:+.3f} against all others (95 %"
        f" interval {low:+.3f} to {high:+.3f}; p {p:.2g}, adjusted)."
    )
    answer += _left_out(levels, [one.name for one in found if not one.judged]) + drawn
    detectable = max(_detectable(one.gap, len(adjusted)) for one in judged)
    return Check(
        code=f"underdiagnosis:{name}",
        section=Section.SUBGROUPS,
        question=question,
        verdict=Verdict.FOUND if differing else Verdict.NOT_FOUND,
        answer=answer,
        figures=[
            Figure(f"underdiagnosis above all others at {worst.name}", worst.gap.value,
                   worst.gap.interval),
            Figure("smallest p, adjusted over all levels (Holm)", p),
            *(Figure(f"underdiagnosis at {one.name}", one.under.value, one.under.interval)
              for one in judged),
        ],
        seen=(
            f"A difference of {detectable:.3f} or more at any judged level would have been found"
            " with 80 % probability."
        ),
        detectable=detectable,
        tables=[table],
        remedy=(
            f"Give the rates by {name}, set thresholds with them in view, and learn from more ill"
            f" patients of the levels where they are missed."
            if differing
            else ""
        ),
    )  # fmt: skip
