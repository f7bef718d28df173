"""Where the bytes of an image come from: files, members of archives, or objects of a store.

What decodes pictures knows bytes alone, so that another kind of place is one more class here. Two
scans look at the heads of files only, at a tenth of the cost of whole ones or less: the columns
that DICOM declares, and the depth of 16-bit pictures. They open a source and read as much as they
need.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple, Protocol, TypeVar

from cxrfeat import images
from cxrfeat.errors import ImageError
from cxrfeat.images import ReadingOptions
from cxrfeat.inputs import Dataset, Member, Place, PlaceList, RemoteFile
from cxrfeat.paths import PathLike

Seen = TypeVar("Seen")

_FETCHED_BYTES = 4 << 20
"""What one request fetches of an object that is hashed."""


class Stamp(NamedTuple):
    """What tells without reading whether an image is what it was.

    Attributes
    ----------
    size : int
        In bytes.
    mtime_ns : int
        When it was last changed; or what `inputs.Member` and `inputs.RemoteFile` say.
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

    def version(self) -> str:
        """Name these bytes without reading them: where they are, and all that changes with them.

        Returns
        -------
        str
            32 hexadecimal digits; "" where nothing names them. Two images that are not the same
            bytes never have one name, whatever their ids, sizes and times.
        """
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

    def open(self) -> BinaryIO:
        """Open it, for what needs its head alone; no more is read than is asked for.

        Raises
        ------
        ImageError
            As `read`.
        """
        ...

    def head(self, count: int) -> bytes:
        """Return its first bytes, as many as there are; b"" where it cannot be read."""
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
    path : Path or str
        Text takes a third of the time to make, and to send to another process.
    """

    id: str
    path: PathLike

    def stamp(self) -> Stamp | None:
        """Return its size and time of change; None where it is gone."""
        try:
            found = os.stat(self.path)
        except (OSError, ValueError):
            return None
        return Stamp(found.st_size, found.st_mtime_ns)

    def version(self) -> str:
        """Name its bytes by its path from the root and what the file system says of it."""
        try:
            return _digest("file", os.path.abspath(self.path), *_state(self.path))
        except (OSError, ValueError):
            return ""

    def read(self, limit: int) -> bytes:
        """Return its bytes.

        Raises
        ------
        ImageError
            As `images.load_file` says.
        """
        return images.load_file(self.path, limit)

    def open(self) -> BinaryIO:
        """Open it.

        Raises
        ------
        ImageError
            ``unreadable``: no regular file, or one that cannot be opened.
        """
        try:
            if os.path.isfile(self.path):  # opening a named pipe would wait for its writer
                return open(self.path, "rb")
        except (OSError, ValueError):
            pass
        raise ImageError("unreadable", "it cannot be opened")

    def head(self, count: int) -> bytes:
        """Return its first bytes: without a file object, which would cost five times as much."""
        try:
            if not stat.S_ISREG(os.stat(self.path).st_mode):  # as `open`
                return b""
            descriptor = os.open(self.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            try:
                return os.read(descriptor, count)
            finally:
                os.close(descriptor)
        except (OSError, ValueError):
            return b""

    def sha256(self) -> str:
        """Return the sha256 of its bytes, of which few are in memory at once."""
        try:
            if not os.path.isfile(self.path):  # opening a named pipe would wait for its writer
                return ""
            with open(self.path, "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return ""


@dataclass(frozen=True, slots=True)
class MemberSource:
    """An image in a zip or tar archive, which is not unpacked.

    Attributes
    ----------
    id : str
    member : Member
    """

    id: str
    member: Member

    def stamp(self) -> Stamp | None:
        """Return its size, and what tells whether it was changed; None without its archive."""
        if not self.member.is_there():
            return None
        return Stamp(self.member.size, self.member.mtime_ns)

    def version(self) -> str:
        """Name its bytes by its archive, as that is now, and its place in it."""
        member, path = self.member, self.member.archive.path
        try:
            state = _state(path)
        except (OSError, ValueError):
            return ""
        place = (member.offset, member.size, member.crc, member.mtime_ns)
        return _digest("member", os.path.abspath(path), *state, member.name, *place)

    def read(self, limit: int) -> bytes:
        """Return its bytes.

        Raises
        ------
        ImageError
            As `Member.read` says.
        """
        return self.member.read(limit)

    def open(self) -> BinaryIO:
        """Open it.

        Raises
        ------
        ImageError
            As `Member.open` says.
        """
        return self.member.open(ReadingOptions.max_bytes)

    def head(self, count: int) -> bytes:
        """Return its first bytes."""
        return look_at(self, lambda file: file.read(count), b"")

    def sha256(self) -> str:
        """Return the sha256 of its bytes; "" also where there are more than are ever read."""
        try:
            return hashlib.sha256(self.member.read(ReadingOptions.max_bytes)).hexdigest()
        except ImageError:
            return ""


@dataclass(frozen=True, slots=True)
class RemoteSource:
    """An image in an object store, as it was when that was listed.

    Attributes
    ----------
    id : str
    object : RemoteFile
    """

    id: str
    object: RemoteFile

    def stamp(self) -> Stamp:
        """Return its size and version as they were listed: asking again would be a request each."""
        return Stamp(self.object.size, self.object.mtime_ns)

    def version(self) -> str:
        """Name its bytes by its address, size, time and ETag."""
        return _digest("object", self.object.url, *self.stamp())

    def read(self, limit: int) -> bytes:
        """Return its bytes.

        Raises
        ------
        ImageError
            As `RemoteFile.read` says.
        """
        return self.object.read(limit)

    def open(self) -> BinaryIO:
        """Open it; what is read of it is fetched."""
        return self.object.open()

    def head(self, count: int) -> bytes:
        """Return its first bytes; one request."""
        try:
            return self.object.part(0, min(count, self.object.size))
        except ImageError:
            return b""

    def sha256(self) -> str:
        """Return the sha256 of its bytes, of which few are in memory at once."""
        digest = hashlib.sha256()
        try:
            for start in range(0, self.object.size, _FETCHED_BYTES):
                end = min(start + _FETCHED_BYTES, self.object.size)
                data = self.object.part(start, end)
                if len(data) < end - start:
                    return ""  # it is another one now
                digest.update(data)
        except ImageError:
            return ""
        return digest.hexdigest()


def _state(path: PathLike) -> tuple[int, int, int, int]:
    """Return what changes with a file, also where it is replaced by one of its size and time.

    Archives and copies bring the time of the last change with them; when the entry in the file
    system changed, and its number, no program can set.
    """
    found = os.stat(path)
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def _digest(*parts: object) -> str:
    text = "\0".join(map(str, parts))
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]


def source_of(id: str, place: Place | str) -> ImageSource:
    """Return the source of an image by where it is."""
    if isinstance(place, RemoteFile):
        return RemoteSource(id, place)
    return MemberSource(id, place) if isinstance(place, Member) else FileSource(id, place)


class Sources(Mapping[str, ImageSource]):
    """The source of every image of a dataset by its id, in their order; made when asked for.

    Parameters
    ----------
    found
        The images.

    Attributes
    ----------
    ids : list of str
    """

    def __init__(self, found: Dataset) -> None:
        self.ids = found.ids
        paths = found.paths
        self._places = paths if isinstance(paths, PlaceList) else PlaceList(paths)
        self._row_of = dict(zip(found.ids, range(len(found.ids)), strict=True))

    def at(self, row: int) -> ImageSource:
        """Return the source of the image at a place of the dataset."""
        return source_of(self.ids[row], self._places.named(row))

    def __getitem__(self, id: str) -> ImageSource:
        return self.at(self._row_of[id])

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, id: object) -> bool:
        return id in self._row_of


def sources_of(found: Dataset) -> Sources:
    """Return the source of every image of a dataset by its id, in their order."""
    return Sources(found)


def look_at(source: ImageSource, look: Callable[[BinaryIO], Seen], without: Seen) -> Seen:
    """Look at the head of an image; `without` where it cannot be opened: reading it says why."""
    try:
        with source.open() as file:
            return look(file)
    except (ImageError, OSError):
        return without
