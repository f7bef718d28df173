"""Resized pictures kept from run to run, so that another network decodes no image again.

A picture is found by what names the bytes of its image without reading them, the `version` of its
source, else by their sha256; never by its id. It is float32, as networks get it: rows are the same
to the bit. ``docs/decisions/picture-cache.md`` says why it is made so.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from cxrfeat import images, store
from cxrfeat.arrays import Picture, Pictures, RowNumbers
from cxrfeat.errors import FileFormatError, InputError, LockedError, StorageError
from cxrfeat.extraction.largest_samples import LargestSamples
from cxrfeat.extraction.shards import Shard
from cxrfeat.framing import Framing
from cxrfeat.images import ReadingOptions
from cxrfeat.spec import fingerprint

FILE_BYTES = 256 << 20
"""Of pictures in one file, at most: what damage to its structure can cost."""

_PLACE, _SHA256 = store.KEPT_IMAGE["place"], store.KEPT_IMAGE["sha256"]
_UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


@dataclass(frozen=True)
class KeptImage:
    """What was kept of one image.

    Attributes
    ----------
    sha256 : str
        Of its bytes.
    warnings : tuple of str
        What was odd about it.
    seen : dict of Framing to ndarray of float32, shape (S, S)
        What of it the networks see that were asked for.
    """

    sha256: str
    warnings: tuple[str, ...]
    seen: Mapping[Framing, Picture]


@dataclass(frozen=True)
class ReadImage:
    """One image that was read, to be kept.

    Attributes
    ----------
    version : str
        Names its bytes, as `ImageSource.version` did before they were read.
    bytes : int
        How many they are.
    sha256, warnings, seen
        As in `KeptImage`.
    """

    version: str
    bytes: int
    sha256: str
    warnings: tuple[str, ...]
    seen: Mapping[Framing, Picture]


def size_in_bytes(size: int | str) -> int:
    """Read a size such as ``50GB`` (1000s) or ``50GiB`` (1024s).

    Raises
    ------
    InputError
    """
    parts = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)(i?)b?\s*", str(size).lower())
    if parts is None:
        raise InputError(f"cache size '{size}': write a number with a unit, e.g. 50GB or 500MB")
    return int(float(parts[1]) * (1024 if parts[3] else 1000) ** _UNITS[parts[2]])


def picture_spec(framing: Framing, reading: ReadingOptions) -> dict[str, Any]:
    """Say everything that decides a kept picture, or whether there is one.

    More than the spec of an embedding says: what decides which images fail, and the decoders that
    are not always there, because a picture that is kept is not decoded again.
    """
    made_by = {"numpy": version("numpy"), "system": platform.system(), "for": platform.machine()}
    return {
        "picture": "float32",
        "image": images.reading_spec(framing, reading),
        "options": json.loads(json.dumps(asdict(reading))),
        "decoders": {**images.decoders(), **made_by},
    }


class KeptPictures:
    """Pictures that were read in some way, for some networks; can be pickled, read in threads.

    Parameters
    ----------
    folder : Path
    reading : ReadingOptions
    framings : tuple of Framing
    own : Path, optional
        The folder, this one or one below, in which this process may write.

    Attributes
    ----------
    found : int
        Images whose pictures were taken from here.
    """

    def __init__(
        self,
        folder: Path,
        reading: ReadingOptions,
        framings: tuple[Framing, ...],
        own: Path | None = None,
    ) -> None:
        self._asked = folder, reading, framings
        self._shelves = {one: _Shelf(folder, own, reading, one) for one in framings}
        self._counting = threading.Lock()
        self.found = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return _opened, self._asked

    def __len__(self) -> int:
        return min((len(shelf) for shelf in self._shelves.values()), default=0)

    def find(self, versions: Sequence[str], framings: Iterable[Framing]) -> list[KeptImage | None]:
        """Return what was kept of images by what names their bytes; None where nothing counts."""
        named = np.array([one.encode() for one in versions], dtype=_PLACE)
        shelves = [self._shelves[one] for one in sorted(set(framings))]
        return self._read(shelves, [shelf.places.find(named) for shelf in shelves], "place", named)

    def find_bytes(self, data: bytes, framings: Iterable[Framing]) -> KeptImage | None:
        """Return what was kept of an image that has moved, or was touched, by its bytes."""
        shelves = [self._shelves[one] for one in sorted(set(framings))]
        if not all(shelf.may_have(len(data)) for shelf in shelves):
            return None
        named = np.array([hashlib.sha256(data).hexdigest().encode()], dtype=_SHA256)
        places = [shelf.digests.find(named) for shelf in shelves]
        return self._read(shelves, places, "sha256", named)[0]

    def _read(
        self,
        shelves: Sequence[_Shelf],
        places: Sequence[RowNumbers],
        field: str,
        named: npt.NDArray[np.bytes_],
    ) -> list[KeptImage | None]:
        """Read pictures by where they are in each shelf, -1 is nowhere; a field is as named."""
        found: list[KeptImage | None] = [None] * len(named)
        chosen = np.flatnonzero(np.all([place >= 0 for place in places], axis=0))
        if not len(chosen):
            return found
        sound = np.ones(len(chosen), dtype=bool)
        pictures: list[Pictures] = []
        first: store.KeptImages | None = None
        for shelf, place in zip(shelves, places, strict=True):
            images_, pictures_, is_sound = shelf.read(place[chosen])
            pictures.append(pictures_)
            first = images_ if first is None else first
            sound &= is_sound & (images_[field] == named[chosen])
            sound &= images_["sha256"] == first["sha256"]  # the same image in each
        assert first is not None
        for number in np.flatnonzero(sound).tolist():
            found[chosen[number]] = KeptImage(
                first["sha256"][number].decode(),
                tuple(json.loads(first["warnings"][number].decode())),
                {s.framing: many[number] for s, many in zip(shelves, pictures, strict=True)},
            )
        with self._counting:
            self.found += int(np.count_nonzero(sound))
        return found

    def append(self, framing: Framing, images: store.KeptImages, pictures: Pictures) -> None:
        """Add pictures for one kind of networks to the own folder.

        Raises
        ------
        StorageError, FileFormatError
        """
        self._shelves[framing].append(images, pictures)

    @property
    def damaged(self) -> int:
        """How many pictures were not what was written."""
        return sum(len(shelf.damaged) for shelf in self._shelves.values())

    @property
    def unusable(self) -> list[str]:
        """What is wrong with files that are passed over."""
        return [told for shelf in self._shelves.values() for told in shelf.unusable]

    def give_back(self) -> None:
        """Give back what was damaged in the own folder, so that it is filled anew."""
        for shelf in self._shelves.values():
            shelf.give_back()


@lru_cache(maxsize=1)
def _opened(folder: Path, reading: ReadingOptions, framings: tuple[Framing, ...]) -> KeptPictures:
    """Open them once in every process that gets them."""
    return KeptPictures(folder, reading, framings)


class PictureCache:
    """A folder of kept pictures; to be used in a ``with`` statement.

    One process at a time adds to it; another one reads it, and says so. Whatever goes wrong costs
    no more than what would have been saved, and is said.

    Parameters
    ----------
    folder : Path
    limit : int
        Bytes that its files take at most; when it is full, the rest is not kept.
    shard : Shard, optional
        Adds to a folder of its own below, to its part of `limit`; all pictures are found.

    Attributes
    ----------
    samples : LargestSamples
        Of the pictures of 16 bits that were looked at.
    pictures : KeptPictures
        Once `open` was called.

    Raises
    ------
    StorageError
        There is no such folder, and it cannot be made.
    """

    pictures: KeptPictures

    def __init__(self, folder: Path, limit: int, shard: Shard | None = None) -> None:
        self._folder = folder
        self._own = folder if shard is None else shard.folder(folder)
        self._limit = limit if shard is None else limit // shard.count
        self._used = self._added = 0
        self._is_full = False
        self._notes: list[str] = []
        self._lock: store.FileLock | None = None
        try:
            self._lock = store.FileLock(self._own / "pictures")
        except (LockedError, StorageError) as error:
            if not folder.is_dir():
                raise
            self._notes.append(f"the cache is read, and nothing is added to it: {error}")
        decoders = fingerprint({"largest sample": images.decoders()})
        self.samples = LargestSamples(folder / f"samples-{decoders[:16]}.txt")

    def open(self, reading: ReadingOptions, framings: Iterable[Framing]) -> None:
        """Open the pictures that some networks see, read in some way."""
        own = None if self._lock is None else self._own
        self.pictures = KeptPictures(self._folder, reading, tuple(sorted(set(framings))), own)
        self._used = 0 if own is None else _disk_bytes(own)

    def keep(self, read: Sequence[ReadImage]) -> None:
        """Keep the pictures of some images, as far as there is room."""
        if self._lock is None or self._is_full:
            return
        told: dict[Framing, list[tuple[Any, ...]]] = defaultdict(list)
        pictures: dict[Framing, list[Picture]] = defaultdict(list)
        for image in read:
            warnings = json.dumps(image.warnings).encode()
            needed = sum(store.row_bytes(framing.size) for framing in image.seen)
            if not image.version or len(warnings) > store.WARNING_BYTES:
                continue
            if self._used + needed > self._limit:
                self._is_full = True
                self._notes.append(
                    f"the cache is full ({self._limit / 1e9:.1f} GB), other pictures are not kept:"
                    f" give more --cache-size, or delete files of '{self._own}' for other networks"
                )
                break
            self._used += needed
            self._added += 1
            for framing, picture in image.seen.items():
                told[framing].append(
                    (image.version.encode(), image.sha256.encode(), warnings, image.bytes, 0, 0)
                )
                pictures[framing].append(picture)
        try:
            for framing, some in told.items():
                images_ = np.array(some, dtype=store.KEPT_IMAGE)
                self.pictures.append(framing, images_, np.stack(pictures[framing]))
        except (FileFormatError, StorageError) as error:
            self._is_full = True
            self._notes.append(f"no more pictures are added to the cache: {error}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if "pictures" in vars(self):
            self.pictures.give_back()
        if self._lock is not None:
            self._lock.release()

    @property
    def notes(self) -> list[str]:
        """What its user should know."""
        if "pictures" not in vars(self):
            return self._notes
        pictures = self.pictures
        said = f"{pictures.found} picture(s) came from the cache '{self._folder}'"
        if self._lock is not None:
            used, limit = self._used / 1e9, self._limit / 1e9
            said += f", {self._added} were added ({used:.1f} of {limit:.1f} GB)"
        damaged = f"{pictures.damaged} picture(s) of the cache were damaged: their images were read"
        return [said, *([damaged] if pictures.damaged else []), *self._notes, *pictures.unusable]


class _Shelf:
    """All kept pictures that networks of one kind see, read in one way, in however many files.

    Attributes
    ----------
    framing : Framing
    unusable : list of str
        What is wrong with files that are passed over.
    damaged : set of int
        Places of pictures that were not what was written.
    """

    def __init__(
        self, folder: Path, own: Path | None, reading: ReadingOptions, framing: Framing
    ) -> None:
        self.framing = framing
        self.unusable: list[str] = []
        self._own, self._spec = own, picture_spec(framing, reading)
        self._stem = fingerprint(self._spec)[:16]
        self._files: list[store.PictureFile] = []
        self._ours: list[store.PictureFile] = []
        self.damaged: set[int] = set()
        places, lengths, rows = [], [], []
        start = 0
        for path in sorted(folder.rglob(f"{self._stem}-*.h5")):
            is_ours = own is not None and path.parent.samefile(own)
            try:
                file = store.PictureFile(path, self._spec, framing.size)
                there = file.images()
            except FileFormatError as error:
                self.unusable.append(f"a file of the cache is passed over: {error}")
                continue
            self._files.append(file)
            self._ours += [file] if is_ours else []
            done = np.flatnonzero(there["done"] == 1)
            places.append(there["place"][done])
            lengths.append(there["bytes"][done])
            rows.append(start + done)
            start += len(file)
        self._starts = np.cumsum([0, *(len(file) for file in self._files)])
        self._rows = np.concatenate([np.empty(0, np.int64), *rows])
        self._lengths = np.unique(np.concatenate([np.empty(0, np.int64), *lengths]))
        self.places = _Index(np.concatenate([np.empty(0, _PLACE), *places]), self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    @cached_property
    def digests(self) -> _Index:
        """Where a picture of some bytes is, by their sha256."""
        digests = np.zeros(self._starts[-1], _SHA256)
        for file, start in zip(self._files, self._starts.tolist(), strict=False):
            with suppress(FileFormatError):
                digests[start : start + len(file)] = file.images()["sha256"]
        return _Index(digests[self._rows], self._rows)

    def may_have(self, length: int) -> bool:
        """Whether it has an image of so many bytes."""
        place = int(np.searchsorted(self._lengths, length))
        return place < len(self._lengths) and bool(self._lengths[place] == length)

    def read(self, places: RowNumbers) -> tuple[store.KeptImages, Pictures, npt.NDArray[np.bool_]]:
        """Read pictures, and tell which of them are what was written."""
        images_ = np.zeros(len(places), store.KEPT_IMAGE)
        pictures = np.empty((len(places), self.framing.size, self.framing.size), np.float32)
        sound = np.zeros(len(places), dtype=bool)
        of_file = np.searchsorted(self._starts, places, side="right") - 1
        edges = [0, *(np.flatnonzero(np.diff(of_file)) + 1).tolist(), len(places)]
        for start, stop in pairwise(edges):
            mine, number = slice(start, stop), int(of_file[start])
            rows = places[mine] - self._starts[number]
            with suppress(FileFormatError):
                images_[mine], sound[mine] = self._files[number].read(rows, pictures[mine])
        self.damaged.update(places[~sound].tolist())
        return images_, pictures, sound

    def append(self, images_: store.KeptImages, pictures: Pictures) -> None:
        """Add pictures to the own folder.

        Raises
        ------
        StorageError, FileFormatError
        """
        start = 0
        while start < len(images_):
            file = self._with_room()
            stop = start + min(file.free, len(images_) - start)
            file.append(images_[start:stop], pictures[start:stop])
            start = stop

    def _with_room(self) -> store.PictureFile:
        for file in reversed(self._ours):  # the last one, as a rule
            if file.free:
                return file
        assert self._own is not None
        numbers = [int(path.stem[-6:]) for path in self._own.glob(f"{self._stem}-??????.h5")]
        path = self._own / f"{self._stem}-{max(numbers, default=-1) + 1:06}.h5"
        rows = max(1, FILE_BYTES // store.row_bytes(self.framing.size))
        store.make_picture_file(path, self._spec, self.framing.size, rows)
        self._ours.append(store.PictureFile(path, self._spec, self.framing.size))
        return self._ours[-1]

    def give_back(self) -> None:
        """Give back damaged rows of the own folder, so that they are filled anew."""
        damaged = np.array(sorted(self.damaged), dtype=np.int64)
        for file, start in zip(self._files, self._starts.tolist(), strict=False):
            rows = damaged[(damaged >= start) & (damaged < start + len(file))] - start
            if len(rows) and file in self._ours:
                with suppress(StorageError):
                    file.forget(rows)


class _Index:
    """Texts of one length, to be found among many.

    Parameters
    ----------
    texts : ndarray of bytes, shape (k,)
    rows : ndarray of int, shape (k,)
        What stands for each; of equal texts the last one counts.
    """

    def __init__(self, texts: npt.NDArray[np.bytes_], rows: RowNumbers) -> None:
        order = np.argsort(texts, kind="stable")
        self._texts, self._rows = texts[order], rows[order]

    def find(self, texts: npt.NDArray[np.bytes_]) -> RowNumbers:
        """Return the row of each; -1 where it is not among them."""
        places = np.searchsorted(self._texts, texts, side="right") - 1
        there = places >= 0
        there[there] = self._texts[places[there]] == texts[there]
        found = np.full(len(texts), -1, dtype=np.int64)
        found[there] = self._rows[places[there]]
        return found


def _disk_bytes(folder: Path) -> int:
    """Return what the files below a folder take on the disk; a sparse one what is in it."""
    total = 0
    for path in folder.rglob("*.h5"):
        with suppress(OSError):
            told = os.stat(path)
            blocks = getattr(told, "st_blocks", None)
            total += told.st_size if blocks is None else min(told.st_size, 512 * blocks)
    return total
