"""Paths as callers give them: one or several, as text or as `pathlib.Path`."""

from __future__ import annotations

import os
from collections.abc import Sequence

PathLike = str | os.PathLike[str]


def several(paths: PathLike | Sequence[PathLike]) -> list[PathLike]:
    """Return one path, or each of several, as a list."""
    return [paths] if isinstance(paths, str | os.PathLike) else list(paths)
