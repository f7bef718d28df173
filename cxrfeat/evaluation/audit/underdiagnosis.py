"""Rates of underdiagnosis by the levels of a column.

Of the images with a finding, the share that is called free of any (Seyyed-Kalantari 2021); beside
it the share of the images without a finding that is called ill. Where one class is named after
nothing being wrong (`NORMAL`), calling that class, or none, is what counts as free; of labels
without such a one, calling none.

References
----------
Seyyed-Kalantari L, Zhang H, McDermott MBA, Chen IY, Ghassemi M. Underdiagnosis bias of artificial
intelligence algorithms applied to chest radiographs in under-served patient populations. Nat Med
2021;27:2176-2182.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cxrfeat.evaluation.audit.dealing import numbered
from cxrfeat.evaluation.audit.level_differences import Asked, LevelFigure, answered, row
from cxrfeat.evaluation.audit.levels import Levels, slug
from cxrfeat.evaluation.audit.predictions import Difference, Predicted
from cxrfeat.evaluation.audit.proportions import Share, share_of
from cxrfeat.evaluation.audit.subject import Subject
from cxrfeat.evaluation.statistics.metrics.decisions import decide
from cxrfeat.results.audit import Check, Section, Table, Verdict

NORMAL = ("normal", "no finding", "no findings", "healthy", "negative", "none", "clear")
"""Names of the class that says that nothing is wrong, in lower case and with blanks."""


@dataclass(frozen=True)
class Calls:
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


def calls_of(subject: Subject, predicted: Predicted) -> Calls | None:
    """Decide who is called free of any finding; None where no class says so."""
    truth, exclusive = subject.study.labels.astype(np.float64), subject.exclusive
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
    return Calls(tested & (ill | healthy), ill, free)


def rates_by_level(subject: Subject, calls: Calls | None, levels: Levels) -> list[LevelFigure]:
    """Rate of underdiagnosis of each level; empty where no class says that nothing is wrong."""
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
        found.append(
            LevelFigure(
                levels.name, name, under.patients, under.value, under.interval, gap,
                ([under.images, under.patients], [over.images, over.value, *over.interval]),
            )
        )  # fmt: skip
    return found


def underdiagnosis_check(
    levels: Levels,
    found: Sequence[LevelFigure],
    p: Mapping[tuple[str, str], float],
    drawn: str,
) -> Check:
    """Ask whether the ill of some level are called free of any finding more often.

    Parameters
    ----------
    found : list of LevelFigure
        From `rates_by_level`; empty where no class says that nothing is wrong.
    p : mapping of (str, str) to float
        Adjusted p-values by column and level.
    drawn : str
        Said after the answer.
    """
    name = levels.name
    code = f"underdiagnosis:{name}"
    question = f"Are the ill called free of any finding more often at some level of {name}?"
    if not found:
        return Check(
            code, Section.SUBGROUPS, question, Verdict.UNTESTED,
            f"No class says that nothing is wrong; one of the names {', '.join(NORMAL)} would be"
            " taken for it.",
        )  # fmt: skip
    table = Table(
        f"underdiagnosis-by-{slug(name)}",
        f"Underdiagnosis by {name}",
        [
            name, "ill images", "ill patients", "called free of any finding", "low", "high",
            "above the others by", "from", "to", "p (Holm)", "images without a finding",
            "called ill", "low ", "high ",
        ],
        [row(one, p) for one in found],
    )  # fmt: skip
    asked = Asked(
        code, question, "The rate of underdiagnosis", "underdiagnosis", "above",
        f"Give the rates by {name}, set thresholds with them in view, and learn from more ill"
        " patients of the levels where they are missed.",
        said=drawn,
    )  # fmt: skip
    return answered(asked, levels, found, p, table)
