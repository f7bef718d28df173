"""One of something, or several: paths, names and whatever else callers give."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

PathLike = str | os.PathLike[str]


def several(given: Any) -> list[Any]:
    """Return one thing, or each of several, as a list.

    One is a text, a path, a classifier, and whatever cannot be iterated over; everything else is
    several. None is none.
    """
    if given is None:
        return []
    if isinstance(given, str | bytes | os.PathLike) or hasattr(given, "fit"):
        return [given]  # some classifiers can be iterated over, by their trees
    return list(given) if isinstance(given, Iterable) else [given]
