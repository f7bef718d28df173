"""Which images still lack which rows: a plain list that any engine can work through."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import overload

from cxrfeat.extraction.sources import ImageSource

Lacking = tuple[str, ...]
"""Names of extractors."""


@dataclass(frozen=True, slots=True)
class WorkItem:
    """One image to read, and for which extractors; it can be pickled.

    Attributes
    ----------
    source : ImageSource
    lacking : tuple of str
        Names of extractors, at least one.
    """

    source: ImageSource
    lacking: Lacking


class Work(Sequence[WorkItem]):
    """Work items in order, each of them made when it is asked for.

    Parameters
    ----------
    sources
        Every image by its id.
    lacking
        By the id of an image, in order, which rows it lacks.

    Attributes
    ----------
    lacking : mapping of str to tuple of str
    """

    def __init__(self, sources: Mapping[str, ImageSource], lacking: Mapping[str, Lacking]) -> None:
        self.lacking = lacking
        self._sources = sources
        self._ids = list(lacking)

    def __len__(self) -> int:
        return len(self._ids)

    @overload
    def __getitem__(self, place: int) -> WorkItem: ...
    @overload
    def __getitem__(self, place: slice) -> list[WorkItem]: ...
    def __getitem__(self, place: int | slice) -> WorkItem | list[WorkItem]:
        if isinstance(place, slice):
            return [self._item(id_) for id_ in self._ids[place]]
        return self._item(self._ids[place])

    def __iter__(self) -> Iterator[WorkItem]:
        return map(self._item, self._ids)

    def _item(self, id: str) -> WorkItem:
        return WorkItem(self._sources[id], self.lacking[id])


def plan(sources: Mapping[str, ImageSource], pending: Mapping[str, Iterable[str]]) -> Work:
    """List what is to be computed.

    Parameters
    ----------
    sources
        Every image that is there by its id, in the order in which they are to be read.
    pending
        By the name of an extractor, ids of the images whose rows it lacks. Those that are not
        among `sources` are gone: nothing can be done for them.

    Returns
    -------
    Work
        In the order of `sources`: each image that lacks a row, once.
    """
    lacking: dict[str, Lacking] = {}
    same: dict[Lacking, Lacking] = {}  # one tuple for however many images
    for name, ids in pending.items():
        for id_ in dict.fromkeys(ids):
            names = (*lacking.get(id_, ()), name)
            lacking[id_] = same.setdefault(names, names)
    return Work(sources, {id_: lacking[id_] for id_ in sources if id_ in lacking})
