"""Images that are there more than once: which, across what, and what the score owes to them.

Three kinds of copies, from certain to likely: the same bytes, the same pixels, and near copies. A
copy that is learned from makes the test of the other one easy; Barz and Denzler (2020) found such
pairs in well-known collections.

References
----------
Barz B, Denzler J. Do we train on test data? Purging CIFAR of near-duplicates. Journal of Imaging
2020;6:41.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cxrfeat.evaluation.audit.copies import LAID_OVER, Copies
from cxrfeat.evaluation.audit.duplicate_pairs import Pairs, find_pairs, looked_at
from cxrfeat.evaluation.audit.duplicate_words import (
    LISTED,
    across_folds,
    candidates,
    differ,
    labels_differ,
    pair_tables,
    said_across,
)
from cxrfeat.evaluation.audit.planted_copies import planted_proofs
from cxrfeat.evaluation.audit.prints import PlantedCopies, Prints
from cxrfeat.evaluation.audit.score_without_copies import score_without_copies
from cxrfeat.evaluation.audit.subject import Subject
from cxrfeat.results.audit import Check, Figure, Proof, Section, Table, Verdict


def duplicate_checks(
    subject: Subject, prints: Prints | None, planted: Sequence[PlantedCopies]
) -> list[Check]:
    """Look for copies in every way there is, and score without them.

    Parameters
    ----------
    prints : Prints or None
        Of the images, in the order of the study; None without the files.
    planted
        Copies that are put among the images to see how many are found; empty where there are none.
    """
    found = find_pairs(subject, prints)
    return [
        _identical(subject, found, 0, True),
        _identical(subject, found, 1, prints is not None),
        _near(subject, found, prints, planted),
        _across(subject, found),
        _patients(subject, found),
        score_without_copies(subject, found),
    ]


def _identical(subject: Subject, found: Pairs, kind: int, looked: bool) -> Check:
    code = ("identical-bytes", "identical-pixels")[kind]
    what = ("byte for byte", "pixel for pixel, in files that differ,")[kind]
    question = f"Are there images that are {what} the same?"
    if not looked:
        return _untested(code, question, "The image files were not read; give them with --images.")
    places = found.of(kind)
    images = len(np.unique(found.pairs[places]))
    if not len(places):
        answer = f"No two of the {len(subject.study)} images are {what} the same."
    else:
        answer = (
            f"{_count(len(places), 'pair')} of images, {images} images in all, are {what} the"
            f" same{said_across(subject, found, places)}."
        )
    return Check(
        code,
        Section.DUPLICATES,
        question,
        Verdict.FOUND if len(places) else Verdict.NOT_FOUND,
        answer,
        [Figure("pairs", len(places)), Figure("images", images)],
        seen="every such pair: all digests are compared",
        candidates=candidates(subject, found, places),
        remedy="keep one of each pair" if len(places) else "",
    )


def _near(
    subject: Subject, found: Pairs, prints: Prints | None, planted: Sequence[PlantedCopies]
) -> Check:
    near, extractor = found.near, looked_at(subject)
    proofs = planted_proofs(subject, prints, found, planted)
    question = "Are there near copies: one radiograph saved, cut, brightened or turned anew?"
    places = found.of(2)
    how = f"in the embeddings of {extractor.name}"
    if prints is not None:
        how += ", the hashes" + (" and the pictures" if LAID_OVER in near.by else "")
    # Of images that are there several times each file makes pairs.
    files = "" if len(places) == len(near.pairs) else f", in {_count(len(places), 'pair')} of files"
    if len(near.pairs):
        answer = (
            f"{_count(len(near.pairs), 'pair')} of distinct images look like one radiograph"
            f" ({how}){files}{said_across(subject, found, places)}."
        )
    else:
        answer = f"No two of {len(found.first)} distinct images look like one radiograph ({how})."
    if near.searched < len(found.first):
        answer += (
            f" Embeddings were searched around {near.searched} of them, drawn at random: all would"
            " take too long."
        )
    return Check(
        "near-copies",
        Section.DUPLICATES,
        question,
        Verdict.FOUND if len(near.pairs) else Verdict.NOT_FOUND,
        answer,
        [
            Figure("pairs", len(near.pairs)),
            *_by_search(near),
            Figure("distinct images", len(found.first)),
        ],
        seen=_seen(proofs),
        proofs=proofs,
        candidates=candidates(subject, found, places),
        remedy=(
            "look at the pairs; keep one of each, or both under one patient" if len(places) else ""
        ),
    )


def _by_search(near: Copies) -> list[Figure]:
    """How many pairs each search finds, and how many none but it."""
    names = {name: "laying over each other" if name == LAID_OVER else name for name in near.by}
    searches = sum(by.astype(int) for by in near.by.values())
    found = [
        Figure(f"pairs that the {names[name]} finds", int(by.sum())) for name, by in near.by.items()
    ]
    if len(near.by) < 2:
        return found
    return found + [
        Figure(f"pairs that only the {names[name]} finds", int((by & (searches == 1)).sum()))
        for name, by in near.by.items()
    ]


def _seen(proofs: Sequence[Proof]) -> str:
    if not proofs:
        return "not known: no copies were planted"
    found = ", ".join(f"{one.planted} {one.recall:.0%}" for one in proofs)
    return f"of copies planted in these data: {found}"


def _across(subject: Subject, found: Pairs) -> Check:
    study = subject.study
    question = "Do copies stand on both sides of a fold or of the data's split, or in two classes?"
    crossing = across_folds(found.pairs, subject.design.folds)
    split, classes = differ(subject, found.pairs, "split"), labels_differ(subject, found.pairs)
    any_ = crossing | split | classes
    folds = subject.design.folds
    hit = sum(int(found.copies_of(fold.train)[fold.test].sum()) for fold in folds)
    share = hit / sum(len(fold.test) for fold in folds)
    groups = len(found.groups())
    figures = [
        Figure("pairs across folds", int(crossing.sum())),
        Figure("share of tested images with a copy among their training images", share),
        Figure("pairs across the split", int(split.sum()) if "split" in study.meta else np.nan),
        Figure("pairs in two classes", int(classes.sum())),
        Figure("pairs", len(found.pairs)),
        Figure("groups", groups),
    ]
    if any_.any():
        said = [
            f"{_count(int(crossing.sum()), 'pair')} across folds ({share:.1%} of tested images)"
        ]
        if "split" in study.meta:
            said.append(f"{int(split.sum())} across the split")
        said.append(f"{int(classes.sum())} with different labels")
        answer = f"Of {_count(len(found.pairs), 'pair')} of copies: {', '.join(said)}."
    elif len(found.pairs):
        answer = f"All {_count(len(found.pairs), 'pair')} of copies are on one side, in one class."
    else:
        answer = "No copies were found."
    order = np.argsort(~any_, kind="stable")
    return Check(
        "copies-across",
        Section.DUPLICATES,
        question,
        Verdict.FOUND if any_.any() else Verdict.NOT_FOUND,
        answer,
        figures,
        seen="pairs that the searches above found",
        candidates=candidates(subject, found, np.flatnonzero(any_)),
        tables=pair_tables(subject, found, order) if len(found.pairs) else [],
        remedy=(
            "keep copies together (one patient id for both) or keep one of each"
            if any_.any()
            else ""
        ),
    )


def _patients(subject: Subject, found: Pairs) -> Check:
    code, question = "patient-under-two-ids", "Does one patient seem to stand under two ids?"
    patients = subject.design.patients
    if patients is None:
        return _untested(
            code,
            question,
            "No patients are known; give their column with --group-column of extract.",
        )
    places = np.flatnonzero(patients[found.pairs[:, 0]] != patients[found.pairs[:, 1]])
    ends = np.sort(patients[found.pairs[places]], axis=1)
    both, place, times = np.unique(ends, axis=0, return_index=True, return_counts=True)
    order = np.argsort(-times, kind="stable")
    if len(both):
        answer = (
            f"{_count(len(both), 'pair')} of patients share copies of"
            f" {_count(int(times.sum()), 'pair')} of images."
        )
    else:
        answer = f"No copies are shared by two of {len(np.unique(patients))} patients."
    rows: list[list[str | float | int | None]] = [
        [str(both[k, 0]), str(both[k, 1]), int(times[k])] for k in order[:LISTED]
    ]
    table = Table(
        "patients-under-two-ids",
        "Patients that share copies",
        ["patient", "other", "pairs"],
        rows,
    )
    return Check(
        code,
        Section.DUPLICATES,
        question,
        Verdict.FOUND if len(both) else Verdict.NOT_FOUND,
        answer,
        [Figure("pairs of patients", len(both)), Figure("pairs of images", int(times.sum()))],
        seen=(
            "copies of one radiograph under two ids; another radiograph of the same person is not"
            " recognised unless it is as near as a copy"
        ),
        candidates=candidates(subject, found, places[place[order]]),
        tables=[table] if rows else [],
        remedy="give both ids one name in the patient column, if they are one person"
        if rows
        else "",
    )


def _untested(code: str, question: str, answer: str) -> Check:
    return Check(code, Section.DUPLICATES, question, Verdict.UNTESTED, answer)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
