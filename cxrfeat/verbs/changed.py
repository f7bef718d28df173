"""Which images are not what they were when their row was written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cxrfeat import store
from cxrfeat.verbs.reading import reader_count


def current_hashes(
    files: Iterable[Path], paths: Mapping[str, Path], workers: int | None
) -> tuple[dict[str, str], dict[str, tuple[int, int]]]:
    """Return the sha256 of every image that some file already holds a row of.

    An image of the size and modification time that its row remembers is not read again; those of
    the others come second, to be remembered now. An image that failed unread has no sha256 to
    compare: it is the same as long as its size and time are.
    """
    hashes: dict[str, str] = {}
    unsure: dict[str, tuple[int, int]] = {}
    for file in files:
        for id_, row in store.known(file).items():
            if id_ not in paths or id_ in hashes or row.status == store.PENDING:
                continue
            try:
                stat = paths[id_].stat()
            except OSError:
                continue
            if (stat.st_size, stat.st_mtime_ns) != (row.size, row.mtime_ns):
                unsure[id_] = (stat.st_size, stat.st_mtime_ns)
            elif row.sha256:
                hashes[id_] = row.sha256
    unsure = {id_: stat for id_, stat in unsure.items() if id_ not in hashes}
    with ThreadPoolExecutor(reader_count(workers)) as pool:
        digests = pool.map(_sha256, [paths[id_] for id_ in unsure])
        for id_, digest in zip(unsure, digests, strict=True):
            if digest:
                hashes[id_] = digest
    return hashes, {id_: stat for id_, stat in unsure.items() if id_ in hashes}


def _sha256(path: Path) -> str:
    try:
        if not path.is_file():  # opening a named pipe would wait for its writer
            return ""
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""  # unreadable now: its row stays as it is
