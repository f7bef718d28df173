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
from cxrfeat.auditing.asked_of_pictures import CORNER_MARK
from cxrfeat.auditing.seen import SMALL, Seen
from cxrfeat.errors import InputError
from cxrfeat.evaluation.audit.controls import NO_LUNGS, Control, Rung, climb
from cxrfeat.evaluation.audit.dealing import numbered
from cxrfeat.evaluation.audit.partial_confounder import LEVEL, confounder_tests, within_class
from cxrfeat.evaluation.audit.predictions import predict
from cxrfeat.evaluation.audit.subject import Subject, score
from cxrfeat.evaluation.study.design import Asked, make_folds
from cxrfeat.images.masking import MARGINS, MARK_SIDE, OUTER_FRAME, outside
from cxrfeat.results.audit import Check, Figure, Proof, Section, Verdict

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
    planted = _plant(asked, seen, here, extractor, detect)
    at = {RATE: planted.named.verdict is Verdict.FOUND}
    at |= {rate: _named_at(asked, seen, here, extractor, rate) for rate in RATES if rate != RATE}
    return _told(code, question, asked, extractor, planted, here, at)


@dataclass(frozen=True)
class _Planted:
    """What came of a mark at `RATE`.

    Attributes
    ----------
    named : Check
        What the test of attributes says of it.
    full, frame : Rung
        Of the marked pictures, and of their frames.
    without : float
        The score of the same models on the same pictures without the mark.
    frame_found : bool
        Whether the frame is above chance.
    """

    named: Check
    full: Rung
    frame: Rung
    without: float
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


def _with_mark(
    asked: Subject, seen: Seen, here: Dealt, extractor: str, rate: float
) -> tuple[Subject, npt.NDArray[np.bool_]]:
    """Put marked pictures in the place of some of the marked class; also say which."""
    marked = np.zeros(len(here.rows), bool)
    marked[here.marked(rate)] = True
    (one,) = asked.study.extractors
    X = one.X.copy()
    X[marked] = seen.X[CORNER_MARK, extractor][here.rows[marked]]
    return replace(asked, study=replace(asked.study, extractors=[replace(one, X=X)])), marked


def _plant(asked: Subject, seen: Seen, here: Dealt, extractor: str, detect: Detector) -> _Planted:
    planted, marked = _with_mark(asked, seen, here, extractor, RATE)
    checks = detect(planted, extractor, {NAMED: np.where(marked, "with", "without")})
    (named,) = (check for check in checks if check.code == f"attribute:{NAMED}")
    ladder = climb(planted, extractor, [Control("frame", NO_LUNGS, _frame(seen, here, marked))])
    (frame,) = ladder.blind
    plain = asked.extractor(extractor).X
    without = _score_without(planted, plain)
    return _Planted(named, ladder.full, frame, without, ladder.above_chance(frame, 1))


def _named_at(asked: Subject, seen: Seen, here: Dealt, extractor: str, rate: float) -> bool:
    """Ask the same test as `detect` does, and nothing beside it, at another rate."""
    planted, marked = _with_mark(asked, seen, here, extractor, rate)
    predicted = predict(planted, planted.extractor(extractor).X)
    residuals = within_class(predicted, planted.study.labels.astype(np.float64), True)
    tests = confounder_tests(planted, residuals, marked.astype(np.intp), seed=asked.seed)
    return bool(tests.p <= LEVEL)


def _frame(seen: Seen, here: Dealt, marked: npt.NDArray[np.bool_]) -> Matrix32:
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
    code: str,
    question: str,
    asked: Subject,
    extractor: str,
    planted: _Planted,
    here: Dealt,
    at: Mapping[float, bool],
) -> Check:
    title, full, frame = asked.metric.title, planted.full.score, planted.frame.score
    named = at[RATE]
    rates = ", ".join(f"{rate:.0%}" for rate, found in at.items() if found)
    answer = (
        f"a white L of {MARK_SIDE:.0%} of the side in {RATE:.0%} of a class that means nothing"
        f" gives {extractor} {title} {full.mean:.3f}; without the mark the same models have"
        f" {planted.without:.3f}; the outer frame alone has {frame.mean:.3f}; the test of"
        f" attributes {'names it' if named else 'does not name it'}"
    )
    nothing = Figure("", float("nan"))
    called = f"fall without {NAMED}, plain"
    fall = next((figure for figure in planted.named.figures if figure.name == called), nothing)
    return Check(
        code, Section.ATTRIBUTES, question,
        Verdict.FOUND if named else Verdict.NOT_FOUND, answer,
        figures=[
            Figure(f"{title} with the mark", full.mean, full.interval),
            Figure(f"{title} of the same models without the mark", planted.without),
            replace(fall, name=f"fall of {title} where the mark's part is taken off"),
            Figure(f"{title} of the outer frame, 32 x 32 pixels", frame.mean, frame.interval),
        ],
        seen=(
            f"Of a mark in {', '.join(f'{rate:.0%}' for rate in at)} of the class, it is named at"
            f" {rates or 'none'}; at {RATE:.0%} the outer frame is"
            f" {'' if planted.frame_found else 'not '}above chance."
        ),
        detectable=min((rate for rate, found in at.items() if found), default=float("nan")),
        proofs=[
            Proof(
                f"a corner mark in {rate:.0%} of a class", rate, len(here.marked(rate)),
                float(found),
            )
            for rate, found in at.items()
        ],
        remedy=(
            ""
            if named
            else "Do not take 'not found' for an attribute as proof that it is not used."
        ),
    )  # fmt: skip
