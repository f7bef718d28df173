"""One writer per file: a lock beside it that names its owner and outlives nobody.

The lock is a POSIX record lock on ``<file>.lock``, which the kernel drops when its owner dies,
however it dies, and which worker processes do not inherit. The owner's name inside is for people
and for file systems that several machines share: a record left by another machine cannot be
checked from here, so it is believed until somebody deletes it.
"""

from __future__ import annotations

import fcntl
import getpass
import json
import os
import socket
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cxrfeat.errors import LockedError, StorageError

_held: set[Path] = set()  # a record lock does not keep its own process out
_guard = threading.Lock()


class FileLock:
    """The right to write one file, from construction to `release`.

    Parameters
    ----------
    path
        The file to be written; the lock is ``<path>.lock``.

    Raises
    ------
    LockedError
        If another process, or another writer of this one, holds the file.
    StorageError
        If the folder cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.target = path.resolve()
        self.path = self.target.with_name(self.target.name + ".lock")
        with _guard:
            if self.target in _held:
                raise LockedError(
                    f"'{path}' is already being written by this process: close that writer first"
                )
            self._descriptor = self._acquire(path)
            _held.add(self.target)

    def _acquire(self, shown: Path) -> int:
        while True:
            try:
                descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            except OSError as error:
                raise StorageError(
                    f"cannot write beside '{shown}': {error.strerror}; choose another folder"
                ) from error
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                owner = _read_owner(descriptor)
                os.close(descriptor)
                raise LockedError(
                    f"'{shown}' is being written by {_describe(owner)}: "
                    "wait for it, or end that process"
                ) from error
            if not _is_still_at(descriptor, self.path):
                os.close(descriptor)  # its owner released it between our open and our lock
                continue
            owner = _read_owner(descriptor)
            if owner and not _same_machine(owner):
                os.close(descriptor)
                raise LockedError(
                    f"'{shown}' is being written by {_describe(owner)}: wait for it, "
                    f"or, if that process is gone, delete '{self.path.name}'"
                )
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(_this_process()).encode(), 0)
            return descriptor

    def release(self) -> None:
        """Give the file back; calling it again does nothing."""
        with _guard:
            if self._descriptor >= 0:
                self.path.unlink(missing_ok=True)
                os.close(self._descriptor)
                self._descriptor = -1
                _held.discard(self.target)


def _this_process() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "boot": _boot_id(),
        "pid": os.getpid(),
        "user": _user(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user id has no name
        return f"user {os.getuid()}"


def _boot_id() -> str:
    """Tell one running kernel from another; containers on one machine share it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _same_machine(owner: dict[str, Any]) -> bool:
    boot = _boot_id()
    return owner.get("host") == socket.gethostname() or (boot != "" and owner.get("boot") == boot)


def _read_owner(descriptor: int) -> dict[str, Any]:
    """Read the record inside; an empty one was left by a kill while it was being written."""
    try:
        owner = json.loads(os.pread(descriptor, 4096, 0))
    except ValueError:
        return {}
    return owner if isinstance(owner, dict) else {}


def _describe(owner: dict[str, Any]) -> str:
    if not owner:
        return "another process"
    return (
        f"process {owner.get('pid')} of {owner.get('user')} on {owner.get('host')} "
        f"since {owner.get('since')}"
    )


def _is_still_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
