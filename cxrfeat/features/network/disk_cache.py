"""The folder in which networks are kept ready, so that only their first use costs time."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any


def cache_folder() -> Path:
    """Return $CXRFEAT_CACHE, or the user's cache folder."""
    if configured := os.environ.get("CXRFEAT_CACHE"):
        return Path(configured)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "cxrfeat"


def key_of(*parts: object) -> str:
    """Return a file name for what these parts decide."""
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:32]


@cache
def makers() -> str:
    """Return a digest of what makes whatever is kept: torch, torchvision and this package.

    The package counts by its source, so that a change while developing is never masked by what
    was kept before it.
    """
    sources = sorted(Path(__file__).parents[1].rglob("*.py"))
    packages = [f"{name} {version(name)}" for name in ("torch", "torchvision")]
    return key_of(*packages, *(path.read_text(encoding="utf-8") for path in sources))


def read(path: Path) -> Any:
    """Return what `write` kept; None where there is nothing that can be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def write(path: Path, content: Any) -> None:
    """Keep `content` as JSON, whole or not at all; nothing where the folder cannot be written."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):  # a home such as /dev/null is no folder at all
            temporary.unlink()
