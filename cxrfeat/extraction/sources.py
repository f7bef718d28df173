"""Where the bytes of an image come from: files of folders are one kind of source.

What decodes pictures knows bytes alone, so that an archive or an object store is one more class
here. Two scans look at the heads of files only, at a tenth of the cost of whole ones or less: the
columns that DICOM declares, and the depth of 16-bit pictures. They go by `Dataset.paths`; a kind of
source without paths has to bring the columns itself and be given the bits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from cxrfeat import images
from cxrfeat.inputs import Dataset


class Stamp(NamedTuple):
    """What tells without reading whether an image is what it was.

    Attributes
    ----------
    size : int
        In bytes.
    mtime_ns : int
        When it was last changed.
    """

    size: int
    mtime_ns: int


NO_STAMP = Stamp(0, 0)
"""Of an image that is not there."""


class ImageSource(Protocol):
    """One image that can be read, here or in another process: small, and it can be pickled."""

    @property
    def id(self) -> str:
        """Its name in embedding files."""
        ...

    def stamp(self) -> Stamp | None:
        """Return its size and time of change; None where it is gone. Never raises."""
        ...

    def read(self, limit: int) -> bytes:
        """Return its bytes.

        Raises
        ------
        ImageError
            ``missing``, ``unreadable``, ``not_a_file``, or ``too_large`` where it has more bytes
            than `limit`; nothing else.
        """
        ...

    def sha256(self) -> str:
        """Return the sha256 of its bytes, however many; "" where they cannot be read."""
        ...


@dataclass(frozen=True, slots=True)
class FileSource:
    """An image that is a file.

    Attributes
    ----------
    id : str
    path : Path
    """

    id: str
    path: Path

    def stamp(self) -> Stamp | None:
        """Return its size and time of change; None where it is gone."""
        try:
            stat = self.path.stat()
        except (OSError, ValueError):
            return None
        return Stamp(stat.st_size, stat.st_mtime_ns)

    def read(self, limit: int) -> bytes:
        """Return its bytes.

        Raises
        ------
        ImageError
            As `images.load_file` says.
        """
        return images.load_file(self.path, limit)

    def sha256(self) -> str:
        """Return the sha256 of its bytes, of which few are in memory at once."""
        try:
            if not self.path.is_file():  # opening a named pipe would wait for its writer
                return ""
            with self.path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return ""


def sources_of(found: Dataset) -> Mapping[str, ImageSource]:
    """Return the source of every image of a dataset by its id, in their order."""
    pairs = zip(found.ids, found.paths, strict=True)
    return {id_: FileSource(id_, path) for id_, path in pairs}
