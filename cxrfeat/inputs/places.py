"""Where images are: on a disk, in an archive, in an object store, or known by their ids alone."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from cxrfeat.inputs.archives import Member
from cxrfeat.inputs.remote_images import RemoteFile, RemoteFolder, remote_folder
from cxrfeat.paths import PathLike

Place = Path | Member | RemoteFile
"""Where an image is."""


@dataclass(frozen=True)
class ImageIds:
    """Images that are known by their ids alone, as those of an embedding file are.

    Attributes
    ----------
    ids : tuple of str
    """

    ids: tuple[str, ...]


Root = Path | RemoteFolder | ImageIds
"""Where images are looked for."""


def root_of(root: PathLike) -> Path | RemoteFolder:
    """Return what a path or an address names."""
    return remote_folder(root) or Path(root)


class PlaceList(Sequence[Place]):
    """Where many images are, in order.

    Paths are kept as one text and made when they are asked for: a `Path` takes half a kilobyte,
    which is half a gigabyte for a million images.

    Parameters
    ----------
    places
        Paths may be text.
    """

    def __init__(self, places: Iterable[Place | str] = ()) -> None:
        self._text = bytearray()
        self._ends = array("q")
        self._others: dict[int, Member | RemoteFile] = {}
        for place in places:
            self.append(place)

    def append(self, place: Place | str) -> None:
        """Add one at the end."""
        if isinstance(place, Member | RemoteFile):
            self._others[len(self._ends)] = place
        else:
            self._text += os.fsencode(place)
        self._ends.append(len(self._text))

    def taken(self, rows: Iterable[int]) -> PlaceList:
        """Return some of them, in the order of `rows`."""
        chosen = PlaceList()
        for row in rows:
            if row in self._others:
                chosen._others[len(chosen._ends)] = self._others[row]
            else:
                chosen._text += self._text[self._start(row) : self._ends[row]]
            chosen._ends.append(len(chosen._text))
        return chosen

    def _start(self, row: int) -> int:
        return self._ends[row - 1] if row else 0

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, row: int) -> Place: ...
    @overload
    def __getitem__(self, row: slice) -> PlaceList: ...
    def __getitem__(self, row: int | slice) -> Place | PlaceList:
        if isinstance(row, slice):
            return self.taken(range(len(self))[row])
        place = self.named(range(len(self))[row])
        return Path(place) if isinstance(place, str) else place

    def named(self, row: int) -> Member | RemoteFile | str:
        """Return one without making a `Path` of a path."""
        if row in self._others:
            return self._others[row]
        return os.fsdecode(bytes(self._text[self._start(row) : self._ends[row]]))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and [*self] == [*other]

    __hash__ = None  # type: ignore[assignment]  # as a list has none

    def __repr__(self) -> str:
        return f"PlaceList({[*self]!r})"
