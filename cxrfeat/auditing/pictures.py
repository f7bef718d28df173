"""One read of each image, which gives everything that an audit asks of pictures.

Images are read ahead in threads, as `extract` reads them, and let go at once: what stays are a few
numbers of each, its grey values at 32 x 32, and the embeddings of what networks were shown. A
picture whose bytes are not those that its embedding was made of is not looked at: nothing of it is
compared with a row of another picture.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cxrfeat import features, images, inputs
from cxrfeat.arrays import Matrix, Matrix32, Picture, Pictures, RowNumbers
from cxrfeat.errors import ImageError, InputError
from cxrfeat.evaluation.audit.prints import PlantedCopies, Prints
from cxrfeat.evaluation.study.study import Study
from cxrfeat.extraction.local_engine import Stopwatch
from cxrfeat.extraction.reading_ahead import read_in_order
from cxrfeat.extraction.sources import ImageSource, sources_of
from cxrfeat.framing import Framing
from cxrfeat.images import Radiograph, ReadingOptions
from cxrfeat.images.checks import WIDE_BORDER, border_share, picture_warnings
from cxrfeat.images.masking import masked, with_corner_mark
from cxrfeat.paths import PathLike

SMALL, TINY = 32, 8
WHOLE, CORNER_MARK = "whole", "corner mark"
"""What a network can be shown beside `masking.MARGINS`: the picture as it is, and with a mark."""

READING = "reading"
BLANK, BORDER = "blank", "border"
"""What is odd about a picture by itself."""

Fingerprint = Callable[[Picture], tuple[str, int]]
"""From a decoded picture to the digest of its pixels and its perceptual hash of 64 bits."""
Alteration = Callable[[Picture, int], Picture]
"""From a decoded picture and its row, for a seed, to an altered copy, both in [0, 1]."""


@dataclass(frozen=True)
class Asked:
    """What is asked of pictures beside what each gives anyway.

    Attributes
    ----------
    shown : mapping of str to dict of str to Extractor
        By what is shown (`WHOLE`, or a key of `masking.MARGINS`), the networks, each under the
        name that `Seen.X` has it by.
    marked : ndarray of int
        Rows that are also shown with a corner mark, to the networks of `embedded`.
    copies : mapping of str to (ndarray of int, callable)
        By kind, of which rows altered copies are made, and how.
    embedded : mapping of str to Extractor
        Networks that marked pictures and copies are shown to.
    fingerprint : callable, optional
        What copies are found by; none are made without it.
    """

    shown: Mapping[str, Mapping[str, features.Extractor]] = field(default_factory=dict)
    marked: RowNumbers = field(default_factory=lambda: np.arange(0))
    copies: Mapping[str, tuple[RowNumbers, Alteration]] = field(default_factory=dict)
    embedded: Mapping[str, features.Extractor] = field(default_factory=dict)
    fingerprint: Fingerprint | None = None


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


def find_sources(study: Study, places: PathLike | Sequence[PathLike]) -> Mapping[str, ImageSource]:
    """Find the images of a study by their ids, in folders, archives, stores or a table.

    Raises
    ------
    InputError
        None of them is there, and whatever `inputs.find` raises.
    """
    sources = sources_of(inputs.find(places))
    if not any(id_ in sources for id_ in study.ids):
        raise InputError(
            f"none of the {len(study)} images is there, e.g. '{study.ids[0]}': give --images the"
            " folder that ids begin in, as it was given to cxrfeat extract"
        )
    return sources


def look_at_pictures(
    study: Study,
    sources: Mapping[str, ImageSource],
    reading: ReadingOptions,
    asked: Asked | None = None,
    *,
    workers: int,
    batch_size: int = features.BATCH,
    progress: Callable[[int, int], None] | None = None,
) -> Seen:
    """Read every image of a study once and note what is asked.

    Parameters
    ----------
    sources
        By id, as `find_sources` gives them.
    reading
        As the embeddings were read (`prediction.reopened_extractor.reading_options`).
    workers : int
        Threads that read; networks that take one image on one core run in them.
    batch_size : int
        Pictures that other networks are shown together, and that are read ahead.
    progress : callable, optional
        Called with how many images are done, and how many there are.
    """
    asked = asked or Asked()
    watch, started = Stopwatch(), time.perf_counter()
    eye = _Eye(study, sources, reading, asked, watch)
    gathered = _Gathered(len(study), asked)
    waiting: list[_Shown] = []
    looked = read_in_order(range(len(study)), eye.look, workers, batch_size)
    for done, one in enumerate(looked, 1):
        gathered.take(one)
        gathered.keep([shown for shown in one.shown if shown.vector is not None])
        waiting += [shown for shown in one.shown if shown.vector is None]
        if len(waiting) >= batch_size:
            gathered.keep(_through_networks(waiting, watch))
            waiting = []
        if progress is not None:
            progress(done, len(study))
    gathered.keep(_through_networks(waiting, watch))
    spent, passed = sum(watch.seconds.values()), time.perf_counter() - started
    share = passed / spent if spent else 0.0  # several threads at a time, and waiting for them
    return gathered.finished({step: taken * share for step, taken in watch.seconds.items()})


@dataclass
class _Shown:
    """A square that a network is shown, and what it gives."""

    row: int
    key: tuple[str, str]
    extractor: features.Extractor
    square: Picture | None
    vector: Matrix32 | None = None


class _Copy(NamedTuple):
    """What an altered copy is compared by."""

    digest: str
    hash: int
    small: Picture


@dataclass
class _Looked:
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
    copies: dict[str, _Copy] = field(default_factory=dict)
    shown: list[_Shown] = field(default_factory=list)


class _Eye:
    """Looks at one image; safe to call from threads."""

    def __init__(
        self,
        study: Study,
        sources: Mapping[str, ImageSource],
        reading: ReadingOptions,
        asked: Asked,
        watch: Stopwatch,
    ) -> None:
        self._study = study
        self._sources = sources
        self._reading = reading
        self._asked = asked
        self._watch = watch
        self._marked = set(asked.marked.tolist())
        self._copied = {kind: set(rows.tolist()) for kind, (rows, _) in asked.copies.items()}

    def look(self, row: int) -> _Looked:
        """Read an image and note what is asked of it."""
        source = self._sources.get(self._study.ids[row])
        if source is None:
            return _Looked(row, "not found")
        with self._watch.on(READING):
            try:
                data = source.read(self._reading.max_bytes)
                radiograph = images.read_image(data, options=self._reading)
            except ImageError as error:
                return _Looked(row, "not found" if error.code == "missing" else error.code)
            if radiograph.sha256 != self._study.sha256[row]:
                return _Looked(row, "changed")
            looked = self._noted(row, radiograph)
        for shown in self._squares(row, radiograph.pixels, looked):
            if shown.extractor.side_by_side and shown.square is not None:
                with self._watch.on(" ".join(shown.key)):
                    shown.vector = shown.extractor(shown.square[None])[0]
                shown.square = None
            looked.shown.append(shown)
        return looked

    def _noted(self, row: int, radiograph: Radiograph) -> _Looked:
        pixels = radiograph.pixels
        odd = picture_warnings(pixels)
        warnings = {
            BLANK: "constant" in odd or "nearly empty" in odd,
            BORDER: border_share(pixels) > WIDE_BORDER,
        }
        return _Looked(
            row,
            files=_facts(radiograph),
            grey=(float(pixels.mean(dtype=np.float64)), float(pixels.std(dtype=np.float64))),
            small=images.resize(pixels, SMALL),
            tiny=images.resize(pixels, TINY),
            shape=(pixels.shape[0], pixels.shape[1]),
            warnings=tuple(name for name, found in warnings.items() if found),
            prints=None if self._asked.fingerprint is None else self._asked.fingerprint(pixels),
        )

    def _squares(self, row: int, pixels: Picture, looked: _Looked) -> Iterator[_Shown]:
        """Give what networks are shown of a picture; one at a time, so that few are in memory."""
        seen: dict[Framing, Picture] = {}
        for mask, extractors in self._asked.shown.items():
            for name, extractor in extractors.items():
                framing = extractor.framing
                if framing not in seen:
                    seen[framing] = images.frame(pixels, framing)
                square = seen[framing]
                if mask != WHOLE:
                    height, width = pixels[framing.box(*looked.shape)].shape
                    square = masked(square, mask, (height, width))
                yield _Shown(row, (mask, name), extractor, square)
        if row in self._marked:
            marked = with_corner_mark(pixels)
            looked.small_marked = images.resize(marked, SMALL)
            yield from self._embedded(row, marked, CORNER_MARK)
        for kind, (_, alter) in self._asked.copies.items():
            if row in self._copied[kind]:
                copy = alter(pixels, row)
                if self._asked.fingerprint is not None:
                    small = images.resize(copy, SMALL)
                    looked.copies[kind] = _Copy(*self._asked.fingerprint(copy), small)
                yield from self._embedded(row, copy, kind)

    def _embedded(self, row: int, pixels: Picture, what: str) -> Iterator[_Shown]:
        for name, extractor in self._asked.embedded.items():
            yield _Shown(row, (what, name), extractor, images.frame(pixels, extractor.framing))


def _facts(radiograph: Radiograph) -> FileFacts:
    """Note what the file says of itself; sex and age are the patient's, and asked about apart."""
    personal = ("sex", "age", "group")
    counted = ("bits", "rows", "columns")
    return FileFacts(
        {
            "bytes": radiograph.size_bytes,
            "height": radiograph.height,
            "width": radiograph.width,
            "bits": radiograph.bits,
        },
        {
            "format": radiograph.format,
            "read": "; ".join(
                step for step in radiograph.steps if not any(c.isdigit() for c in step)
            ),
            **{
                name: value
                for name, value in radiograph.meta.items()
                if name not in (*personal, *counted)
            },
        },
    )


def _through_networks(waiting: Sequence[_Shown], watch: Stopwatch) -> list[_Shown]:
    """Show squares to the networks that take several at once."""
    of_key: defaultdict[tuple[str, str], list[_Shown]] = defaultdict(list)
    for shown in waiting:
        of_key[shown.key].append(shown)
    for key, together in of_key.items():
        with watch.on(" ".join(key)):
            squares = [shown.square for shown in together if shown.square is not None]
            rows = together[0].extractor(np.stack(squares))
        for shown, vector in zip(together, rows, strict=True):
            shown.vector, shown.square = vector, None
    return list(waiting)


class _Gathered:
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
        self._copies: dict[str, dict[int, _Copy]] = {kind: {} for kind in asked.copies}
        self._of_copies: dict[tuple[str, str], dict[int, Matrix32]] = defaultdict(dict)
        self._X = {
            (what, name): np.full((n, extractor.dimension), np.nan, np.float32)
            for what, extractors in {
                **asked.shown,
                **({CORNER_MARK: asked.embedded} if len(asked.marked) else {}),
            }.items()
            for name, extractor in extractors.items()
        }

    def take(self, one: _Looked) -> None:
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

    def keep(self, shown: Sequence[_Shown]) -> None:
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
