"""Folders in an object store (S3, Google Cloud, ...): what is in them, and the bytes of one object.

One listing gives names, sizes and times; from then on an object is read by its address, from any
thread or process that may. What reads is fsspec, by the part of the address before ``://``.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from cxrfeat.errors import ImageError, InputError, MissingExtraError
from cxrfeat.paths import PathLike

_LOOK_BYTES = 16384
"""What one request fetches of an object that is only looked at."""


@dataclass(frozen=True, slots=True)
class RemoteFolder:
    """What lies below an address.

    Attributes
    ----------
    url : str
        Such as ``s3://bucket/radiographs``; without a slash at its end.
    """

    url: str

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """An object as it was when it was listed. It can be pickled.

    Attributes
    ----------
    url : str
    below : str
        Its path below the folder that was listed.
    size : int
        In bytes.
    mtime_ns : int
        With `size` tells whether it is what it was: its time and, where there is one, its ETag.
    """

    url: str
    below: str
    size: int
    mtime_ns: int

    @property
    def name(self) -> str:
        """The last part of its path."""
        return PurePosixPath(self.below).name

    @property
    def suffix(self) -> str:
        """The ending of its name, as `Path.suffix`."""
        return PurePosixPath(self.below).suffix

    def open(self) -> BinaryIO:
        """Open it for reading from any place; only what is read is fetched."""
        return io.BufferedReader(_Fetched(self), _LOOK_BYTES)

    def read(self, limit: int) -> bytes:
        """Return its bytes.

        Raises
        ------
        ImageError
            ``missing``, ``unreadable``, or ``too_large`` where it has more bytes than `limit`.
        """
        if self.size > limit:
            raise ImageError("too_large", f"{self.size} bytes, more than the limit of {limit}")
        data = self.part(0, self.size)
        if len(data) < self.size:
            raise ImageError("unreadable", "the object was changed after it was listed")
        return data

    def part(self, start: int, end: int) -> bytes:
        """Return some of its bytes.

        Raises
        ------
        ImageError
            ``missing`` or ``unreadable``.
        """
        if start >= end:
            return b""
        try:
            file_system, path = _opened(self.url)
            data: bytes = file_system.cat_file(path, start=start, end=end)
        except FileNotFoundError:
            raise ImageError("missing", "there is no such object") from None
        except PermissionError:
            raise ImageError("unreadable", "no permission to read the object") from None
        except Exception as error:  # whatever a store's own package raises
            raise ImageError("unreadable", _first_line(error)) from None
        return data


class _Fetched(io.RawIOBase):
    """An object as a file; each read is a request."""

    def __init__(self, remote: RemoteFile) -> None:
        self.name = remote.url  # which pydicom asks of any buffered file
        self._remote, self._at = remote, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._remote.size}[whence]
        if base + offset < 0:
            raise OSError("a place before the beginning")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._remote.part(self._at, min(self._at + len(buffer), self._remote.size))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def remote_folder(root: PathLike) -> RemoteFolder | None:
    """Return the folder that an address names; None for a path of this machine."""
    if isinstance(root, str) and re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", root):
        return RemoteFolder(root.rstrip("/") if not root.endswith("://") else root)
    return None


def objects_below(folder: RemoteFolder) -> list[RemoteFile]:
    """List the objects below an address, in the order of their names.

    Raises
    ------
    MissingExtraError
        For S3 without the extra ``cloud``.
    InputError
        An address that cannot be listed, or where nothing lies.
    """
    try:
        file_system, path = _opened(folder.url)
        listed = file_system.find(path, detail=True)
    except (MissingExtraError, InputError):
        raise
    except Exception as error:
        raise InputError(
            f"'{folder}' cannot be listed ({_first_line(error)}): see that the address is right, "
            "and that this machine has the rights (environment or files of the store's own tools)"
        ) from None
    found = sorted(_files(folder, path, listed), key=lambda one: one.below)
    if not found:
        raise InputError(f"nothing lies at '{folder}': name the folder with the images")
    return found


def _files(
    folder: RemoteFolder, path: str, listed: Mapping[str, Mapping[str, Any]]
) -> Iterator[RemoteFile]:
    scheme = folder.url.partition("://")[0]
    root = path.rstrip("/")
    for name, told in listed.items():
        # A folder of its own is an object without bytes in some stores.
        if told.get("type", "file") != "file" or name.endswith("/"):
            continue
        below = name.removeprefix(root).lstrip("/") or PurePosixPath(name).name
        size = int(told.get("size") or 0)
        yield RemoteFile(f"{scheme}://{name.lstrip('/')}", below, size, _version(told))


def _version(told: Mapping[str, Any]) -> int:
    """Return a time in ns whose fraction of a second is made of the ETag, which tells more."""
    when = next(
        (told[key] for key in ("LastModified", "mtime", "updated", "created") if told.get(key)), 0
    )
    if isinstance(when, str):
        when = datetime.fromisoformat(when)
    seconds = when.timestamp() if isinstance(when, datetime) else float(when)
    tag = str(told.get("ETag") or told.get("etag") or seconds)
    return int(seconds) * 10**9 + zlib.crc32(tag.encode()) % 10**9


def _opened(url: str) -> tuple[Any, str]:
    """Return the file system of an address, which fsspec keeps, and the path in it."""
    scheme = url.partition("://")[0]
    try:
        from fsspec.core import url_to_fs

        file_system, path = url_to_fs(url)
    except ImportError as error:
        if scheme in ("s3", "s3a") or "fsspec" in str(error.name):
            raise MissingExtraError(f"'{scheme}://'", "cloud") from None
        raise InputError(f"'{scheme}://' needs a package: {_first_line(error)}") from None
    return file_system, str(path)


def _first_line(error: BaseException) -> str:
    first, *_ = [*str(error).strip().splitlines(), ""]
    return first[:200] or type(error).__name__
