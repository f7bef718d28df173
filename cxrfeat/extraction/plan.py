"""Which images still lack which rows: a plain list that any engine can work through."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cxrfeat.extraction.sources import ImageSource


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
    lacking: tuple[str, ...]


def plan(sources: Iterable[ImageSource], pending: Mapping[str, Iterable[str]]) -> list[WorkItem]:
    """List what is to be computed.

    Parameters
    ----------
    sources
        Every image that is there, each once, in the order in which they are to be read.
    pending
        By the name of an extractor, ids of the images whose rows it lacks. Those that are not
        among `sources` are gone: nothing can be done for them.

    Returns
    -------
    list of WorkItem
        In the order of `sources`: each image that lacks a row, once.
    """
    lacking: dict[str, tuple[str, ...]] = {}
    same: dict[tuple[str, ...], tuple[str, ...]] = {}  # one tuple for however many images
    for name, ids in pending.items():
        for id_ in dict.fromkeys(ids):
            names = (*lacking.get(id_, ()), name)
            lacking[id_] = same.setdefault(names, names)
    return [WorkItem(source, lacking[source.id]) for source in sources if source.id in lacking]
