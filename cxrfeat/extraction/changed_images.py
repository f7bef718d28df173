"""Which images are not what they were when their row was written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from cxrfeat import store
from cxrfeat.extraction.reading_ahead import SHORT_WORK, read_in_order, reader_count
from cxrfeat.extraction.sources import ImageSource, Stamp


def current_hashes(
    files: Iterable[Path], sources: Mapping[str, ImageSource], workers: int | None
) -> tuple[dict[str, str], dict[str, Stamp]]:
    """Return the sha256 of every image that some file may hold a row of.

    An image of the size and modification time that its row remembers is not read again; those of
    the others come second, to be remembered now. An image that failed unread has no sha256 to
    compare: it is the same as long as its size and time are. An image that is new may be one that
    moved: it is read only if it has the size of one that vanished.
    """
    hashes: dict[str, str] = {}
    unsure: dict[str, Stamp] = {}
    known = [store.known(file) for file in files]
    for rows in known:
        for id_, row in rows.items():
            if id_ not in sources or id_ in hashes or row.status == store.PENDING:
                continue
            stamp = sources[id_].stamp()
            if stamp is None:
                continue
            if stamp != (row.size, row.mtime_ns):
                unsure[id_] = stamp
            elif row.sha256:
                hashes[id_] = row.sha256
    unsure = {id_: stamp for id_, stamp in unsure.items() if id_ not in hashes}
    unsure |= _perhaps_moved(known, sources, {*hashes, *unsure})
    to_read = [sources[id_] for id_ in unsure]
    digests = read_in_order(to_read, _sha256, reader_count(workers), SHORT_WORK)
    for id_, digest in zip(unsure, digests, strict=True):
        if digest:
            hashes[id_] = digest
    return hashes, {id_: stamp for id_, stamp in unsure.items() if id_ in hashes}


def _perhaps_moved(
    known: Iterable[Mapping[str, store.KnownRow]],
    sources: Mapping[str, ImageSource],
    besides: set[str],
) -> dict[str, Stamp]:
    """Return the stamps of new images that have the size of one that vanished."""
    new: dict[str, Stamp] = {}
    for rows in known:
        sizes = {row.size for id_, row in rows.items() if id_ not in sources and row.sha256}
        if not sizes:
            continue
        for id_, source in sources.items():
            if id_ in besides or id_ in new:
                continue
            if id_ in rows and rows[id_].status != store.PENDING:
                continue
            stamp = source.stamp()
            # A row that remembers no size may be of any image.
            if stamp is not None and (stamp.size in sizes or -1 in sizes):
                new[id_] = stamp
    return new


def _sha256(source: ImageSource) -> str:
    return source.sha256()  # "" where it is unreadable now: its row stays as it is
