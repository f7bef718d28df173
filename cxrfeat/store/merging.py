"""One file out of several of the same extractor, whatever they have in common."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cxrfeat.errors import InputError
from cxrfeat.paths import PathLike
from cxrfeat.store.joined_files import Merged, open_parts
from cxrfeat.store.joining import common_header, join
from cxrfeat.store.lock import FileLock


def merge(paths: Sequence[PathLike], out: PathLike) -> Merged:
    """Join files of one fingerprint into a new one; rows are matched by id.

    Where several files have an id, they must agree on its sha256, embedding, labels and columns;
    a row that is done is taken before one that failed or is pending. A row whose image is gone
    counts only where no other file has the image.

    Parameters
    ----------
    paths
        Two files or more; the order of their rows is kept.
    out
        The new file; it must not exist.

    Raises
    ------
    InputError
        If `out` exists, files are stored differently, rows conflict, or patients were hashed with
        different keys.
    SpecMismatchError
        If the fingerprints differ.
    FileFormatError
        If a file, or one of its rows, is damaged.
    LockedError
        If another process writes `out`.
    StorageError
        If `out` cannot be written.
    """
    out = Path(out)
    if len(paths) < 2:
        raise InputError("one file is no merge: give two or more")
    with contextlib.ExitStack() as stack:
        stack.enter_context(FileLock(out))
        if out.exists():
            raise InputError(f"'{out}' exists already: give another name with --out, or delete it")
        parts = open_parts(paths, stack)
        header = common_header(parts)
        origins = [{"name": p.name, "rows": len(p), "environment": p.environment} for p in parts]
        joined = join(parts, replace(header, environment={"merged_from": origins}))
        return joined.write(out)
