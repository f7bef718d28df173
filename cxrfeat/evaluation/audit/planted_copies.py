"""Whether the search for near copies sees: copies are planted, and counted when found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cxrfeat.arrays import RowNumbers
from cxrfeat.evaluation.audit.copies import find_copies
from cxrfeat.evaluation.audit.duplicate_pairs import Pairs, classes_of, looked_at
from cxrfeat.evaluation.audit.prints import PlantedCopies, Prints
from cxrfeat.evaluation.audit.subject import Subject
from cxrfeat.evaluation.outcome.near_copies import EVERY
from cxrfeat.results.audit import Proof


def planted_proofs(
    subject: Subject, prints: Prints | None, found: Pairs, planted: Sequence[PlantedCopies]
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
    subject: Subject, prints: Prints | None, found: Pairs, kinds: Sequence[PlantedCopies]
) -> list[Proof]:
    extractor, n = looked_at(subject), len(found.first)
    origin = found.image[np.concatenate([one.rows for one in kinds])]
    kind = np.repeat(np.arange(len(kinds)), [len(one.rows) for one in kinds])
    X = np.concatenate([extractor.X[found.first], *(one.X[extractor.name] for one in kinds)])
    every = None
    if prints is not None:
        every = prints.of(found.first)
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
