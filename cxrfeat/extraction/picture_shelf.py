"""The files in which kept pictures of one kind lie, and the index that finds one among them."""

from __future__ import annotations

import json
import platform
from contextlib import suppress
from dataclasses import asdict
from functools import cached_property
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrfeat import images, store
from cxrfeat.arrays import Pictures, RowNumbers
from cxrfeat.errors import FileFormatError, StorageError
from cxrfeat.framing import Framing
from cxrfeat.images import ReadingOptions
from cxrfeat.spec import fingerprint

FILE_BYTES = 256 << 20
"""Of pictures in one file, at most: what damage to its structure can cost."""

PLACE, SHA256 = store.KEPT_IMAGE["place"], store.KEPT_IMAGE["sha256"]
"""Of what a picture is found by."""


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


class Shelf:
    """All kept pictures that networks of one kind see, read in one way, in however many files.

    Attributes
    ----------
    framing : Framing
    unusable : list of str
        What is wrong with files that are passed over.
    damaged : set of (Path, int)
        Files and rows of pictures that were not what was written.
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
        self.damaged: set[tuple[Path, int]] = set()
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
        self.places = _Index(np.concatenate([np.empty(0, PLACE), *places]), self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    @cached_property
    def digests(self) -> _Index:
        """Where a picture of some bytes is, by their sha256."""
        digests = np.zeros(self._starts[-1], SHA256)
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
            file = self._files[number]
            with suppress(FileFormatError):
                images_[mine], sound[mine] = file.read(rows, pictures[mine])
            self.damaged.update((file.path, row) for row in rows[~sound[mine]].tolist())
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
        for file in self._ours:
            rows = [row for path, row in self.damaged if path == file.path]
            if rows:
                with suppress(StorageError):
                    file.forget(np.array(sorted(rows), dtype=np.int64))


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
