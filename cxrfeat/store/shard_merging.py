"""One file out of the shards of an extractor: that of a single run, made once."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from cxrfeat.arrays import RowNumbers
from cxrfeat.errors import InputError
from cxrfeat.paths import PathLike
from cxrfeat.store.format1 import DONE, FAILED, PENDING, Header
from cxrfeat.store.joined_files import JoinedFiles, Merged, open_parts
from cxrfeat.store.joining import common_header, join
from cxrfeat.store.lock import FileLock
from cxrfeat.store.reader import Embeddings
from cxrfeat.store.reconcile import positions
from cxrfeat.store.rewrite import require_same
from cxrfeat.store.validation import damage_named


def merge_shards(paths: Sequence[PathLike], out: PathLike) -> Merged:
    """Join the shards of an extractor into the file that one run over all images would have made.

    Rows are in the order of their ids. What the file says of its environment is what the last
    shard says. A file that holds all rows of the shards already is left as it is; one that holds
    fewer, as a merge of some of them, is replaced.

    Parameters
    ----------
    paths
        One file or more, no image in two of them.
    out
        The one file.

    Raises
    ------
    InputError
        If `out` holds what the shards do not, or patients were hashed with different keys.
    SpecMismatchError, FileFormatError, LockedError, StorageError
        As `merge`.
    """
    out = Path(out)
    with contextlib.ExitStack() as stack:
        stack.enter_context(FileLock(out))
        parts = open_parts(paths, stack)
        joined = join(parts, replace(common_header(parts), environment=parts[-1].environment))
        joined.table.declared = _declared_by_all(parts)
        joined.sort()
        if out.exists():
            with Embeddings(out) as there:
                if _is_held_by(joined, there):
                    return joined.told(out, there, unchanged=True)
        return joined.write(out)


def _declared_by_all(parts: Sequence[Embeddings]) -> dict[str, bool] | None:
    """Return the columns that images of any shard declare; None where one does not say."""
    declared: dict[str, bool] = {}
    for part in parts:
        if part.declared is None:
            return None
        declared |= part.declared
    return declared


def _is_held_by(joined: JoinedFiles, there: Embeddings) -> bool:
    """Tell whether a file has all these rows; refuse one that has others.

    Raises
    ------
    InputError
        The file has rows, labels or columns that would be lost if it was replaced.
    """
    require_same(there.path, joined.header, Header(there.spec, there.dimension, there.storage))
    theirs = positions(joined.table.ids, there.ids)
    ours = np.flatnonzero(theirs >= 0)
    theirs = theirs[ours]
    names = ("status", "sha256", "checksum")
    status, *mine = (joined.column(name)[ours] for name in names)
    with damage_named(there.path):
        state, *other = (there.file[name][...][theirs] for name in names)
    same = (status == DONE) & (state == DONE)
    for a, b in zip(mine, other, strict=True):
        same &= a == b
    fails_in_both = (status == FAILED) & (state != PENDING)
    if len(ours) == len(joined.table.ids) and np.all(same | fails_in_both | (status == PENDING)):
        return True
    rows_lost = np.count_nonzero(there.status == DONE) > np.count_nonzero(same)
    if rows_lost or not _agrees_with(joined, there, ours, theirs):
        raise InputError(
            f"'{there.path}' has rows, labels or columns that the shards do not have, which a"
            " merge would lose: move it to another place and merge again, or go on with it by"
            " cxrfeat extract without --shard"
        )
    return False


def _agrees_with(
    joined: JoinedFiles, there: Embeddings, ours: RowNumbers, theirs: RowNumbers
) -> bool:
    """Tell whether a file says of some rows what these say: labels and columns."""
    table = joined.table
    if (there.labels is None) != (table.labels is None) or there.classes != table.classes:
        return False
    if (
        there.labels is not None
        and table.labels is not None
        and not np.array_equal(there.labels[theirs], table.labels[ours], equal_nan=True)
    ):
        return False
    return all(
        name in table.meta and np.array_equal(values[theirs], table.meta[name][ours])
        for name, values in there.meta.items()
    )
