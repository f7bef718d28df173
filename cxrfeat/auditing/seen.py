"""What was seen of one picture, and of all pictures of a study together."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cxrfeat import features
from cxrfeat.arrays import Matrix, Matrix32, Picture, Pictures, RowNumbers
from cxrfeat.auditing.asked_of_pictures import CORNER_MARK, Asked
from cxrfeat.evaluation.audit.prints import PlantedCopies, Prints

SMALL, TINY = 32, 8
BLANK, BORDER = "blank", "border"
"""What is odd about a picture by itself."""


@dataclass(frozen=True)
class FileFacts:
    """What an image's file says of itself.

    Attributes
    ----------
    numbers : dict of str to float
        Bytes, height, width, bits.
    words : dict of str to str
        Format, what was done to read it, and for DICOM the columns that are no person's.
    """

    numbers: dict[str, float]
    words: dict[str, str]


@dataclass
class Shown:
    """A square that a network is shown, and what it gives."""

    row: int
    key: tuple[str, str]
    extractor: features.Extractor
    square: Picture | None
    vector: Matrix32 | None = None


class CopySeen(NamedTuple):
    """What an altered copy is compared by."""

    digest: str
    hash: int
    small: Picture


@dataclass
class Looked:
    """All that is kept of one image."""

    row: int
    why_not: str = ""
    files: FileFacts | None = None
    grey: tuple[float, float] = (np.nan, np.nan)
    small: Picture | None = None
    tiny: Picture | None = None
    small_marked: Picture | None = None
    shape: tuple[int, int] = (0, 0)
    warnings: tuple[str, ...] = ()
    prints: tuple[str, int] | None = None
    copies: dict[str, CopySeen] = field(default_factory=dict)
    shown: list[Shown] = field(default_factory=list)


@dataclass(frozen=True)
class Seen:
    """What was seen of all pictures, in the order of the study.

    Attributes
    ----------
    why_not : list of str
        Why an image was not looked at: ``"not found"``, ``"changed"`` or a code of
        ``docs/images.md``; "" where it was.
    files : list of FileFacts or None
    grey : ndarray, shape (N, 2)
        Mean and standard deviation; NaN where an image was not looked at, as in all below.
    small, tiny : ndarray of float32, shapes (N, 32, 32) and (N, 8, 8)
    shapes : ndarray of int, shape (N, 2)
        Height and width of the decoded pictures; 0 where there is none.
    small_marked : ndarray of float32, shape (N, 32, 32)
        With a corner mark; NaN where none was asked for.
    X : dict of (str, str) to ndarray of float32, shape (N, D)
        By what was shown, and the network's name.
    prints : Prints or None
        None without a fingerprint.
    copies : list of PlantedCopies
        One for each kind, of the rows that were looked at.
    warnings : dict of str to ndarray of bool, shape (N,)
        What is odd about single pictures, by `BLANK` and `BORDER`.
    seconds : dict of str to float
        Of the whole pass, shared out among what it did: `READING`, and each thing that a network
        was shown, by its key in `X` or the kind of copy.
    notes : list of str
    """

    why_not: list[str]
    files: list[FileFacts | None]
    grey: Matrix
    small: Pictures
    tiny: Pictures
    shapes: npt.NDArray[np.intp]
    small_marked: Pictures
    X: dict[tuple[str, str], Matrix32]
    prints: Prints | None
    copies: list[PlantedCopies]
    warnings: dict[str, npt.NDArray[np.bool_]]
    seconds: dict[str, float]
    notes: list[str]

    @cached_property
    def rows(self) -> RowNumbers:
        """Which images were looked at."""
        return np.flatnonzero([not why for why in self.why_not])


class Gathered:
    """What was seen of all images so far."""

    def __init__(self, n: int, asked: Asked) -> None:
        self._asked = asked
        self._why_not = ["not found"] * n
        self._files: list[FileFacts | None] = [None] * n
        self._grey = np.full((n, 2), np.nan)
        self._small = np.full((n, SMALL, SMALL), np.nan, np.float32)
        self._tiny = np.full((n, TINY, TINY), np.nan, np.float32)
        self._marked = np.full((n if len(asked.marked) else 0, SMALL, SMALL), np.nan, np.float32)
        self._shapes = np.zeros((n, 2), np.intp)
        self._warnings = {name: np.zeros(n, bool) for name in (BLANK, BORDER)}
        self._pixels: list[str] = [""] * n
        self._hashes = np.zeros(n, np.uint64)
        self._copies: dict[str, dict[int, CopySeen]] = {kind: {} for kind in asked.copies}
        self._of_copies: dict[tuple[str, str], dict[int, Matrix32]] = defaultdict(dict)
        self._X = {
            (what, name): np.full((n, extractor.dimension), np.nan, np.float32)
            for what, extractors in {
                **asked.shown,
                **({CORNER_MARK: asked.embedded} if len(asked.marked) else {}),
            }.items()
            for name, extractor in extractors.items()
        }

    def take(self, one: Looked) -> None:
        """Keep what is known of an image but for what networks say."""
        row = one.row
        self._why_not[row], self._files[row] = one.why_not, one.files
        self._grey[row], self._shapes[row] = one.grey, one.shape
        for of_all, picture in (
            (self._small, one.small), (self._tiny, one.tiny), (self._marked, one.small_marked),
        ):  # fmt: skip
            if picture is not None:
                of_all[row] = picture
        for name in one.warnings:
            self._warnings[name][row] = True
        if one.prints is not None:
            self._pixels[row], self._hashes[row] = one.prints[0], np.uint64(one.prints[1])
        for kind, copy in one.copies.items():
            self._copies[kind][row] = copy

    def keep(self, shown: Sequence[Shown]) -> None:
        """Keep what networks gave."""
        for one in shown:
            if one.vector is None:
                continue
            if one.key in self._X:
                self._X[one.key][one.row] = one.vector
            else:
                self._of_copies[one.key][one.row] = one.vector

    def finished(self, seconds: dict[str, float]) -> Seen:
        """Give all of it."""
        readable = np.array([not why for why in self._why_not])
        fingerprint = self._asked.fingerprint
        return Seen(
            why_not=self._why_not,
            files=self._files,
            grey=self._grey,
            small=self._small,
            tiny=self._tiny,
            shapes=self._shapes,
            small_marked=self._marked,
            X=self._X,
            prints=None
            if fingerprint is None
            else Prints(np.array(self._pixels), self._hashes, readable, _in_bytes(self._small)),
            copies=[self._planted(kind) for kind in self._asked.copies],
            warnings=self._warnings,
            seconds=seconds,
            notes=_notes(self._why_not),
        )

    def _planted(self, kind: str) -> PlantedCopies:
        rows = sorted(self._copies[kind])
        copies = [self._copies[kind][row] for row in rows]
        return PlantedCopies(
            kind,
            np.array(rows, np.intp),
            Prints(
                np.array([copy.digest for copy in copies], np.str_),
                np.array([copy.hash for copy in copies], np.uint64),
                np.ones(len(rows), bool),
                _in_bytes(np.array([copy.small for copy in copies]).reshape(-1, SMALL, SMALL)),
            ),
            {
                name: np.stack([self._of_copies[kind, name][row] for row in rows])
                for name in self._asked.embedded
                if rows
            },
        )


def _in_bytes(small: Pictures) -> npt.NDArray[np.uint8]:
    """Write small pictures in 8 bits, 0 where there is none."""
    return (np.nan_to_num(small) * 255.0).round().astype(np.uint8)


def _notes(why_not: Sequence[str]) -> list[str]:
    """Say which images were not looked at."""
    said = {
        "not found": "were not found below --images",
        "changed": "are no longer what was extracted (another sha256)",
    }
    counts = Counter(why for why in why_not if why)
    return [
        f"{count} of {len(why_not)} images {said.get(why, f'cannot be read ({why})')}: their"
        " pictures were left out"
        for why, count in counts.most_common()
    ]
