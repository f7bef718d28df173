"""Import a package as if something that it would import were not installed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def missing(module: str) -> Iterator[None]:
    """Have an import of `module` fail in this block, unless somebody imported it before.

    Parameters
    ----------
    module : str
        Its whole name; an import of it raises `ModuleNotFoundError`, as that of one not installed.
    """
    unset = object()
    before = sys.modules.get(module, unset)
    sys.modules.setdefault(module, None)  # type: ignore[arg-type]  # "there is none"
    try:
        yield
    finally:
        if before is unset:
            del sys.modules[module]
