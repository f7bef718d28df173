"""How pairs of copies are told: what they stand on both sides of, as candidates and as tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cxrfeat.arrays import RowNumbers
from cxrfeat.evaluation.audit.duplicate_pairs import KINDS, Pairs
from cxrfeat.evaluation.audit.subject import Subject
from cxrfeat.evaluation.study.folds import Fold
from cxrfeat.results.audit import Candidate, Table

SHOWN = 100
"""Pairs that a check names."""
LISTED = 10_000
"""Pairs in a table."""


def across_folds(pairs: RowNumbers, folds: Sequence[Fold]) -> npt.NDArray[np.bool_]:
    """Whether some fold learns from one of a pair and tests the other, shape (P,)."""
    apart = np.zeros(len(pairs), dtype=bool)
    for fold in folds:
        apart |= _sides(pairs, fold).sum(axis=1) == 3
    return apart


def _sides(pairs: RowNumbers, fold: Fold) -> npt.NDArray[np.int8]:
    """1 for what is learned from, 2 for what is tested."""
    side = np.zeros(
        1 + max(fold.train.max(initial=0), fold.test.max(initial=0), pairs.max(initial=0)), np.int8
    )
    side[fold.train], side[fold.test] = 1, 2
    return np.asarray(side[pairs])


def differ(subject: Subject, pairs: RowNumbers, column: str) -> npt.NDArray[np.bool_]:
    """Whether two have another value of a column each, shape (P,); no pair without that column."""
    values = subject.study.meta.get(column)
    if values is None:
        return np.zeros(len(pairs), dtype=bool)
    return np.asarray(values[pairs[:, 0]] != values[pairs[:, 1]])


def labels_differ(subject: Subject, pairs: RowNumbers) -> npt.NDArray[np.bool_]:
    """Whether two differ in a label that is known of both, shape (P,)."""
    a, b = (subject.study.labels[pairs[:, side]] for side in (0, 1))
    return np.asarray(((a != b) & np.isfinite(a) & np.isfinite(b)).any(axis=1))


def said_across(subject: Subject, found: Pairs, places: RowNumbers) -> str:
    """Count what some pairs stand on both sides of, as the end of a sentence."""
    pairs = found.pairs[places]
    said = [f"{int(across_folds(pairs, subject.design.folds).sum())} across folds"]
    if "split" in subject.study.meta:
        said.append(f"{int(differ(subject, pairs, 'split').sum())} across the split")
    if different := int(labels_differ(subject, pairs).sum()):
        said.append(f"{different} with different labels")
    return ": " + ", ".join(said)


def candidates(subject: Subject, found: Pairs, places: RowNumbers) -> list[Candidate]:
    """Show the nearest of some pairs, `SHOWN` at most, with what is known of both."""
    shown = places[np.argsort(-found.cosine[places], kind="stable")][:SHOWN]
    ids = subject.study.ids
    return [
        Candidate(
            [ids[a] for a in found.pairs[place]], float(found.cosine[place]),
            KINDS[found.kind[place]], facts,
        )
        for place, facts in zip(shown, _facts(subject, found, shown), strict=True)
    ]  # fmt: skip


def pair_tables(subject: Subject, found: Pairs, order: RowNumbers) -> list[Table]:
    """List pairs in an order, and groups of copies, `LISTED` of each at most."""
    ids = subject.study.ids
    order = order[:LISTED]
    facts = _facts(subject, found, order)
    names = list(dict.fromkeys(name for of in facts for name in of))
    pairs = Table(
        "duplicates",
        "Pairs of copies",
        ["image", "copy", *names],
        [
            [
                ids[found.pairs[place, 0]],
                ids[found.pairs[place, 1]],
                *(of.get(x, "") for x in names),
            ]
            for place, of in zip(order, facts, strict=True)
        ],
    )
    groups = Table(
        "duplicate-groups",
        "Groups of copies, in which every two are a pair",
        ["group", "images", "image"],
        [[k + 1, len(of), ids[row]] for k, of in enumerate(found.groups()[:LISTED]) for row in of],
    )
    return [pairs, groups]


def _facts(subject: Subject, found: Pairs, places: RowNumbers) -> list[dict[str, str]]:
    study, patients = subject.study, subject.design.patients
    pairs = found.pairs[places]
    crossing = across_folds(pairs, subject.design.folds)
    facts = []
    for k, (place, (a, b)) in enumerate(zip(places, pairs, strict=True)):
        of = {"kind": KINDS[found.kind[place]]}
        if found.by[place]:
            of["found by"] = found.by[place]
        of["labels"] = _two(label_text(subject, a), label_text(subject, b))
        if "split" in study.meta:
            of["split"] = _two(str(study.meta["split"][a]), str(study.meta["split"][b]))
        if patients is not None:
            of["patient"] = "the same" if patients[a] == patients[b] else "two"
        of["folds"] = "across" if crossing[k] else "together"
        for name, values in (
            ("cosine", found.cosine), ("bits of the hash", found.bits),
            ("correlation", found.correlation),
        ):  # fmt: skip
            if np.isfinite(values[place]):
                of[name] = f"{values[place]:.0f}" if name[0] == "b" else f"{values[place]:.3f}"
        facts.append(of)
    return facts


def label_text(subject: Subject, row: int) -> str:
    """Name the class of an image, or the labels that hold joined by a bar; "none" of these."""
    held = [
        name for name, value in zip(subject.study.classes, subject.study.labels[row], strict=True)
        if value == 1
    ]  # fmt: skip
    return "|".join(held) or "none"


def _two(one: str, other: str) -> str:
    return one if one == other else f"{one} / {other}"
