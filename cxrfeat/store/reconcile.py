"""What must change in a file so that it holds a dataset: plain data, no files touched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cxrfeat.arrays import RowNumbers
from cxrfeat.errors import InputError
from cxrfeat.inputs import Dataset
from cxrfeat.store.format1 import DONE, PENDING, Table


@dataclass(frozen=True)
class Changes:
    """What opening a file for a dataset did, in rows.

    Attributes
    ----------
    reused : int
        Embeddings that need not be computed again.
    moved : int
        Images that took over, under their new id, the row of an image that vanished and whose
        bytes are theirs. They are among `reused`, or, where that row failed, `failed_kept`.
    added : int
        Images the file did not have.
    changed : int
        Images whose bytes are not the ones the file knew.
    gone, dropped : int
        Rows of images that are not in the dataset any more: kept and marked as gone, or dropped
        because of `prune` or because they were pending still.
    failed_kept, retried : int
        Images that failed before: left alone, or (`retry_failed`) to be tried again.
    rewritten : bool
        Whether the file was replaced by a new one, because rows, labels or columns changed.
    """

    reused: int = 0
    moved: int = 0
    added: int = 0
    changed: int = 0
    gone: int = 0
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
    rows = len(dataset.ids)
    if len(unique := set(dataset.ids)) < rows or "" in unique:
        name = next((name for name, n in Counter(dataset.ids).items() if n > 1), "")
        raise InputError(f"the id '{name}' is empty or stands twice: ids must be unique")
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
    key = dataset.patient_key if "group" in meta else None
    return Table(
        dataset.ids,
        list(dataset.classes),
        dataset.kind,
        labels,
        meta,
        patient_key=key,
        declared=dataset.declared,
    )


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
    An image whose id is known and whose sha256 is not given counts as unchanged. One whose id has
    no row of these bytes takes over the row of a vanished image that has.
    """
    source = positions(wanted.ids, old.ids)
    known = np.append(status != PENDING, False)[source]  # row -1, a new image, finds False
    same = known.copy()
    hashed = _places_of(current_sha256, wanted.ids)
    for place, now in hashed.items():
        row = source[place]
        same[place] = known[place] and (not now or now.encode() == sha256[row])
    found = np.zeros(len(old.ids) + 1, dtype=bool)
    found[source] = True
    vanished = np.flatnonzero(~found[:-1] & (status != PENDING))
    movable = _Movable(old.ids, sha256, vanished.tolist())
    moved = 0
    for place, now in hashed.items():
        if not same[place] and (row := movable.take(wanted.ids[place], now.encode())) is not None:
            source[place], same[place] = row, True
            moved += 1

    done = same & (np.append(status, np.uint8(PENDING))[source] == DONE)
    failed = same & ~done
    changed = known & ~same
    reset = source[changed | failed if retry_failed else changed]
    kept = [] if prune else [row for row in vanished.tolist() if row not in movable.taken]
    lost = int(np.count_nonzero(~found[:-1])) - len(movable.taken)
    source = np.append(source, np.array(kept, dtype=np.int64))
    table = _merge_tables(old, wanted, source, len(wanted.ids))
    table.gone = np.repeat(np.array([0, 1], dtype=np.uint8), (len(wanted.ids), len(kept)))
    count = np.count_nonzero
    return Plan(
        table=table,
        source=source,
        reset=reset,
        changes=Changes(
            reused=int(count(done)),
            moved=moved,
            added=int(count(~known & ~same & (source[: len(known)] < 0))),
            changed=int(count(changed)),
            gone=len(kept),
            dropped=lost - len(kept),
            failed_kept=0 if retry_failed else int(count(failed)),
            retried=int(count(failed)) if retry_failed else 0,
            # Without the dataset `/gone`, a mark is a change of HDF5's structures.
            rewritten=not table.same_as(old) or (old.gone is None and bool(kept)),
        ),
    )


def positions(names: Sequence[str], among: Sequence[str]) -> RowNumbers:
    """Return where each of some unique names stands among others; -1 where it does not."""
    if names == among:  # as a rule: an index takes as much memory as the names
        return np.arange(len(among), dtype=np.int64)
    place = dict(zip(among, range(len(among)), strict=True))
    return np.fromiter((place.get(name, -1) for name in names), np.int64, len(names))


def _places_of(current_sha256: Mapping[str, str], ids: Sequence[str]) -> dict[int, str]:
    """Return the sha256 of images by their place among the wanted ones, in their order."""
    if not current_sha256:
        return {}
    return {place: current_sha256[name] for place, name in enumerate(ids) if name in current_sha256}


class _Movable:
    """Rows of vanished images, to be found by the bytes of the image.

    Attributes
    ----------
    taken : set of int
        Rows that an image has taken over.
    """

    def __init__(
        self, ids: list[str], sha256: npt.NDArray[np.bytes_], vanished: Sequence[int]
    ) -> None:
        self.taken: set[int] = set()
        self._ids = ids
        self._rows: dict[bytes, list[int]] = {}
        for row in vanished:
            if sha256[row]:
                self._rows.setdefault(bytes(sha256[row]), []).append(row)

    def take(self, name: str, sha256: bytes) -> int | None:
        """Find a row of these bytes: one of the same file name first, and one of its own.

        Where there are more copies of an image than rows, several take over one row.
        """
        rows = self._rows.get(sha256)
        if not rows:
            return None
        last = name.rpartition("/")[2]
        row = min(
            rows,
            key=lambda row: (row in self.taken, self._ids[row].rpartition("/")[2] != last, row),
        )
        self.taken.add(row)
        return row


def _merge_tables(
    old: Table, wanted: Table, source: npt.NDArray[np.int64], wanted_rows: int
) -> Table:
    """Describe every row by the dataset where it is in it, else by the file.

    Labels and columns the dataset says nothing about stay as they were.
    """
    kept = [old.ids[row] for row in source[wanted_rows:].tolist()]
    ids = [*wanted.ids, *kept] if kept else wanted.ids
    table = Table(ids)
    table.patient_key = wanted.patient_key if "group" in wanted.meta else old.patient_key
    table.declared = _declared_by_either(old, wanted)
    known = source >= 0
    if wanted.labels is None and old.labels is not None:
        table.classes, table.kind = old.classes, old.kind
        table.labels = np.full((len(ids), len(old.classes)), np.nan, dtype=np.float32)
        table.labels[known] = old.labels[source[known]]
    elif wanted.labels is not None:
        table.kind = wanted.kind
        table.classes, table.labels = _merge_labels(old, wanted, source[wanted_rows:])
    for name in [*wanted.meta, *(name for name in old.meta if name not in wanted.meta)]:
        parts = [one.meta[name] for one in (wanted, old) if name in one.meta]
        column = np.zeros(len(ids), dtype=np.result_type(*parts))
        if name in old.meta:
            column[known] = old.meta[name][source[known]]
        if name in wanted.meta:
            column[:wanted_rows] = wanted.meta[name]
        table.meta[name] = column
    return table


def _declared_by_either(old: Table, wanted: Table) -> dict[str, bool] | None:
    """Say which columns of the file to be are what images declare, vanished ones included."""
    if wanted.declared is None:
        return None
    of_vanished = {
        name: kept for name, kept in (old.declared or {}).items() if name not in wanted.meta
    }
    return of_vanished | wanted.declared


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
