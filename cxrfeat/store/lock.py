"""One writer per file: a lock beside it that names its owner and outlives nobody.

The operating system decides who has the lock, and drops it when its owner dies, however it dies.
The record inside only tells people who that is. Windows forbids others to read the byte that is
locked there, the first one, so the record begins after it.
"""

from __future__ import annotations

import contextlib
import errno
import getpass
import json
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn, Self

import filelock

from cxrfeat.errors import LockedError, StorageError
from cxrfeat.paths import PathLike

_WAIT = 0.1  # seconds: an owner that is just ending is no reason to give up
_RECORD_BYTES = 4096
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)
_OTHER_KINDS = (errno.EISDIR, errno.ELOOP, errno.ENXIO)


class FileLock:
    """The right to write one file, from construction to `release`.

    Take it before any work that would be in vain without it, and give it to `open_writer`.

    Parameters
    ----------
    path
        The file to be written; the lock is ``<path>.lock``. Its folder is made where it is missing,
        and removed again if nothing was written there.

    Attributes
    ----------
    target : Path
        The file, links followed.
    taken_over : str
        The process of another machine that the record named although the system had the lock free;
        "" as a rule.

    Raises
    ------
    LockedError
        If another process, or another writer of this one, holds the file.
    StorageError
        If the folder cannot be written, or lies on a file system that has no locks.
    """

    def __init__(self, path: PathLike) -> None:
        shown = Path(path)
        self.target = shown.resolve()
        self.path = self.target.with_name(self.target.name + ".lock")
        self._made = _make_folder(shown.parent)
        self._descriptor = -1
        self._lock = filelock.FileLock(
            self.path,
            thread_local=False,
            fallback_to_soft=False,  # a lock that a kill leaves behind would need a person
            on_acquired=self._note,
        )
        try:
            self.taken_over = self._acquire(shown)
        except BaseException:
            _remove_folders(self._made)
            raise

    def _note(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def _acquire(self, shown: Path) -> str:
        while True:
            try:
                self._lock.acquire(timeout=_WAIT, poll_interval=_WAIT / 10)
            except filelock.Timeout as error:
                self._say_who_has_it(shown, error)
            except OSError as error:
                self._say_why_not(shown, error)
            if self._is_in_place():
                break
            self._lock.release()  # its owner removed it between our open and our lock
        owner = _read_record(self._descriptor)
        # It is for people, and a full disk may still have room for the rows that were allocated.
        with contextlib.suppress(OSError):
            _write_record(self._descriptor)
        return _describe(owner) if owner and not _is_here(owner) else ""

    def _say_who_has_it(self, shown: Path, error: filelock.Timeout) -> NoReturn:
        owner = self._owner()
        if not owner:
            raise LockedError(
                f"'{shown}' is being written by a process that '{self.path.name}' does not name:"
                " wait for it, or end that process"
            ) from error
        if owner.get("pid") == os.getpid() and owner.get("host") == socket.gethostname():
            raise LockedError(
                f"'{shown}' is already being written by this process: close that writer first"
            ) from error
        where = "" if _is_here(owner) else f" on {owner.get('host')}"
        raise LockedError(
            f"'{shown}' is being written by {_describe(owner)}: "
            f"wait for it, or end that process{where}"
        ) from error

    def _say_why_not(self, shown: Path, error: OSError) -> NoReturn:
        folder, reason = self.path.parent, error.strerror or str(error)
        if error.errno in _NO_LOCKS:
            with contextlib.suppress(OSError):
                self.path.unlink()
            told = (
                f"'{shown}' lies on a file system that cannot lock files ({reason}), so that two"
                " processes could spoil it: choose a folder on a local disk"
            )
        elif error.errno == errno.EROFS:
            told = f"'{folder}' is read-only: choose another folder"
        elif error.errno in _OTHER_KINDS or self.path.is_dir() or self.path.is_symlink():
            kind = (
                "link" if self.path.is_symlink() else "folder" if self.path.is_dir() else "device"
            )
            told = f"'{self.path}' is a {kind}, not a lock file: delete it"
        elif isinstance(error, PermissionError) and self.path.exists():
            owner = self._owner()
            told = (
                f"'{shown}' cannot be locked: '{self.path.name}', which this user may not write,"
                f" names {_describe(owner) if owner else 'no process'}; wait for it, or delete"
                f" '{self.path.name}' if that process is gone"
            )
        elif isinstance(error, PermissionError):
            told = (
                f"this user may not write in '{folder}': choose another folder, or ask its owner"
                " for the right"
            )
        else:
            told = f"'{shown}' cannot be locked ({reason}): choose another folder"
        raise StorageError(told) from error

    def _owner(self) -> dict[str, Any]:
        try:
            descriptor = os.open(self.path, os.O_RDONLY)
        except OSError:
            return {}
        try:
            return _read_record(descriptor)
        finally:
            os.close(descriptor)

    def _is_in_place(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._descriptor), self.path.stat())
        except FileNotFoundError:
            return False

    @property
    def held(self) -> bool:
        """Whether this process has the lock; a forked child does not have that of its parent."""
        return bool(self._lock.is_locked)

    def release(self) -> None:
        """Give the file back; calling it again does nothing."""
        if not self.held:
            return
        if self._is_in_place():
            # While it is held: who opened it meanwhile sees that it is gone. Windows does not let
            # go of open files; there the library removes it afterwards.
            with contextlib.suppress(OSError):
                self.path.unlink()
        self._lock.release()
        _remove_folders(self._made)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.release()


def _make_folder(folder: Path) -> list[Path]:
    """Make a folder and those above it; return the new ones, the innermost first."""
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _remove_folders(made)
        raise StorageError(
            f"cannot make the folder '{folder}' ({error.strerror}): choose another one"
        ) from error
    return made


def _remove_folders(folders: list[Path]) -> None:
    """Remove folders as far as they are empty."""
    with contextlib.suppress(OSError):
        for folder in folders:
            folder.rmdir()


def _write_record(descriptor: int) -> None:
    record = {
        "host": socket.gethostname(),
        "boot": _boot_id(),
        "pid": os.getpid(),
        "user": _user(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    os.ftruncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, b"\n" + json.dumps(record).encode())


def _read_record(descriptor: int) -> dict[str, Any]:
    """Read who has the lock; nothing where that is damaged, e.g. by a kill during the writing."""
    try:
        os.lseek(descriptor, 1, os.SEEK_SET)
        owner = json.loads(os.read(descriptor, _RECORD_BYTES))
    except (OSError, ValueError):
        return {}
    complete = isinstance(owner, dict) and isinstance(owner.get("pid"), int)
    return owner if complete else {}


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container whose user id has no name
        return "an unnamed user"


def _boot_id() -> str:
    """Tell one running kernel from another; containers on one machine share it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _is_here(owner: dict[str, Any]) -> bool:
    boot = _boot_id()
    return owner.get("host") == socket.gethostname() or (boot != "" and owner.get("boot") == boot)


def _describe(owner: dict[str, Any]) -> str:
    return (
        f"process {owner.get('pid')} of {owner.get('user')} on {owner.get('host')} "
        f"since {owner.get('since')}"
    )
