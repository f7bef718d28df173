"""Which images are not what they were when their row was written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from cxrfeat import store
from cxrfeat.extraction.reading_ahead import SHORT_WORK, read_in_order, reader_count


def current_hashes(
    files: Iterable[Path], paths: Mapping[str, Path], workers: int | None
) -> tuple[dict[str, str], dict[str, tuple[int, int]]]:
    """Return the sha256 of every image that some file may hold a row of.

    An image of the size and modification time that its row remembers is not read again; those of
    the others come second, to be remembered now. An image that failed unread has no sha256 to
    compare: it is the same as long as its size and time are. An image that is new may be one that
    moved: it is read only if it has the size of one that vanished.
    """
    hashes: dict[str, str] = {}
    unsure: dict[str, tuple[int, int]] = {}
    known = [store.known(file) for file in files]
    for rows in known:
        for id_, row in rows.items():
            if id_ not in paths or id_ in hashes or row.status == store.PENDING:
                continue
            stat = _stat(paths[id_])
            if stat is None:
                continue
            if stat != (row.size, row.mtime_ns):
                unsure[id_] = stat
            elif row.sha256:
                hashes[id_] = row.sha256
    unsure = {id_: stat for id_, stat in unsure.items() if id_ not in hashes}
    unsure |= _perhaps_moved(known, paths, {*hashes, *unsure})
    unsure_files = [paths[id_] for id_ in unsure]
    digests = read_in_order(unsure_files, _sha256, reader_count(workers), SHORT_WORK)
    for id_, digest in zip(unsure, digests, strict=True):
        if digest:
            hashes[id_] = digest
    return hashes, {id_: stat for id_, stat in unsure.items() if id_ in hashes}


def _perhaps_moved(
    known: Iterable[Mapping[str, store.KnownRow]], paths: Mapping[str, Path], besides: set[str]
) -> dict[str, tuple[int, int]]:
    """Return size and time of new images that have the size of one that vanished."""
    new: dict[str, tuple[int, int]] = {}
    for rows in known:
        sizes = {row.size for id_, row in rows.items() if id_ not in paths and row.sha256}
        if not sizes:
            continue
        for id_, path in paths.items():
            if id_ in besides or id_ in new:
                continue
            if id_ in rows and rows[id_].status != store.PENDING:
                continue
            stat = _stat(path)
            # A row that remembers no size may be of any image.
            if stat is not None and (stat[0] in sizes or -1 in sizes):
                new[id_] = stat
    return new


def _stat(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except (OSError, ValueError):
        return None
    return stat.st_size, stat.st_mtime_ns


def _sha256(path: Path) -> str:
    try:
        if not path.is_file():  # opening a named pipe would wait for its writer
            return ""
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""  # unreadable now: its row stays as it is
