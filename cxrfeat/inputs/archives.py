"""Zip and tar archives as folders: what is in them, and the bytes of one member.

Nothing is unpacked to disk. The list of an archive is read once; from then on a member is read by
its place, each time through a file of its own, so that any thread or process may read any member.
Only the standard library reads here, and every number that an archive states is a claim.
"""

from __future__ import annotations

import io
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

from cxrfeat.errors import ImageError, InputError

_PACKED = {
    **dict.fromkeys((".tar.gz", ".tgz"), "gunzip"),
    **dict.fromkeys((".tar.bz2", ".tbz2"), "bunzip2"),
    **dict.fromkeys((".tar.xz", ".txz"), "unxz"),
    ".tar.zst": "unzstd",
}
"""Tar archives that are packed as a whole, and what unpacks them."""

_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_STORED, _DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
_ENCRYPTED = 0x1
_BLOCK = 1 << 16


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive as it was when it was listed.

    Attributes
    ----------
    path : Path
    size, mtime_ns : int
        By which a later change is noticed.
    """

    path: Path
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive: where it lies, not what it holds. It can be pickled.

    Attributes
    ----------
    archive : Archive
    name : str
        Its path in the archive, ``/`` as separator.
    offset : int
        Of its header (zip) or of its bytes (tar).
    size, packed_size : int
        In bytes; equal where it is not compressed.
    method : int
        As zip counts them; 0 is not compressed. -1: this member cannot be read, e.g. because it is
        encrypted or sparse.
    crc : int
        CRC-32 of its bytes; -1 in a tar, which has none.
    mtime_ns : int
        With `size` tells whether it is what it was: its date and CRC-32 in a zip; the modification
        time of the whole archive for a tar.
    """

    archive: Archive
    name: str
    offset: int
    size: int
    packed_size: int
    method: int
    crc: int
    mtime_ns: int

    @property
    def suffix(self) -> str:
        """The ending of its name, as `Path.suffix`."""
        return PurePosixPath(self.name).suffix

    def is_there(self) -> bool:
        """Whether the archive is still the one that was listed."""
        try:
            status = os.stat(self.archive.path)
        except (OSError, ValueError):
            return False
        return (status.st_size, status.st_mtime_ns) == (self.archive.size, self.archive.mtime_ns)

    def open(self, limit: int) -> BinaryIO:
        """Open it for reading from any place; heads of members cost no more than themselves.

        Parameters
        ----------
        limit
            Most bytes that are unpacked.

        Raises
        ------
        ImageError
            ``missing``, ``unreadable``, ``unsupported``, ``damaged``, or ``too_large`` where it
            states more bytes than `limit`.
        """
        if self.size > limit:
            raise ImageError("too_large", f"{self.size} bytes, more than the limit of {limit}")
        if self.method not in (_STORED, _DEFLATED):
            raise ImageError("unsupported", "an encrypted, sparse or unusually compressed member")
        try:
            file = open(self.archive.path, "rb")  # noqa: SIM115  # what is returned closes it
        except FileNotFoundError:
            raise ImageError("missing", "the archive is not there any more") from None
        except OSError as error:
            raise ImageError("unreadable", error.strerror or "opening the archive failed") from None
        try:
            status = os.fstat(file.fileno())
            if (status.st_size, status.st_mtime_ns) != (self.archive.size, self.archive.mtime_ns):
                raise ImageError("unreadable", "the archive was changed after it was listed")
            start = self.offset if self.crc < 0 else _start_of(file, self.offset)
            window = io.BufferedReader(_Window(file, start, self.packed_size, self.name))
        except BaseException:
            file.close()
            raise
        if self.method == _STORED:
            return window
        return io.BufferedReader(_Inflated(window, self.size, self.name))

    def read(self, limit: int) -> bytes:
        """Return its bytes, checked against its size and, in a zip, its CRC-32.

        Raises
        ------
        ImageError
            As `open`, or ``truncated`` or ``damaged``.
        """
        with self.open(limit) as file:
            try:
                data = file.read(self.size + 1)
            except OSError as error:
                raise ImageError("unreadable", error.strerror or "reading failed") from None
        if len(data) < self.size:
            raise ImageError("truncated", f"{len(data)} of {self.size} bytes are in the archive")
        if len(data) > self.size:
            raise ImageError("damaged", "the archive holds more bytes of it than it states")
        if self.crc >= 0 and zlib.crc32(data) != self.crc:
            raise ImageError("damaged", "its bytes are not those of the archive's check sum")
        return data


def is_archive(path: Path) -> bool:
    """Whether a path is named like an archive, packed ones included."""
    return path.suffix.lower() in (".zip", ".tar") or _packed_by(path) is not None


def members_of(path: Path) -> list[Member]:
    """List the files of an archive, in the order of their names; a later one of a name counts.

    Raises
    ------
    InputError
        An archive that is broken, packed as a whole, or not there.
    """
    if program := _packed_by(path):
        raise InputError(
            f"'{path}' is packed as a whole, so that an image cannot be read without all before"
            f" it: unpack that layer by '{program} -k {path.name}' and give the .tar"
        )
    try:
        status = path.stat()
        return _listed(Archive(path, status.st_size, status.st_mtime_ns))
    except OSError as error:
        raise InputError(f"'{path}' cannot be read: {error.strerror or error}") from error


@lru_cache(maxsize=8)
def _listed(archive: Archive) -> list[Member]:
    """List an archive; once, though a table looks for images in several ways."""
    found = _in_tar(archive) if archive.path.suffix.lower() == ".tar" else _in_zip(archive)
    by_name: dict[str, Member] = {}
    for member in found:
        by_name[member.name] = member
    return sorted(by_name.values(), key=lambda member: member.name)


def _packed_by(path: Path) -> str | None:
    name = path.name.lower()
    return next((program for ending, program in _PACKED.items() if name.endswith(ending)), None)


def _in_zip(archive: Archive) -> Iterator[Member]:
    try:
        with zipfile.ZipFile(archive.path) as file:
            listed = file.infolist()
    except NotImplementedError as error:  # sound, but of a version that zipfile does not read
        raise InputError(
            f"'{archive.path}' is a zip archive of a kind that is not read ({error}): pack it again"
            " with another program, or unpack it"
        ) from error
    except (zipfile.BadZipFile, struct.error, ValueError) as error:
        raise InputError(
            f"'{archive.path}' is a broken zip archive ({error}): download or make it again"
        ) from error
    for info in listed:
        written = info.filename
        if info.create_system == 0:  # some programs on Windows write its separator
            written = written.replace("\\", "/")
        name = _inside(written)
        if info.is_dir() or not name:
            continue
        readable = info.compress_type in (_STORED, _DEFLATED) and not info.flag_bits & _ENCRYPTED
        yield Member(
            archive,
            name,
            offset=info.header_offset,
            size=info.file_size,
            packed_size=info.compress_size,
            method=info.compress_type if readable else -1,
            crc=info.CRC,
            mtime_ns=_minutes(info.date_time) * 60_000_000_000 + info.CRC,
        )


def _in_tar(archive: Archive) -> Iterator[Member]:
    """List a tar by the headers before its members; it has no list of its own."""
    broken = f"'{archive.path}' is a broken tar archive"
    try:
        with tarfile.open(archive.path, "r:") as file:
            known: dict[str, Member] = {}
            for info in file:
                name = _inside(info.name)
                target = known.get(_inside(info.linkname)) if info.islnk() else None
                if not name or not (info.isreg() or target):
                    continue
                known[name] = Member(
                    archive,
                    name,
                    offset=target.offset if target else info.offset_data,
                    size=target.size if target else info.size,
                    packed_size=target.size if target else info.size,
                    method=target.method if target else -1 if info.issparse() else _STORED,
                    crc=-1,
                    mtime_ns=archive.mtime_ns,
                )
                yield known[name]
            end = file.offset
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        raise InputError(f"{broken} ({error}): download or make it again") from error
    with open(archive.path, "rb") as raw:
        raw.seek(end)
        # It ends with zeros; at a header that it does not understand, the library ends as quietly.
        if raw.read(tarfile.BLOCKSIZE).strip(b"\0"):
            raise InputError(f"{broken} (no header at byte {end}): download or make it again")


def _inside(name: str) -> str:
    """Return a path as one below the archive; "" for one that leads out of it."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    return "" if ".." in parts else "/".join(parts)


def _minutes(date: tuple[int, int, int, int, int, int]) -> int:
    """Count minutes to a date of a zip, whose seconds are rough; its CRC-32 tells more."""
    year, month, day, hour, minute, _ = date
    return (((year - 1980) * 12 + month) * 31 + day) * 1440 + hour * 60 + minute


def _start_of(file: IO[bytes], offset: int) -> int:
    """Return where the bytes of a member of a zip begin."""
    file.seek(offset)
    head = file.read(_LOCAL_HEADER.size)
    if len(head) < _LOCAL_HEADER.size or not head.startswith(b"PK\3\4"):
        raise ImageError("damaged", "there is no member where the archive says")
    *_, name_length, extra_length = _LOCAL_HEADER.unpack(head)
    return offset + len(head) + int(name_length) + int(extra_length)


class _SizedFile(io.RawIOBase):
    """What is read from any place of a known size; `readinto` goes on from ``_at``."""

    def __init__(self, size: int, name: str) -> None:
        self.name = name  # which pydicom asks of any buffered file
        self._size, self._at = size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError("a place before the beginning")
        self._at = base + offset
        return self._at


class _Window(_SizedFile):
    """A stretch of a file as a file; closing it closes that."""

    def __init__(self, file: IO[bytes], start: int, size: int, name: str) -> None:
        super().__init__(size, name)
        self._file, self._start = file, start

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self._file.seek(self._start + self._at)
        data = self._file.read(max(0, min(len(buffer), self._size - self._at)))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


class _Inflated(_SizedFile):
    """A deflated member as a file: inflated as far as it is read, and no farther than it states."""

    def __init__(self, packed: BinaryIO, size: int, name: str) -> None:
        super().__init__(size, name)
        self._packed = packed
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        self._known = bytearray()

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self._inflate_to(self._at + len(buffer))
        data = self._known[self._at : self._at + len(buffer)]
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _inflate_to(self, wanted: int) -> None:
        """Inflate up to a place; one byte more than stated is enough to know that it is a lie."""
        wanted = min(wanted, self._size + 1)
        waiting = self._inflate.unconsumed_tail
        while len(self._known) < wanted and not self._inflate.eof:
            packed = waiting or self._packed.read(_BLOCK)
            if not packed:
                return
            try:
                self._known += self._inflate.decompress(packed, wanted - len(self._known))
            except zlib.error as error:
                raise ImageError("damaged", f"its bytes cannot be inflated ({error})") from None
            waiting = self._inflate.unconsumed_tail

    def close(self) -> None:
        if not self.closed:
            self._packed.close()
        super().close()
