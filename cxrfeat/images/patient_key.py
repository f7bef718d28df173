"""The secret that turns patient ids into groups nobody can turn back."""

from __future__ import annotations

import os
import secrets
from functools import cache
from pathlib import Path

VARIABLE = "CXRFEAT_PATIENT_KEY"


def patient_key() -> bytes:
    """Return the key: from ``$CXRFEAT_PATIENT_KEY``, else from a file only this user can read.

    A plain hash of a patient id can be undone by trying all ids; a keyed one cannot, as long as
    the key stays where it is. The same key gives the same groups, so that images added later
    join their patient; two sites that share patients share a key by the variable.
    """
    given = os.environ.get(VARIABLE)
    return given.encode() if given else _stored_key()


def key_file() -> Path:
    """Return where the key lies when the variable is not set."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base, "cxrfeat", "patient-key")


@cache
def _stored_key() -> bytes:
    path = key_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
        try:
            os.link(draft, path)  # fails where another process was first; then its key counts
        except FileExistsError:
            pass
        finally:
            draft.unlink()
        return path.read_bytes()
    except (OSError, RuntimeError):
        # No home to write to: the groups then hold within this process only.
        return secrets.token_bytes(32)
