"""Scores by the levels of a column: for whom the classifier is worse.

Every level is scored on its own test images of each fold, as the whole study is, and compared with
all other images; so are the rates of underdiagnosis (`cxrfeat.evaluation.audit.underdiagnosis`).

A level is judged where `FEWEST` of its tested patients have a class and as many do not; what it
takes for an interval of a stated width is said, by the spread that the whole study has. Intervals
are over patients, with the models as they are.

What it cannot say. A lower score at a level may come from harder images or from another mixture of
severities rather than from the classifier; labels that are wrong more often for some people make
any classifier look worse there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats

from cxrfeat.arrays import Matrix, RowNumbers
from cxrfeat.evaluation.audit.dealing import numbered
from cxrfeat.evaluation.audit.level_differences import (
    Asked,
    LevelFigure,
    adjusted,
    answered,
    row,
)
from cxrfeat.evaluation.audit.levels import FEWEST, Attribute, Levels, levels_of, slug
from cxrfeat.evaluation.audit.predictions import (
    PartScore,
    Predicted,
    part_score,
    predict,
    unpaired,
)
from cxrfeat.evaluation.audit.sampling import some_patients
from cxrfeat.evaluation.audit.subject import Subject
from cxrfeat.evaluation.audit.underdiagnosis import calls_of, rates_by_level, underdiagnosis_check
from cxrfeat.results.audit import Check, Figure, Table

REACH = 0.05
"""Half of the width of an interval by which a level is said to be well known."""
SAMPLE = 20_000
"""Images that are asked about, all of some patients: of more, so many are drawn."""


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
    calls = calls_of(asked, predicted)
    missed = {name: rates_by_level(asked, calls, of) for name, of in levels.items()}
    drawn = "" if len(rows) == len(subject.study) else (
        f" Asked of {len(rows)} of {len(subject.study)} images, all of patients drawn at random."
    )  # fmt: skip
    needed = _needed(asked, predicted)
    p_scores = adjusted([one for of in scored.values() for one in of])
    p_missed = adjusted([one for of in missed.values() for one in of])
    checks = []
    for name in given:
        checks.append(_score_check(asked, levels[name], scored[name], p_scores, needed, drawn))
        checks.append(underdiagnosis_check(levels[name], missed[name], p_missed, drawn))
    return checks


def _truth(subject: Subject) -> Matrix:
    return subject.study.labels.astype(np.float64)


def _scores(subject: Subject, predicted: Predicted, levels: Levels) -> list[LevelFigure]:
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
        own, rarer = of(inside), _rarer(truth[inside], patient[inside])
        found.append(
            LevelFigure(
                levels.name, name, rarer, own.value, own.interval, unpaired(of(rest), own, metric),
                ([int(inside.sum()), len(np.unique(patient[inside])), rarer], []),
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


def _score_check(
    subject: Subject,
    levels: Levels,
    found: Sequence[LevelFigure],
    p: Mapping[tuple[str, str], float],
    needed: float,
    drawn: str,
) -> Check:
    name, title = levels.name, subject.metric.title
    table = Table(
        f"scores-by-{slug(name)}",
        f"{title} by {name}",
        [
            name, "images", "patients", "of the rarer side", title, "low", "high",
            "below the others by", "from", "to", "p (Holm)", "",
        ],
        [
            [
                *row(one, p),
                "" if one.judged else f"fewer than {FEWEST} patients with and without a class",
            ]
            for one in found
        ],
    )  # fmt: skip
    unit = "images" if subject.design.patients is None else "patients"
    asked = Asked(
        f"subgroups:{name}", f"Does {title} differ between the levels of {name}?", title, title,
        "below", f"Report the score by {name}; collect more of the levels that score lower.",
        said=drawn,
        seen=(
            f"An interval of ±{REACH:g} takes about {needed:.0f} {unit} with each class and without"
            " it."
            if np.isfinite(needed)
            else ""
        ),
        more=[Figure(f"{unit} of each class for an interval of ±{REACH:g}", needed)],
    )  # fmt: skip
    return answered(asked, levels, found, p, table)
