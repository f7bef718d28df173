"""Bringing data to the disk itself, and saying plainly when the disk does not take it."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import h5py

from cxrfeat.errors import CxrfeatError, StorageError

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def storage_errors(path: Path, needed: int = 0) -> Iterator[None]:
    """Turn what the system says about a full or failing disk into a `StorageError`."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:  # h5py raises any of them
        number = error_number(error)
        if isinstance(error, CxrfeatError) or (isinstance(error, ValueError) and not number):
            raise
        if number in _NO_ROOM:
            room = f"'{path.parent}' has no room"
            if needed:
                room += f" for a file of {needed / 1e6:,.1f} MB"
            message = f"{room}: free some and run the same command again"
        else:
            message = f"'{path}' cannot be written ({str(error).splitlines()[0]})"
        raise StorageError(message + "; nothing that was committed is lost") from error


def error_number(error: BaseException) -> int:
    """Find the system's error number, which HDF5 sometimes tells only in words."""
    number = getattr(error, "errno", None)
    if isinstance(number, int):
        return number
    told = re.search(r"errno = (\d+)", str(error))
    return int(told[1]) if told else 0


def sync(file: h5py.File) -> None:
    """Bring everything written to the disk itself."""
    file.flush()
    os.fsync(file.id.get_vfd_handle())


def sync_file(path: Path) -> None:
    """Bring a file that is closed to the disk itself."""
    _sync(path, os.O_RDWR)  # Windows syncs only what may be written


def sync_folder(path: Path) -> None:
    """Bring the names in a folder to the disk itself; Windows does so by itself."""
    if sys.platform != "win32":
        _sync(path, os.O_RDONLY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
