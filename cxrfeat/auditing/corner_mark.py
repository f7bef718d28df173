"""A corner mark planted in the user's own pictures, which the audit has to find.

Two classes are dealt out among some of the images at random, within the true classes and patient by
patient, so that nothing in a picture can tell them apart. A white L, 8 % of the side, as side
markers are, is then drawn into the upper left corner of part of one class, the pictures are
embedded anew, and the same head learns on folds of its own. All that it scores comes from the mark,
and the truth is known:

- named: the test of attributes has to find ``corner mark``;
- the score has to fall to chance where the mark is not drawn, and where its part is taken off the
  embeddings;
- the frame, which holds the corner, has to tell the classes apart as a control.

It is planted in `RATES` of the class, from the same embeddings: the smallest rate that is found
says how rare a mark the audit would still have seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from cxrfeat.arrays import Matrix32, RowNumbers
from cxrfeat.auditing.pictures import CORNER_MARK, SMALL, Seen
from cxrfeat.errors import InputError
from cxrfeat.evaluation.audit.controls import NO_LUNGS, Control, climb
from cxrfeat.evaluation.audit.dealing import numbered
from cxrfeat.evaluation.audit.subject import Subject, score
from cxrfeat.evaluation.study.design import Asked, make_folds
from cxrfeat.images.masking import MARGINS, MARK_SIDE, OUTER_FRAME, outside
from cxrfeat.results.audit import Check, Figure, Proof, Section, Verdict
from cxrfeat.results.data import Interval

RATE = 0.8
RATES = (RATE, 0.4, 0.2, 0.1)
"""Shares of one class that have the mark; none of the other has it."""

SAMPLE = 300
"""Images that the mark is planted among, at most: marked ones have to be embedded anew."""
FEWEST = 60
FOLDS = 5

NAMED = "corner mark"

Detector = Callable[[Subject, str, Mapping[str, npt.NDArray[np.str_]]], list[Check]]
"""`evaluation.audit.attributes.attribute_checks`."""


@dataclass(frozen=True)
class Dealt:
    """Some images with classes that mean nothing.

    Attributes
    ----------
    rows : ndarray of int, shape (n,)
        In rising order.
    first : ndarray of bool, shape (n,)
        Whether an image is in the class that is marked.
    order : ndarray of int
        Places among `rows` of images of that class, in the order in which they are marked.
    """

    rows: RowNumbers
    first: npt.NDArray[np.bool_]
    order: RowNumbers

    def marked(self, rate: float) -> RowNumbers:
        """Places among `rows` that are marked at a rate."""
        return self.order[: round(rate * len(self.order))]

    @property
    def to_mark(self) -> RowNumbers:
        """Rows of the study that have to be shown with a mark: `pictures.Asked.marked`."""
        return np.sort(self.rows[self.marked(max(RATES))])


def deal(subject: Subject) -> Dealt:
    """Deal out two classes among some patients, balanced within the true classes."""
    random = np.random.default_rng([subject.seed, 2])
    patient = numbered(subject.design.patients, len(subject.study))
    first_image = np.unique(patient, return_index=True)[1]
    stratum = np.unique(
        np.nan_to_num(subject.study.labels[first_image], nan=-1.0), axis=0, return_inverse=True
    )[1].ravel()
    shuffled = random.permutation(len(first_image))
    size = np.bincount(patient)[shuffled]
    chosen = shuffled[: max(1, int(np.searchsorted(np.cumsum(size), SAMPLE, side="right")))]
    in_first = np.zeros(len(first_image), bool)
    turn = False
    for one in sorted(chosen, key=lambda p: stratum[p]):  # stable: in random order within a class
        in_first[one], turn = turn, not turn
    rows = np.flatnonzero(np.isin(patient, chosen))
    first = in_first[patient[rows]]
    return Dealt(rows, first, random.permutation(np.flatnonzero(first)))


def corner_mark_check(
    subject: Subject, seen: Seen, dealt: Dealt, extractor: str, detect: Detector
) -> Check:
    """Ask whether a corner mark would have been found, by planting it at several rates.

    Parameters
    ----------
    subject
        The whole, in the order of `seen`.
    seen
        With `dealt.to_mark` among what was asked.
    detect
        The test of attributes.

    Returns
    -------
    Check
        Found where the mark is named at `RATE`, as it has to be; *not found* says that the audit
        is blind to such a mark here.
    """
    code, question = f"planted-corner-mark:{extractor}", "Would a corner mark have been found?"

    def untested(why: str) -> Check:
        return Check(code, Section.ATTRIBUTES, question, Verdict.UNTESTED, why)

    if (CORNER_MARK, extractor) not in seen.X:
        return untested("pictures with a mark were not embedded: leave --quick out")
    there = np.isin(dealt.rows, seen.rows)
    if there.sum() < FEWEST:
        return untested(
            f"only {int(there.sum())} pictures could be looked at; {FEWEST} are needed to plant it"
        )
    place = np.cumsum(there) - 1
    here = Dealt(dealt.rows[there], dealt.first[there], place[[p for p in dealt.order if there[p]]])
    try:
        asked = _asked(subject, here, extractor)
    except InputError as error:
        return untested(f"folds cannot be made of classes that are dealt out: {error}")
    planted = [_plant(asked, seen, here, extractor, detect, rate) for rate in RATES]
    return _told(code, question, asked, extractor, planted)


@dataclass(frozen=True)
class _Planted:
    """What came of a mark at one rate."""

    rate: float
    count: int
    found: bool
    score: float
    interval: Interval
    without: float
    removed: Figure
    frame: float
    frame_found: bool


def _asked(subject: Subject, here: Dealt, extractor: str) -> Subject:
    """Make the planted study: its classes mean nothing yet."""
    part = subject.of(here.rows, [extractor])
    patients = part.design.patients
    study = replace(
        part.study,
        classes=["unmarked class", "marked class"],
        kind="multiclass",
        labels=np.eye(2, dtype=np.float32)[here.first.astype(int)],
        meta={} if patients is None else {"group": np.asarray(patients)},
        notes=[],
    )
    return replace(
        subject, study=study, design=make_folds(study, Asked(cv=FOLDS, seed=subject.seed))
    )


def _plant(
    asked: Subject, seen: Seen, here: Dealt, extractor: str, detect: Detector, rate: float
) -> _Planted:
    marked = here.marked(rate)
    plain = asked.extractor(extractor).X
    X = plain.copy()
    X[marked] = seen.X[CORNER_MARK, extractor][here.rows[marked]]
    column = np.full(len(here.rows), "without", dtype="<U7")
    column[marked] = "with"
    with_mark = replace(
        asked,
        study=replace(asked.study, extractors=[replace(asked.study.extractors[0], X=X)]),
    )
    checks = detect(with_mark, extractor, {NAMED: column})
    (named,) = (check for check in checks if check.code == f"attribute:{NAMED}")
    fall = next(
        (figure for figure in named.figures if figure.name.endswith(f"{NAMED}, plain")),
        Figure("", float("nan")),
    )
    frame = Control("frame", NO_LUNGS, _frame(seen, here, marked))
    ladder = climb(with_mark, extractor, [frame])
    (of_frame,) = ladder.blind
    return _Planted(
        rate=rate,
        count=len(marked),
        found=named.verdict is Verdict.FOUND,
        score=ladder.full.score.mean,
        interval=ladder.full.score.interval,
        without=_score_without(with_mark, plain),
        removed=fall,
        frame=of_frame.score.mean,
        frame_found=ladder.above_chance(of_frame, 1),
    )


def _frame(seen: Seen, here: Dealt, marked: RowNumbers) -> Matrix32:
    small = seen.small[here.rows].copy()
    small[marked] = seen.small_marked[here.rows[marked]]
    return small[:, outside(SMALL, MARGINS[OUTER_FRAME])]


def _score_without(with_mark: Subject, plain: Matrix32) -> float:
    """Score models that learned with the mark on the same test images without it."""
    study, design = with_mark.study, with_mark.design
    n = len(study)
    (one,) = study.extractors
    twice = replace(
        study,
        ids=[*study.ids, *(f"without the mark: {id_}" for id_ in study.ids)],
        sha256=[*study.sha256, *study.sha256],
        labels=np.concatenate([study.labels, study.labels]),
        meta={name: np.concatenate([column, column]) for name, column in study.meta.items()},
    )

    def doubled(groups: npt.NDArray[np.str_] | None) -> npt.NDArray[np.str_] | None:
        return None if groups is None else np.concatenate([groups, groups])

    apart = replace(
        with_mark,
        study=twice,
        design=replace(
            design,
            folds=[replace(fold, test=fold.test + n) for fold in design.folds],
            groups=doubled(design.groups),
            patients=doubled(design.patients),
        ),
    )
    X = np.concatenate([one.X, plain])
    return score(apart, {one.name: X}).extractors[0].mean


def _told(
    code: str, question: str, asked: Subject, extractor: str, planted: list[_Planted]
) -> Check:
    first, title = planted[0], asked.metric.title
    smallest = min((one.rate for one in planted if one.found), default=float("nan"))
    answer = (
        f"a white L of {MARK_SIDE:.0%} of the side in {first.rate:.0%} of a class that means"
        f" nothing gives {extractor} {title} {first.score:.3f}; without the mark the same models"
        f" have {first.without:.3f}; the attribute test"
        f" {'names it' if first.found else 'does not name it'}, and the outer frame alone has"
        f" {first.frame:.3f}"
    )
    if first.found:
        answer += f"; it is named down to a rate of {smallest:.0%}"
    return Check(
        code, Section.ATTRIBUTES, question,
        Verdict.FOUND if first.found else Verdict.NOT_FOUND, answer,
        figures=[
            Figure(f"{title} with the mark", first.score, first.interval),
            Figure(f"{title} of the same models without the mark", first.without),
            Figure(
                f"fall of {title} where the mark's part is taken off", first.removed.value,
                first.removed.interval,
            ),
            Figure(f"{title} of the outer frame, 32 x 32 pixels", first.frame),
        ],
        seen=(
            "The mark is named at "
            + ", ".join(f"{p.rate:.0%}" for p in planted if p.found)
            + "; the frame alone is above chance at "
            + (", ".join(f"{p.rate:.0%}" for p in planted if p.frame_found) or "none")
            + f" of the rates {', '.join(f'{p.rate:.0%}' for p in planted)}."
            if first.found
            else "The mark is not named at any rate that was planted."
        ),
        detectable=smallest,
        proofs=[
            Proof(f"a corner mark in {p.rate:.0%} of a class", p.rate, p.count, float(p.found))
            for p in planted
        ],
        remedy=(
            ""
            if first.found
            else "Do not take 'not found' for an attribute as proof that it is not used."
        ),
    )  # fmt: skip
