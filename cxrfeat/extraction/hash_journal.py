"""Hashes that are kept while images are hashed, so that an interruption does not cost them.

To hash a million images takes hours, and an embedding file takes them in only when all are there.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import IO, Self

from cxrfeat.extraction.sources import Stamp


def journal_of(file: Path) -> Path:
    """Return where the hashes of a run are kept, by the first of its embedding files."""
    return file.with_name(f"{file.name}.hashed")


class HashJournal:
    """Sha256 by id, size and time of change, a line each; for one process at a time.

    A line that was not written to its end counts for nothing. A disk that takes none costs no more
    than what is kept.

    Parameters
    ----------
    path
        The file; it is there only after the first hash.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None
        self._found: dict[str, tuple[Stamp, str]] = {}

    def __enter__(self) -> Self:
        with contextlib.suppress(OSError), self._path.open(encoding="utf-8") as lines:
            for line in lines:
                with contextlib.suppress(ValueError):
                    id_, size, mtime_ns, digest = json.loads(line)
                    self._found[id_] = Stamp(size, mtime_ns), digest
        return self

    def __exit__(self, *raised: object) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()

    def find(self, id: str, stamp: Stamp) -> str:
        """Return the sha256 of an image as it is; "" where it was not kept."""
        kept, digest = self._found.get(id, (None, ""))
        return digest if kept == stamp else ""

    def keep(self, id: str, stamp: Stamp, digest: str) -> None:
        """Write one down; a kill costs none that is written."""
        with contextlib.suppress(OSError):
            if self._file is None:
                self._file = self._path.open("a", encoding="utf-8")
                self._file.write("\n")  # after what may be the beginning of a line
            self._file.write(json.dumps([id, *stamp, digest]) + "\n")
            self._file.flush()
