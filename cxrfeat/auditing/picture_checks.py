"""Pictures that are not what they should be: blank, bordered, cropped, turned, inverted, lateral.

The rules are simple and exact (`cxrfeat.images.checks`): blank and bordered pictures are told from
their own grey values; turned, inverted and cropped ones by correlation, at 32 x 32 pixels, with the
average of all others. Each of these detectors is tried on the user's own pictures: some are turned,
inverted, cropped or bordered, and how many of these are found, and of how many unaltered ones the
same is said, stands beside the verdict. On 317 frontal radiographs, altered one tenth at a time: a
turn is seen in 98 % (half a turn in 95 %), a negative in 99 %, no unaltered one is called either;
of pictures cut to 70 % of their side 37 % are seen where the middle is left and 86 % where a corner
is, with one false alarm. Smaller cuts, and pictures that are mirrored, cannot be seen.

A lateral view among frontal ones is told by the column ``view`` (or what DICOM says) alone: by its
grey values it cannot be told from an unusual frontal one without training for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cxrfeat.arrays import Pictures, RowNumbers
from cxrfeat.auditing.seen import BLANK, BORDER, Seen
from cxrfeat.evaluation.study.study import Study
from cxrfeat.images.checks import (
    CROPPED_TO,
    FEWEST_TO_COMPARE,
    cropped_against_the_rest,
    inverted_against_the_rest,
    turned_against_the_rest,
)
from cxrfeat.results.audit import Candidate, Check, Figure, Proof, Section, Verdict

TURNED, INVERTED, CROPPED, LATERAL = "turned", "inverted", "cropped", "lateral"

LATERAL_VIEWS = frozenset(("LL", "RL", "LLD", "RLD", "LAT", "LATERAL"))
FRONTAL_VIEWS = frozenset(("AP", "PA", "FRONTAL", "AP SUPINE", "AP ERECT"))

TRIED_SHARE, MOST_TRIED = 0.1, 200
"""Pictures that are altered to try the detectors: few, so that the average stays what it is."""
MOST_SHOWN = 50

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Kind:
    """What can be odd about a picture, found by comparison with the rest."""

    question: str
    note: str
    find: Callable[[Pictures], Flags]
    altered: Mapping[str, Callable[[Pictures], Pictures]]
    remedy: str


def _turned(small: Pictures) -> Flags:
    return turned_against_the_rest(small) > 0


def _cut(top: float, left: float) -> Callable[[Pictures], Pictures]:
    """Cut to a part and blow it up again, at the nearest pixels."""

    def cut(small: Pictures) -> Pictures:
        side = small.shape[1]
        at = (np.arange(side) + 0.5) / side * CROPPED_TO
        rows, columns = (
            np.minimum(((at + start) * side).astype(int), side - 1) for start in (top, left)
        )
        return small[:, rows][:, :, columns]

    return cut


_ROOM = 1 - CROPPED_TO
_COMPARED = {
    TURNED: _Kind(
        "Are pictures turned on their side or upside down?",
        "upright only after a turn",
        _turned,
        {
            "pictures turned by a quarter": lambda small: np.rot90(small, axes=(1, 2)),
            "pictures turned upside down": lambda small: np.rot90(small, 2, axes=(1, 2)),
        },
        "Turn them, or leave them out, and extract again.",
    ),
    INVERTED: _Kind(
        "Are pictures inverted?",
        "correlates negatively with the average of the others",
        inverted_against_the_rest,
        {"pictures made negatives": lambda small: 1 - small},
        "Invert them, or leave them out, and extract again.",
    ),
    CROPPED: _Kind(
        "Are pictures cut to a part of the chest?",
        "more like a part of the average, blown up, than like the whole",
        cropped_against_the_rest,
        {
            f"pictures cut to the middle {CROPPED_TO:.0%} of their side": _cut(
                _ROOM / 2, _ROOM / 2
            ),
            f"pictures cut to a corner of {CROPPED_TO:.0%} of their side": _cut(0.0, _ROOM),
        },
        "Look at them: what was cut away may be what the label is about.",
    ),
}


def picture_marks(study: Study, seen: Seen) -> dict[str, Flags]:
    """Say of each image what is odd about its picture, by kind; false where it was not looked at.

    Returns
    -------
    dict of str to ndarray of bool, shape (N,)
    """
    marks = {BLANK: seen.warnings[BLANK], BORDER: seen.warnings[BORDER]}
    small = seen.small[seen.rows]
    for name, kind in _COMPARED.items():
        marks[name] = np.zeros(len(study), bool)
        marks[name][seen.rows] = kind.find(small)
    marks[LATERAL] = _laterals(_views(study, seen))
    return marks


def picture_checks(study: Study, seen: Seen, seed: int = 0) -> list[Check]:
    """Ask for each kind whether there are such pictures; candidates are shown, nothing is done."""
    marks = picture_marks(study, seen)
    looked_at = len(seen.rows)
    checks = [
        _by_itself(
            study, BLANK, marks[BLANK], looked_at, "Are pictures blank, or nearly so?",
            "even, or more than 90 % of it black or white",
            "Leave them out: they say nothing, and their label is learned all the same.",
        ),
        _by_itself(
            study, BORDER, marks[BORDER], looked_at,
            "Do pictures have an even border?", "more than 5 % of it are even lines at its edges",
            "See whether the border goes with a class or a source: networks see it.",
        ),
    ]  # fmt: skip
    small = seen.small[seen.rows]
    for name, kind in _COMPARED.items():
        if len(small) < FEWEST_TO_COMPARE:
            checks.append(
                _untested(
                    name, kind.question,
                    f"only {len(small)} pictures could be looked at; {FEWEST_TO_COMPARE} are needed"
                    " to compare each with the others",
                )
            )  # fmt: skip
            continue
        check = _by_itself(
            study, name, marks[name], looked_at, kind.question, kind.note, kind.remedy
        )
        proofs, seen_words = _tried(small, kind, marks[name][seen.rows], seed)
        checks.append(Check(**{**vars(check), "proofs": proofs, "seen": seen_words}))
    checks.append(_lateral(study, seen, marks[LATERAL]))
    return checks


def _by_itself(
    study: Study, name: str, flags: Flags, looked_at: int, question: str, note: str, remedy: str
) -> Check:
    if not looked_at:
        return _untested(name, question, "no picture could be looked at (--images)")
    rows = np.flatnonzero(flags)
    found = Verdict.FOUND if len(rows) else Verdict.NOT_FOUND
    said = f"{'is' if len(rows) == 1 else 'are'} {'bordered' if name == BORDER else name}"
    return Check(
        f"pictures-{name}", Section.OUTLIERS, question, found,
        f"{len(rows)} of {looked_at} pictures {said}: {note}",
        figures=[Figure("pictures", float(len(rows))), Figure("share", len(rows) / looked_at)],
        candidates=_candidates(study, rows, note),
        remedy=remedy if len(rows) else "",
    )  # fmt: skip


def _untested(name: str, question: str, why: str) -> Check:
    return Check(f"pictures-{name}", Section.OUTLIERS, question, Verdict.UNTESTED, why)


def _candidates(study: Study, rows: RowNumbers, note: str) -> list[Candidate]:
    return [Candidate([study.ids[row]], 1.0, note) for row in rows[:MOST_SHOWN]]


def _tried(small: Pictures, kind: _Kind, flagged: Flags, seed: int) -> tuple[list[Proof], str]:
    """Alter some unflagged pictures and say how many of them are found, and of the others."""
    sound = np.flatnonzero(~flagged)
    count = min(MOST_TRIED, max(1, round(TRIED_SHARE * len(sound))))
    rows = np.random.default_rng(seed).permutation(sound)[:count]
    proofs = []
    for planted, alter in kind.altered.items():
        altered = small.copy()
        altered[rows] = alter(small[rows])
        found = kind.find(altered)
        right, wrong = int(found[rows].sum()), int(found.sum() - found[rows].sum() - flagged.sum())
        called = right + max(wrong, 0)
        proofs.append(
            Proof(
                planted, count / len(small), count, right / count,
                right / called if called else float("nan"),
            )
        )  # fmt: skip
    said = ", ".join(f"{proof.recall:.0%} of {proof.count} {proof.planted}" for proof in proofs)
    return proofs, f"It finds {said}."


def _views(study: Study, seen: Seen) -> list[str]:
    column = study.meta.get("view")
    declared = ["" if one is None else one.words.get("view", "") for one in seen.files]
    if column is None:
        return [view.upper() for view in declared]
    return [
        (of_table or of_file).upper()
        for of_table, of_file in zip(column.tolist(), declared, strict=True)
    ]


def _laterals(views: list[str]) -> Flags:
    """Flag laterals where most of the views that are known are frontal."""
    lateral = np.array([view in LATERAL_VIEWS for view in views], dtype=bool)
    frontal = sum(view in FRONTAL_VIEWS for view in views)
    return lateral if frontal > lateral.sum() else np.zeros(len(views), bool)


def _lateral(study: Study, seen: Seen, flags: Flags) -> Check:
    question = "Are lateral views among frontal ones?"
    views = _views(study, seen)
    known = sum(view in LATERAL_VIEWS | FRONTAL_VIEWS for view in views)
    if not known:
        return _untested(
            LATERAL, question,
            "no image says its view: a column 'view' (AP, PA, LATERAL) is needed; grey values alone"
            " do not tell",
        )  # fmt: skip
    rows = np.flatnonzero(flags)
    return Check(
        f"pictures-{LATERAL}", Section.OUTLIERS, question,
        Verdict.FOUND if len(rows) else Verdict.NOT_FOUND,
        f"{len(rows)} lateral among {known} images whose view is known, of {len(study)}",
        figures=[Figure("lateral images", float(len(rows)))],
        seen=f"The view of {known} of {len(study)} images is known.",
        candidates=_candidates(study, rows, "a lateral view among frontal ones"),
        remedy="Score views apart, or leave one out." if len(rows) else "",
    )  # fmt: skip
