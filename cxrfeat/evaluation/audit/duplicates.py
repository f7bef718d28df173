"""Images that are there more than once: which, across what, and what the score owes to them.

Three kinds of copies, from certain to likely: the same bytes, the same pixels, and near copies
(`cxrfeat.evaluation.audit.copies`). A copy that is learned from makes the test of the other one
easy; Barz and Denzler (2020) found such pairs in well-known collections. Groups of copies are
complete: all their members are pairs, so that nothing chains.

The score is taken again with copies on one side only, in two ways: on the same folds, learning
from no image that is a copy of a tested one (the same images are tested, so that the difference is
paired); and on folds that are drawn anew with the same seed, copies counted as one patient (not
paired: both intervals are given).

References
----------
Barz B, Denzler J. Do we train on test data? Purging CIFAR of near-duplicates. Journal of Imaging
2020;6:41.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from cxrfeat.arrays import Matrix, RowNumbers
from cxrfeat.errors import InputError
from cxrfeat.evaluation.audit.copies import (
    LAID_OVER,
    Copies,
    complete_groups,
    components,
    find_copies,
    identical,
)
from cxrfeat.evaluation.audit.nearest import numbered
from cxrfeat.evaluation.audit.prints import PlantedCopies, Prints
from cxrfeat.evaluation.audit.subject import Subject, score
from cxrfeat.evaluation.outcome.extractor_scores import score_extractors
from cxrfeat.evaluation.outcome.near_copies import EVERY
from cxrfeat.evaluation.statistics.extractor_comparison import compare
from cxrfeat.evaluation.study import folds as folding
from cxrfeat.evaluation.study.folds import Fold
from cxrfeat.evaluation.study.study import Extractor
from cxrfeat.results import Comparison, ExtractorScore
from cxrfeat.results.audit import Candidate, Check, Figure, Proof, Section, Table, Verdict

SHOWN = 100
"""Pairs that a check names."""
LISTED = 10_000
"""Pairs in a table."""
EACH = 50
"""Of one image that is there more often, as many are paired with each of the others."""
KEPT = 0.5
"""Of the images that a fold learns from, the share that must be left to take the score again."""
KINDS = ("identical bytes", "identical pixels", "near copy")


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
    found = _find(subject, prints)
    return [
        _identical(subject, found, 0, True),
        _identical(subject, found, 1, prints is not None),
        _near(subject, found, prints, planted),
        _across(subject, found),
        _patients(subject, found),
        _scored_again(subject, found),
    ]


@dataclass(frozen=True)
class _Found:
    """All pairs; `kind` is a place in `KINDS`, `near` is about the distinct images.

    `first` has the first row of each distinct image, `image` the place among these that each row
    shows.
    """

    pairs: RowNumbers
    kind: RowNumbers
    cosine: Matrix
    bits: Matrix
    correlation: Matrix
    by: list[str]
    near: Copies
    first: RowNumbers
    image: RowNumbers

    def of(self, kind: int) -> RowNumbers:
        return np.flatnonzero(self.kind == kind)

    def copies_of(self, rows: RowNumbers) -> npt.NDArray[np.bool_]:
        """Which of all rows show the same as some of `rows`, or are near copies of these."""
        shown = np.zeros(len(self.first), dtype=bool)
        shown[self.image[rows]] = True
        alike = shown.copy()
        for a, b in (self.near.pairs.T, self.near.pairs.T[::-1]):
            alike[a[shown[b]]] = True
        return np.asarray(alike[self.image])

    def groups(self) -> list[list[int]]:
        """Rows in groups of which every two are copies of each other, the largest first."""
        near = complete_groups(self.near.pairs, self.near.cosine)
        alone = np.setdiff1d(np.arange(len(self.first)), np.concatenate([[], *near]).astype(int))
        members = _members(self.image)
        found = [
            sorted(row for image in of for row in members[image])
            for of in [*near, *([int(image)] for image in alone)]
        ]
        return sorted((of for of in found if len(of) > 1), key=lambda of: (-len(of), of))


def looked_at(subject: Subject) -> Extractor:
    """Choose the extractor that copies and outliers are looked for with: the first pretrained."""
    alone = [one for one in subject.study.extractors if not one.widths]
    return next((one for one in alone if not one.control), (alone or subject.study.extractors)[0])


def classes_of(subject: Subject) -> npt.NDArray[np.intp]:
    """Give the class of each image; all 0 where any number of labels may hold."""
    study = subject.study
    return study.y if subject.exclusive else np.zeros(len(study), dtype=np.intp)


def _find(subject: Subject, prints: Prints | None) -> _Found:
    sha = np.array(subject.study.sha256, dtype=np.str_)
    bytes_ = identical(sha)
    pixels = bytes_ if prints is None else identical(sha, prints.pixels)
    _, first, image = np.unique(pixels, return_index=True, return_inverse=True)
    order = np.argsort(first)
    first, image = first[order], np.argsort(order)[image]
    near = _search(subject, prints, first)
    of_bytes, of_pixels = _pairs_within(bytes_), _pairs_within(pixels)
    of_pixels = of_pixels[bytes_[of_pixels[:, 0]] != bytes_[of_pixels[:, 1]]]
    members = _members(image)
    spread = [
        (min(x, y), max(x, y), place)
        for place, (a, b) in enumerate(near.pairs.tolist())
        for x in members[a][:EACH]
        for y in members[b][:EACH]
    ]
    of_near = np.array(spread, dtype=np.intp).reshape(-1, 3)
    place, exact = of_near[:, 2], len(of_bytes) + len(of_pixels)
    names = [
        ", ".join(name for name, by in near.by.items() if by[k]) for k in range(len(near.pairs))
    ]
    return _Found(
        np.concatenate([of_bytes, of_pixels, of_near[:, :2]]),
        np.repeat([0, 1, 2], [len(of_bytes), len(of_pixels), len(of_near)]),
        np.concatenate([np.ones(exact), near.cosine[place]]),
        np.concatenate([np.zeros(exact), near.bits[place]]),
        np.concatenate([np.ones(exact), near.correlation[place]]),
        [""] * exact + [names[k] for k in place],
        near,
        first,
        image,
    )


def _search(subject: Subject, prints: Prints | None, rows: RowNumbers) -> Copies:
    patients = subject.design.patients
    return find_copies(
        looked_at(subject).X[rows],
        None if prints is None else _rows(prints, rows),
        classes_of(subject)[rows],
        None if patients is None else patients[rows],
        seed=subject.seed,
        jobs=subject.jobs,
    )


def _rows(prints: Prints, rows: RowNumbers) -> Prints:
    return Prints(
        prints.pixels[rows],
        prints.hashes[rows],
        prints.readable[rows],
        None if prints.small is None else prints.small[rows],
    )


def _members(numbers: RowNumbers) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for row, number in enumerate(numbers.tolist()):
        found.setdefault(number, []).append(row)
    return found


def _pairs_within(numbers: RowNumbers) -> RowNumbers:
    """Pairs of rows with the same number: all, but in a heap only those with its first ones."""
    pairs = [
        (a, b)
        for rows in _members(numbers).values()
        if len(rows) > 1
        for place, b in enumerate(rows)
        for a in rows[:place][:EACH]
    ]
    return np.array(pairs, dtype=np.intp).reshape(-1, 2)


def _identical(subject: Subject, found: _Found, kind: int, looked: bool) -> Check:
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
            f" same{_said_across(subject, found, places)}."
        )
    return Check(
        code,
        Section.DUPLICATES,
        question,
        Verdict.FOUND if len(places) else Verdict.NOT_FOUND,
        answer,
        [Figure("pairs", len(places)), Figure("images", images)],
        seen="every such pair: all digests are compared",
        candidates=_candidates(subject, found, places),
        remedy="keep one of each pair" if len(places) else "",
    )


def _near(
    subject: Subject, found: _Found, prints: Prints | None, planted: Sequence[PlantedCopies]
) -> Check:
    near, extractor = found.near, looked_at(subject)
    proofs = _proofs(subject, prints, found, planted)
    question = "Are there near copies: one radiograph saved, cut, brightened or turned anew?"
    figures = [
        Figure("pairs", len(near.pairs)),
        *(
            Figure(f"pairs that the {_search_name(name)} finds", int(by.sum()))
            for name, by in near.by.items()
        ),
        *(
            Figure(
                f"pairs that only the {_search_name(name)} finds",
                int((by & ~_any([of for other, of in near.by.items() if other != name], by)).sum()),
            )
            for name, by in near.by.items()
            if len(near.by) > 1
        ),
        Figure("distinct images", len(found.first)),
    ]
    places = found.of(2)
    how = f"in the embeddings of {extractor.name}"
    if prints is not None:
        how += ", the hashes" + (" and the pictures" if LAID_OVER in near.by else "")
    if len(near.pairs):
        answer = (
            f"{_count(len(near.pairs), 'pair')} of distinct images look like one radiograph"
            f" ({how}){_said_across(subject, found, places)}."
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
        figures,
        seen=_seen(proofs),
        proofs=proofs,
        candidates=_candidates(subject, found, places),
        remedy=(
            "look at the pairs; keep one of each, or both under one patient" if len(places) else ""
        ),
    )


def _any(
    many: Sequence[npt.NDArray[np.bool_]], like: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    return np.any(many, axis=0) if many else np.zeros_like(like)


def _search_name(name: str) -> str:
    return "laying over each other" if name == LAID_OVER else name


def _seen(proofs: Sequence[Proof]) -> str:
    if not proofs:
        return "not known: no copies were planted"
    found = ", ".join(f"{one.planted} {one.recall:.0%}" for one in proofs)
    return f"of copies planted in these data: {found}"


def _across(subject: Subject, found: _Found) -> Check:
    study = subject.study
    question = "Do copies stand on both sides of a fold or of the data's split, or in two classes?"
    crossing = across_folds(found.pairs, subject.design.folds)
    split, classes = _differ(subject, found.pairs, "split"), _labels_differ(subject, found.pairs)
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
        candidates=_candidates(subject, found, np.flatnonzero(any_)),
        tables=_tables(subject, found, order) if len(found.pairs) else [],
        remedy=(
            "keep copies together (one patient id for both) or keep one of each"
            if any_.any()
            else ""
        ),
    )


def _patients(subject: Subject, found: _Found) -> Check:
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
        candidates=_candidates(subject, found, places[place[order]]),
        tables=[table] if rows else [],
        remedy="give both ids one name in the patient column, if they are one person"
        if rows
        else "",
    )


def _scored_again(subject: Subject, found: _Found) -> Check:
    code, question = "score-without-copies", "Does the score fall when no copy is learned from?"
    design = subject.design
    apart = [
        replace(fold, train=fold.train[~found.copies_of(fold.test)[fold.train]])
        for fold in design.folds
    ]
    if all(len(a.train) == len(b.train) for a, b in zip(apart, design.folds, strict=True)):
        return Check(
            code, Section.DUPLICATES, question, Verdict.NOT_FOUND,
            "No copy of a tested image was learned from, so the score owes nothing to copies.",
            seen="pairs that the searches above found",
        )  # fmt: skip
    if any(len(a.train) < KEPT * len(b.train) for a, b in zip(apart, design.folds, strict=True)):
        return _untested(
            code,
            question,
            "Without copies too few images are left to learn from: keep one of each.",
        )
    pair, scores = _paired(subject, apart)
    as_is, without = scores
    metric = subject.metric
    gap = pair.difference
    found_it = pair.interval[0] > 0
    answer = (
        f"{metric.title} {as_is.mean:.3f} as it is, {without.mean:.3f} when no copy of a tested"
        f" image is learned from: {'a fall' if gap > 0 else 'no fall'} of {gap:.3f} (95 % interval"
        f" {pair.interval[0]:.3f} to {pair.interval[1]:.3f}, paired: the same tested images)."
    )
    figures = [
        Figure("fall of the score", gap, pair.interval),
        Figure(f"{metric.title} as it is", as_is.mean, as_is.interval),
        Figure(f"{metric.title} without copies of tested images", without.mean, without.interval),
    ]
    anew = _drawn_anew(subject, found)
    if anew is not None:
        figures.append(
            Figure(f"{metric.title} on new folds, copies together", anew.mean, anew.interval)
        )
        answer += (
            f" On folds drawn anew with copies together it is {anew.mean:.3f} (interval"
            f" {anew.interval[0]:.3f} to {anew.interval[1]:.3f}; not paired)."
        )
    return Check(
        code, Section.DUPLICATES, question,
        Verdict.FOUND if found_it else Verdict.NOT_FOUND,
        answer,
        figures,
        seen=f"a fall of {pair.detectable:.3f} with 80 % probability",
        detectable=pair.detectable,
        remedy="report the score without copies" if found_it else "",
    )  # fmt: skip


def _paired(subject: Subject, apart: list[Fold]) -> tuple[Comparison, list[ExtractorScore]]:
    """Compare the folds as they are with those that learn from less, on the same tested images."""
    extractor = looked_at(subject)
    scores, evidence = [], {}
    for name, folds in (("as it is", subject.design.folds), ("without copies", apart)):
        of = replace(subject, design=replace(subject.design, folds=folds))
        (one,), proof = score_extractors(score(of, {name: extractor.X}).out_of_fold)
        scores.append(one)
        evidence[name] = proof[name]
    folds = subject.design.folds
    images = len(np.unique(np.concatenate([fold.test for fold in folds])))
    (pair,) = compare(scores, evidence, folds, subject.metric, rope=0.01, images=images)
    return pair, scores


def _drawn_anew(subject: Subject, found: _Found) -> ExtractorScore | None:
    """Score on new folds with copies as one patient; None where folds were not drawn by lot."""
    study, design, extractor = subject.study, subject.design, looked_at(subject)
    cv = sum(fold.repeat == 0 for fold in design.folds)
    drawn = [fold.name for fold in design.folds if fold.repeat == 0]
    if drawn != [f"fold {number + 1}" for number in range(cv)] or cv < 2:
        return None
    patients = numbered(design.groups, len(study))
    _, first = np.unique(patients, return_index=True)
    every = np.arange(len(study))
    of_patient = np.stack([every, first[patients]], axis=1)
    same = np.stack([every, found.first[found.image]], axis=1)
    near = found.first[found.near.pairs]
    joined = components(len(study), np.concatenate([of_patient, same, near]))
    groups = joined.astype(np.str_)
    strata = study.y if subject.exclusive else folding.label_strata(study.labels, groups, cv)
    try:
        folds = folding.cross_validation(
            strata, groups, cv=cv, repeats=1 + max(fold.repeat for fold in design.folds),
            seed=subject.seed, classes=study.classes, exclusive=subject.exclusive,
        )  # fmt: skip
    except InputError:  # a class of fewer groups than folds
        return None
    of = replace(subject, design=replace(design, folds=folds, groups=groups))
    return score(of, {extractor.name: extractor.X}).extractors[0]


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


def _differ(subject: Subject, pairs: RowNumbers, column: str) -> npt.NDArray[np.bool_]:
    values = subject.study.meta.get(column)
    if values is None:
        return np.zeros(len(pairs), dtype=bool)
    return np.asarray(values[pairs[:, 0]] != values[pairs[:, 1]])


def _labels_differ(subject: Subject, pairs: RowNumbers) -> npt.NDArray[np.bool_]:
    a, b = (subject.study.labels[pairs[:, side]] for side in (0, 1))
    return np.asarray(((a != b) & np.isfinite(a) & np.isfinite(b)).any(axis=1))


def _said_across(subject: Subject, found: _Found, places: RowNumbers) -> str:
    pairs = found.pairs[places]
    said = [f"{int(across_folds(pairs, subject.design.folds).sum())} across folds"]
    if "split" in subject.study.meta:
        said.append(f"{int(_differ(subject, pairs, 'split').sum())} across the split")
    if different := int(_labels_differ(subject, pairs).sum()):
        said.append(f"{different} with different labels")
    return ": " + ", ".join(said)


def _facts(subject: Subject, found: _Found, places: RowNumbers) -> list[dict[str, str]]:
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


def _candidates(subject: Subject, found: _Found, places: RowNumbers) -> list[Candidate]:
    shown = places[np.argsort(-found.cosine[places], kind="stable")][:SHOWN]
    ids = subject.study.ids
    return [
        Candidate(
            [ids[a] for a in found.pairs[place]], float(found.cosine[place]),
            KINDS[found.kind[place]], facts,
        )
        for place, facts in zip(shown, _facts(subject, found, shown), strict=True)
    ]  # fmt: skip


def _tables(subject: Subject, found: _Found, order: RowNumbers) -> list[Table]:
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


def _proofs(
    subject: Subject, prints: Prints | None, found: _Found, planted: Sequence[PlantedCopies]
) -> list[Proof]:
    """Put copies among the distinct images, search again, and count which are found.

    Kind by kind, as that many would be in the data; all kinds at a time where a search takes long.
    """
    extractor = looked_at(subject)
    able = [one for one in planted if extractor.name in one.X and len(one.rows)]
    long = 1.0 * len(found.first) ** 2 * extractor.X.shape[1] > EVERY
    return [
        proof
        for kinds in ([able] if long and able else [[one] for one in able])
        for proof in _proof(subject, prints, found, kinds)
    ]


def _proof(
    subject: Subject, prints: Prints | None, found: _Found, kinds: Sequence[PlantedCopies]
) -> list[Proof]:
    extractor, n = looked_at(subject), len(found.first)
    origin = found.image[np.concatenate([one.rows for one in kinds])]
    kind = np.repeat(np.arange(len(kinds)), [len(one.rows) for one in kinds])
    X = np.concatenate([extractor.X[found.first], *(one.X[extractor.name] for one in kinds)])
    every = None
    if prints is not None:
        every = _rows(prints, found.first)
        for one in kinds:
            every = every.followed_by(one.prints)
    classes = classes_of(subject)[found.first]
    patients = subject.design.patients
    if patients is not None:
        names = [f"(planted) {number}" for number in range(len(origin))]
        patients = np.concatenate([patients[found.first], np.array(names)])
    again = find_copies(
        X, every, np.concatenate([classes, classes[origin]]), patients,
        seed=subject.seed, jobs=subject.jobs, ordinary=found.near.ordinary,
    )  # fmt: skip
    return _counted(kinds, kind, origin, again.pairs, found.near.pairs, n, len(subject.study))


def _counted(
    kinds: Sequence[PlantedCopies],
    kind: RowNumbers,
    origin: RowNumbers,
    pairs: RowNumbers,
    before: RowNumbers,
    n: int,
    images: int,
) -> list[Proof]:
    """Count what was found of what was planted.

    A pair with a planted image is right if both show one image, or images that were a pair before.
    """
    shows = np.concatenate([np.arange(n), origin])
    known = {tuple(pair) for pair in before.tolist()}
    hit, false = np.zeros(len(origin), dtype=bool), np.zeros(len(kinds), dtype=int)
    for a, b in pairs[(pairs >= n).any(axis=1)].tolist():
        one, other = sorted((int(shows[a]), int(shows[b])))
        if one == other:
            for end in (a, b):
                if end >= n:
                    hit[end - n] = True
        elif (one, other) not in known:
            for end in {kind[end - n] for end in (a, b) if end >= n}:
                false[end] += 1
    found = []
    for number, one_kind in enumerate(kinds):
        mine = kind == number
        right = int(hit[mine].sum())
        made = right + int(false[number])
        found.append(
            Proof(
                f"copies {one_kind.kind}" if " " in one_kind.kind else f"{one_kind.kind} copies",
                float(mine.sum() / images),
                int(mine.sum()),
                right / int(mine.sum()),
                right / made if made else float("nan"),
            )
        )
    return found


def _untested(code: str, question: str, answer: str) -> Check:
    return Check(code, Section.DUPLICATES, question, Verdict.UNTESTED, answer)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
