"""All pairs of a study's images that show the same: bytes, pixels, or near copies of these.

Near copies (`cxrfeat.evaluation.audit.copies`) are looked for among the distinct images, and hold
for all that show these. Groups of copies are complete: all their members are pairs, so that nothing
chains.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cxrfeat.arrays import Matrix, RowNumbers
from cxrfeat.evaluation.audit.copies import Copies, complete_groups, find_copies, identical
from cxrfeat.evaluation.audit.prints import Prints
from cxrfeat.evaluation.audit.subject import Subject
from cxrfeat.evaluation.study.study import Extractor

EACH = 50
"""Of one image that is there more often, as many are paired with each of the others."""
KINDS = ("identical bytes", "identical pixels", "near copy")


@dataclass(frozen=True)
class Pairs:
    """All pairs of rows that show the same.

    Attributes
    ----------
    pairs : ndarray of int, shape (P, 2)
    kind : ndarray of int, shape (P,)
        A place in `KINDS`.
    cosine, bits, correlation : ndarray, shape (P,)
        How near: of the embeddings, of the hashes (how many of 64 differ), of the small pictures.
    by : list of str
        By which searches near copies were found.
    near : Copies
        Pairs among the distinct images.
    first : ndarray of int, shape (D,)
        The first row of each distinct image.
    image : ndarray of int, shape (N,)
        Which of the distinct images each row shows.
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
        """Give the places of the pairs of a kind."""
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


def find_pairs(subject: Subject, prints: Prints | None) -> Pairs:
    """Look for copies in every way there is.

    Parameters
    ----------
    prints : Prints or None
        Of the images, in the order of the study; None without the files: then embeddings alone are
        searched.
    """
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
    return Pairs(
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
        None if prints is None else prints.of(rows),
        classes_of(subject)[rows],
        None if patients is None else patients[rows],
        seed=subject.seed,
        jobs=subject.jobs,
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


def looked_at(subject: Subject) -> Extractor:
    """Choose the extractor that copies and outliers are looked for with: the first pretrained."""
    alone = [one for one in subject.study.extractors if not one.widths]
    return next((one for one in alone if not one.control), (alone or subject.study.extractors)[0])


def classes_of(subject: Subject) -> npt.NDArray[np.intp]:
    """Give the class of each image; all 0 where any number of labels may hold."""
    study = subject.study
    return study.y if subject.exclusive else np.zeros(len(study), dtype=np.intp)
