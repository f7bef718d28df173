"""The secret that turns patient ids into groups nobody can turn back."""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
import threading
from functools import cache
from pathlib import Path

from cxrfeat.errors import InputError
from cxrfeat.inputs import PatientKey

VARIABLE = "CXRFEAT_PATIENT_KEY"
_DIGITS = 64  # hexadecimal: 32 bytes
_one_at_a_time = threading.Lock()


def patient_key() -> bytes:
    """Return the key: from ``$CXRFEAT_PATIENT_KEY``, else from a file only this user can read.

    A plain hash of a patient id can be undone by trying all ids; a keyed one cannot, as long as
    the key stays where it is. The same key gives the same groups, so that images added later
    join their patient; two sites that share patients share a key by the variable.

    Raises
    ------
    InputError
        If there is a file for it that is damaged or cannot be read.
    """
    given = os.environ.get(VARIABLE)
    return os.fsencode(given) if given else _stored_key()[0]


def named_key() -> PatientKey:
    """Name the key without giving it away, and say whether the next process will have it too.

    Raises
    ------
    InputError
        As `patient_key`.
    """
    name = hmac.new(patient_key(), b"cxrfeat patient key id", "sha256").hexdigest()[:16]
    return PatientKey(name, lasts=bool(os.environ.get(VARIABLE)) or _stored_key()[1])


def key_file() -> Path:
    """Return where the key lies when the variable is not set.

    Raises
    ------
    RuntimeError
        If there is no home.
    """
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base, "cxrfeat", "patient-key")


def _stored_key() -> tuple[bytes, bool]:
    """Return the key of this user; second, whether it will be there next time."""
    with _one_at_a_time:  # the threads that read headers would each draw a key of their own
        return _key_once()


@cache
def _key_once() -> tuple[bytes, bool]:
    """Read the key, or make it where there is none yet."""
    try:
        path = key_file()
        present = _exists(path)
    except RuntimeError:
        return _passing_key(), False
    if not present:
        try:
            _make(path)
        except OSError:
            return _passing_key(), False
    return _read(path), True


def _passing_key() -> bytes:
    """Draw a key for this process alone, because there is no home to keep one in."""
    return secrets.token_bytes(32)


def _exists(path: Path) -> bool:
    """Whether there is a key; a folder that may not be looked into counts as one."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(_DIGITS // 2))
        with contextlib.suppress(FileExistsError):  # another process was first: its key counts
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _read(path: Path) -> bytes:
    mend = (
        f"copy it from a backup or set ${VARIABLE} to what stood in it; or delete it, and with a"
        " new key extract into another folder or with --prune"
    )
    try:
        key = path.read_bytes().strip()  # an editor may have ended it with a new line
    except OSError as error:
        raise InputError(
            f"the patient key '{path}' cannot be read ({error.strerror}): let this user read it,"
            f" or set ${VARIABLE} to what stands in it"
        ) from error
    if len(key) != _DIGITS or not all(byte in b"0123456789abcdef" for byte in key):
        raise InputError(
            f"the patient key '{path}' is not the {_DIGITS} hexadecimal digits that it was made of:"
            f" {mend}"
        )
    return key
