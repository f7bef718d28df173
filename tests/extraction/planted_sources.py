"""Images that do what no image should: kill the process that reads them, or hide from it."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from cxrfeat.errors import ImageError
from cxrfeat.extraction.sources import FileSource, Stamp


@dataclass(frozen=True)
class Planted:
    """A file that acts in every process but the one that made it.

    Attributes
    ----------
    id : str
    path : Path
    here : int
        The process in which it is a file like any other.
    kills : str
        "" never, "always", or "once": the first process that reads it.
    hides : bool
        Whether it is not to be found.
    """

    id: str
    path: Path
    here: int
    kills: str = ""
    hides: bool = False

    def stamp(self) -> Stamp | None:
        return None if self._hidden() else FileSource(self.id, self.path).stamp()

    def version(self) -> str:
        return "" if self._hidden() else FileSource(self.id, self.path).version()

    def read(self, limit: int) -> bytes:
        if self._hidden():
            raise ImageError("missing", "there is no such file")
        if os.getpid() != self.here and (
            self.kills == "always" or (self.kills == "once" and self._first())
        ):
            os.kill(os.getpid(), signal.SIGKILL)
        return FileSource(self.id, self.path).read(limit)

    def open(self) -> BinaryIO:
        return FileSource(self.id, self.path).open()

    def head(self, count: int) -> bytes:
        return FileSource(self.id, self.path).head(count)

    def sha256(self) -> str:
        return FileSource(self.id, self.path).sha256()

    def _hidden(self) -> bool:
        return self.hides and os.getpid() != self.here

    def _first(self) -> bool:
        try:
            self.path.with_suffix(".killed").touch(exist_ok=False)
        except FileExistsError:
            return False
        return True
