"""Resized pictures kept from run to run, so that another network decodes no image again.

A picture is found by what names the bytes of its image without reading them, the `version` of its
source, else by their sha256; never by its id. It is float32, as networks get it: rows are the same
to the bit. ``docs/decisions/picture-cache.md`` says why it is made so.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from cxrfeat import images, store
from cxrfeat.arrays import Picture, Pictures, RowNumbers
from cxrfeat.errors import FileFormatError, InputError, LockedError, StorageError
from cxrfeat.extraction.largest_samples import LargestSamples
from cxrfeat.extraction.picture_shelf import PLACE, SHA256, Shelf
from cxrfeat.extraction.shards import Shard
from cxrfeat.framing import Framing
from cxrfeat.images import ReadingOptions
from cxrfeat.spec import fingerprint

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


@dataclass(frozen=True)
class News:
    """What became of kept pictures in another process.

    Attributes
    ----------
    found : int
        Images whose pictures were taken.
    damaged : dict of Framing to set of (Path, int)
        Files and rows of pictures that were not what was written.
    """

    found: int
    damaged: Mapping[Framing, set[tuple[Path, int]]]


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
        self._shelves = {one: Shelf(folder, own, reading, one) for one in framings}
        self._counting = threading.Lock()
        self.found = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return _opened, self._asked

    def __len__(self) -> int:
        return min((len(shelf) for shelf in self._shelves.values()), default=0)

    def find(self, versions: Sequence[str], framings: Iterable[Framing]) -> list[KeptImage | None]:
        """Return what was kept of images by what names their bytes; None where nothing counts."""
        named = np.array([one.encode() for one in versions], dtype=PLACE)
        shelves = [self._shelves[one] for one in sorted(set(framings))]
        return self._read(shelves, [shelf.places.find(named) for shelf in shelves], "place", named)

    def find_bytes(self, data: bytes, framings: Iterable[Framing]) -> KeptImage | None:
        """Return what was kept of an image that has moved, or was touched, by its bytes."""
        shelves = [self._shelves[one] for one in sorted(set(framings))]
        if not all(shelf.may_have(len(data)) for shelf in shelves):
            return None
        named = np.array([hashlib.sha256(data).hexdigest().encode()], dtype=SHA256)
        places = [shelf.digests.find(named) for shelf in shelves]
        return self._read(shelves, places, "sha256", named)[0]

    def _read(
        self,
        shelves: Sequence[Shelf],
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

    def news(self) -> News:
        """Say what was found and damaged since this was asked for the last time."""
        with self._counting:
            found, self.found = self.found, 0
        damaged = {framing: shelf.damaged for framing, shelf in self._shelves.items()}
        for shelf in self._shelves.values():
            shelf.damaged = set()
        return News(found, {framing: some for framing, some in damaged.items() if some})

    def add(self, news: News) -> None:
        """Count what was found and damaged in another process."""
        with self._counting:
            self.found += news.found
        for framing, damaged in news.damaged.items():
            self._shelves[framing].damaged |= damaged

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

    def __exit__(self, *raised: object) -> None:
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


def _disk_bytes(folder: Path) -> int:
    """Return what the files below a folder take on the disk; a sparse one what is in it."""
    total = 0
    for path in folder.rglob("*.h5"):
        with suppress(OSError):
            told = os.stat(path)
            blocks = getattr(told, "st_blocks", None)
            total += told.st_size if blocks is None else min(told.st_size, 512 * blocks)
    return total
