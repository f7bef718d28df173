"""What must change in a file so that it holds a dataset: plain data, no files touched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cxrfeat.dataset import Dataset
from cxrfeat.errors import InputError
from cxrfeat.store.layout import DONE, PENDING, Table


@dataclass(frozen=True)
class Changes:
    """What opening a file for a dataset did, in rows.

    Attributes
    ----------
    reused : int
        Embeddings that need not be computed again.
    added : int
        Images the file did not have.
    changed : int
        Images whose bytes are not the ones the file knew.
    vanished_kept, dropped : int
        Rows of images that are not in the dataset any more: kept, or dropped because of
        `prune` or because they were pending still.
    failed_kept, retried : int
        Images that failed before: left alone, or (`retry_failed`) to be tried again.
    rewritten : bool
        Whether the file was replaced by a new one, because rows, labels or columns changed.
    """

    reused: int = 0
    added: int = 0
    changed: int = 0
    vanished_kept: int = 0
    dropped: int = 0
    failed_kept: int = 0
    retried: int = 0
    rewritten: bool = False


@dataclass(frozen=True)
class Plan:
    """The table a file shall have and where its rows come from.

    Attributes
    ----------
    table : Table
        Ids, labels and columns of the file to be.
    source : ndarray of int64, shape (N,)
        The row of the old file that each row is taken from; -1 for a new one.
    reset : ndarray of int64
        Rows of the old file whose embedding no longer counts.
    changes : Changes
    """

    table: Table
    source: npt.NDArray[np.int64]
    reset: npt.NDArray[np.int64]
    changes: Changes


def dataset_table(dataset: Dataset) -> Table:
    """Take from a dataset what is stored.

    Raises
    ------
    InputError
        If an id is empty or stands twice, or labels and columns do not have one row per id.
    """
    seen: set[str] = set()
    for name in dataset.ids:
        if not name or name in seen:
            raise InputError(f"the id '{name}' is empty or stands twice: ids must be unique")
        seen.add(name)
    rows = len(dataset.ids)
    labels = None
    if dataset.labels is not None:
        labels = np.asarray(dataset.labels, dtype=np.float32)
        if labels.shape != (rows, len(dataset.classes)):
            raise InputError(
                f"labels have shape {labels.shape}, not one row for each of {rows} ids "
                f"and one column for each of {len(dataset.classes)} classes"
            )
    for name, values in dataset.meta.items():
        if len(values) != rows:
            raise InputError(f"column '{name}' has {len(values)} values for {rows} ids")
    meta = {name: np.asarray(values, dtype=np.str_) for name, values in dataset.meta.items()}
    return Table(list(dataset.ids), list(dataset.classes), dataset.kind, labels, meta)


def plan(
    old: Table,
    status: npt.NDArray[np.uint8],
    sha256: npt.NDArray[np.bytes_],
    wanted: Table,
    current_sha256: Mapping[str, str],
    *,
    prune: bool,
    retry_failed: bool,
) -> Plan:
    """Compare a file with the dataset it shall hold.

    The rows will be the dataset's, in its order, then those of vanished images in their old
    order; a vanished image that is still pending can never be computed, so its row goes.
    An image whose id is known and whose sha256 is not given counts as unchanged.
    """
    row_of = {name: row for row, name in enumerate(old.ids)}
    names = set(wanted.ids)
    vanished = [row for row, name in enumerate(old.ids) if name not in names]
    kept = [] if prune else [row for row in vanished if status[row] != PENDING]

    reset, counts = [], {"reused": 0, "changed": 0, "failed_kept": 0, "retried": 0}
    for name in wanted.ids:
        row = row_of.get(name)
        if row is None or status[row] == PENDING:
            continue
        now = current_sha256.get(name, "").encode()
        if now and now != sha256[row]:
            outcome = "changed"
        elif status[row] == DONE:
            outcome = "reused"
        else:
            outcome = "retried" if retry_failed else "failed_kept"
        counts[outcome] += 1
        if outcome in ("changed", "retried"):
            reset.append(row)

    source = [row_of.get(name, -1) for name in wanted.ids] + kept
    table = _merge_tables(old, wanted, np.array(source, dtype=np.int64), len(wanted.ids))
    return Plan(
        table=table,
        source=np.array(source, dtype=np.int64),
        reset=np.array(reset, dtype=np.int64),
        changes=Changes(
            added=sum(row < 0 for row in source),
            vanished_kept=len(kept),
            dropped=len(vanished) - len(kept),
            rewritten=not table.same_as(old),
            **counts,
        ),
    )


def _merge_tables(
    old: Table, wanted: Table, source: npt.NDArray[np.int64], wanted_rows: int
) -> Table:
    """Describe every row by the dataset where it is in it, else by the file.

    Labels and columns the dataset says nothing about stay as they were.
    """
    ids = wanted.ids + [old.ids[row] for row in source[wanted_rows:]]
    table = Table(ids)
    known = source >= 0
    if wanted.labels is None and old.labels is not None:
        table.classes, table.kind = old.classes, old.kind
        table.labels = np.full((len(ids), len(old.classes)), np.nan, dtype=np.float32)
        table.labels[known] = old.labels[source[known]]
    elif wanted.labels is not None:
        table.kind = wanted.kind
        table.classes, table.labels = _merge_labels(old, wanted, source[wanted_rows:])
    for name in [*wanted.meta, *(name for name in old.meta if name not in wanted.meta)]:
        column = np.full(len(ids), "", dtype=object)
        if name in old.meta:
            column[known] = old.meta[name][source[known]]
        if name in wanted.meta:
            column[:wanted_rows] = wanted.meta[name]
        table.meta[name] = column.astype(np.str_)
    return table


def _merge_labels(
    old: Table, wanted: Table, vanished: npt.NDArray[np.int64]
) -> tuple[list[str], npt.NDArray[np.float32]]:
    assert wanted.labels is not None
    theirs = (
        old.labels[vanished]
        if old.labels is not None
        else np.full((len(vanished), 0), np.nan, dtype=np.float32)
    )
    extra = [
        name
        for column, name in enumerate(old.classes)
        if name not in wanted.classes and np.any(theirs[:, column] == 1)
    ]
    classes = wanted.classes + extra
    labels = np.full((len(wanted.ids) + len(vanished), len(classes)), np.nan, dtype=np.float32)
    above, below = labels[: len(wanted.ids)], labels[len(wanted.ids) :]
    if wanted.kind == "multiclass":  # one class holds, so the classes of the other part do not
        above[np.isfinite(wanted.labels).any(axis=1)] = 0
        below[np.isfinite(theirs).any(axis=1)] = 0
    above[:, : len(wanted.classes)] = wanted.labels
    for column, name in enumerate(old.classes):
        if name in classes:
            below[:, classes.index(name)] = theirs[:, column]
    return classes, labels
