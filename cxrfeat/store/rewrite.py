"""Bringing a file to the rows, labels and columns it shall have, without ever being half way.

What changes the shape goes into a new file that takes the old one's place in one step; what only
sets rows back to pending is done where they are.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from cxrfeat.arrays import RowNumbers
from cxrfeat.errors import FileFormatError, InputError, SpecMismatchError, StorageError
from cxrfeat.spec import difference
from cxrfeat.store import format1
from cxrfeat.store.disk import storage_errors, sync, sync_file, sync_folder
from cxrfeat.store.format1 import PENDING, Header, Table, column_link, utf8_length
from cxrfeat.store.reconcile import Changes, Plan, plan
from cxrfeat.store.rows import READ_BYTES, read_rows, runs, set_status
from cxrfeat.store.validation import (
    damage_named,
    find_damaged_columns,
    open_for_reading,
    open_for_writing,
    read_header,
    read_table,
)

ROW_DATASETS = (
    "embeddings",
    "checksum",
    "sha256",
    "error",
    "stat",
    "rounding",
    "environment",
    "status",
)
_EMPTY = {
    "embeddings": np.nan,
    "checksum": 0,
    "sha256": b"",
    "error": b"",
    "stat": -1,
    "rounding": np.nan,
    "environment": -1,
}
"""What a row that is set back to pending holds."""

SAME_KEY = (
    "set $CXRFEAT_PATIENT_KEY to the same value, or copy the key file,"
    " ~/.config/cxrfeat/patient-key"
)
"""How to mend that groups were hashed with different keys."""


def bring_to(
    path: Path,
    header: Header,
    computed_in: Callable[[], dict[str, Any]],
    wanted: Table,
    current_sha256: Mapping[str, str],
    *,
    prune: bool,
    retry_failed: bool,
) -> tuple[Changes, list[str]]:
    """Give an existing file the rows, labels and columns that are wanted.

    `computed_in` tells the environment, and is asked only if there are rows to be computed.

    Returns
    -------
    changes : Changes
    ids : list of str
        Those of the file now.

    Raises
    ------
    SpecMismatchError, InputError, FileFormatError, StorageError
        As `cxrfeat.store.open_writer` documents.
    """
    new = None
    with open_for_reading(path) as file:
        theirs, old, todo, target = _planned(
            file, path, header, wanted, current_sha256, prune=prune, retry_failed=retry_failed
        )
        unnamed = False
        if len(target) < len(todo.source):
            header, unnamed = _named(computed_by(header, computed_in()), theirs, file)
        else:
            header = theirs
        changes = replace(todo.changes, rewritten=todo.changes.rewritten or unnamed)
        if changes.rewritten:
            _refuse_to_carry_damage(path, file, wanted, changes)

            def carry_over(new: h5py.File) -> None:
                copy_rows(file, path, todo.source[target], new, target)

            new = _write_beside(path, header, todo.table, carry_over)
    if new is not None:
        _put_in_place(new, path)
    else:
        gone = todo.table.gone
        if old.gone is not None and gone is not None and np.any(old.gone != gone):
            _mark_gone(path, gone)
        if len(todo.reset):
            reset_rows(path, todo.reset)
    return changes, todo.table.ids


def foreseen(
    path: Path,
    header: Header,
    wanted: Table,
    current_sha256: Mapping[str, str],
    *,
    prune: bool,
    retry_failed: bool,
) -> tuple[Changes, list[str]]:
    """Say what `bring_to` would do to an existing file, and whose rows would be pending.

    Raises
    ------
    SpecMismatchError, InputError, FileFormatError
        As `cxrfeat.store.open_writer` documents.
    """
    with open_for_reading(path) as file:
        _, _, todo, target = _planned(
            file, path, header, wanted, current_sha256, prune=prune, retry_failed=retry_failed
        )
    pending = np.setdiff1d(np.arange(len(todo.source)), target)
    return todo.changes, [todo.table.ids[row] for row in pending.tolist()]


def _planned(
    file: h5py.File,
    path: Path,
    header: Header,
    wanted: Table,
    current_sha256: Mapping[str, str],
    *,
    prune: bool,
    retry_failed: bool,
) -> tuple[Header, Table, Plan, RowNumbers]:
    """Return what a file is and has, what is to be done, and which new rows are there already."""
    theirs = read_header(file, path)
    require_same(path, header, theirs)
    old = read_table(file, path)
    refuse_other_patients(path, old, wanted, prune)
    with damage_named(path):
        status, sha256 = file["status"][...], file["sha256"][...]
    todo = plan(old, status, sha256, wanted, current_sha256, prune=prune, retry_failed=retry_failed)
    counts = np.append(status != PENDING, False)  # source -1, a new row, finds False
    counts[todo.reset] = False
    return theirs, old, todo, np.flatnonzero(counts[todo.source])


def computed_by(header: Header, environment: dict[str, Any]) -> Header:
    """Name the process that is to compute rows of a new file."""
    return replace(
        header, environment=environment, environments=[environment] if environment else []
    )


def _named(ours: Header, theirs: Header, file: h5py.File) -> tuple[Header, bool]:
    """Add this process to those that computed rows.

    Returns
    -------
    Header
        Of the file to be.
    bool
        Whether it says more than the file does, which must then be written anew.
    """
    environments = theirs.environments
    new = bool(ours.environment) and ours.environment not in environments
    if new:
        environments = [*environments, ours.environment]
    unnamed = bool(ours.environment) and (new or "environment" not in file)
    return replace(ours, created=theirs.created, environments=environments), unnamed


def refuse_other_patients(path: Path, old: Table, wanted: Table, prune: bool) -> None:
    """Refuse groups of another patient key, which would not match those of the file.

    With `prune` no row of the file keeps its old group, so that a key that lasts may replace one
    that is lost.
    """
    key = wanted.patient_key
    if key is None or "group" not in old.meta or key.id == old.patient_key_id:
        return
    if not key.lasts:
        raise InputError(
            f"'{path}' has patients already, and there is no place to keep a patient key in (the"
            " home folder cannot be written), so that new ones would not match: set"
            " $CXRFEAT_PATIENT_KEY to the key that it was made with, or, if that is lost, to a"
            " new secret and give all images new groups with --prune, or give --group-column"
        )
    if old.patient_key is not None and not prune:
        raise InputError(
            f"the patients of '{path}' were hashed with another key ({old.patient_key_id}, here"
            f" {key.id}): {SAME_KEY}; if that key is lost, --prune gives all images new groups"
        )


def _refuse_to_carry_damage(path: Path, file: h5py.File, wanted: Table, changes: Changes) -> None:
    """Refuse to give a damaged column a new checksum, unless the dataset replaces all of it."""
    given = {"id", *(f"meta/{column_link(name)}" for name in wanted.meta)}
    if wanted.labels is not None:
        given.add("labels")
    with damage_named(path):
        damaged = find_damaged_columns(file)
    if changes.gone == 0:
        damaged = [name for name in damaged if name not in given]
    if damaged:
        raise FileFormatError(
            f"'{path}' is damaged in {', '.join(f'/{name}' for name in damaged)}: extract again "
            "with --prune and the same labels, which writes them anew, or restore a copy"
        )


def require_same(path: Path, ours: Header, theirs: Header) -> None:
    """Refuse to mix rows that do not mean the same or are not stored alike."""
    if ours.fingerprint != theirs.fingerprint:
        lines = difference(ours.spec, theirs.spec)
        raise SpecMismatchError(
            f"'{path}' holds embeddings made in another way "
            f"({', '.join(line.partition(': ')[0] for line in lines)} differ): "
            "choose another file, or the same options",
            lines,
        )
    if ours.dimension != theirs.dimension:
        raise InputError(
            f"'{path}' holds embeddings of length {theirs.dimension}, not {ours.dimension}: "
            "choose another file"
        )
    if ours.storage != theirs.storage:
        raise InputError(
            f"'{path}' holds {theirs.storage}, not {ours.storage}: "
            f"ask for storage {theirs.storage}, or choose another file"
        )


def replace_file(
    path: Path,
    header: Header,
    table: Table,
    fill: Callable[[h5py.File], None] | None = None,
) -> None:
    """Make a new file, filled by `fill`, and put it in the place of the old one in one step."""
    _put_in_place(_write_beside(path, header, table, fill), path)


def _write_beside(
    path: Path, header: Header, table: Table, fill: Callable[[h5py.File], None] | None
) -> Path:
    """Make a new file beside the old one, which may be read meanwhile; return where it is."""
    new = path.with_name(path.name + ".new")
    needed = _size(header, table)
    free = shutil.disk_usage(path.parent).free
    if needed > free:
        raise StorageError(
            f"'{path}' needs {needed / 1e6:,.1f} MB and '{path.parent}' has "
            f"{free / 1e6:,.1f} MB free: make room and run the same command again"
        )
    try:
        with storage_errors(path, needed):
            file = format1.create(new, header, table)
            with contextlib.closing(file):
                if fill is not None:
                    fill(file)
                sync(file)
            sync_file(new)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    return new


def _put_in_place(new: Path, path: Path) -> None:
    """Let a new file take the place of the old one; Windows refuses while that is open."""
    try:
        with storage_errors(path):
            os.replace(new, path)
            sync_folder(path.parent)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def _size(header: Header, table: Table) -> int:
    per_row = header.dimension * format1.STORAGE_TYPES[header.storage].itemsize
    per_row += 64 + 4 + 4 + 4 + 1 + 1 + 16 + format1.ERROR_BYTES + 4 * len(table.classes)
    per_row += utf8_length(table.ids, "'id'")
    per_row += sum(utf8_length(column, f"'{name}'") for name, column in table.meta.items())
    return len(table.ids) * per_row + 100_000


def copy_rows(
    old: h5py.File,
    old_path: Path,
    source: npt.NDArray[np.int64],
    new: h5py.File,
    target: npt.NDArray[np.int64],
) -> None:
    """Copy rows as they are stored, checksums included, in blocks of bounded size.

    `target` counts up. Rows of the new file between those keep what they hold.
    """
    row_bytes = max(1, old["embeddings"].dtype.itemsize * old["embeddings"].shape[1])
    stretch = target // max(1, READ_BYTES // row_bytes)
    names = [name for name in ROW_DATASETS if name in new and name in old]
    for part in np.split(np.arange(len(target)), np.flatnonzero(np.diff(stretch)) + 1):
        if not len(part):
            continue
        to = target[part]
        first, last = int(to[0]), int(to[-1]) + 1
        for name in names:
            with damage_named(old_path):
                block = read_rows(old[name], source[part])
            if len(block) < last - first:
                between = new[name][first:last]
                between[to - first] = block
                block = between
            new[name][first:last] = block


def _mark_gone(path: Path, gone: npt.NDArray[np.uint8]) -> None:
    """Say where they are which rows lost their image, and which have it again."""
    with storage_errors(path), open_for_writing(path) as file:
        file["gone"][...] = gone
        sync(file)


def reset_rows(path: Path, rows: npt.NDArray[np.int64]) -> None:
    """Set rows back to pending where they are: first the status, then the data."""
    with storage_errors(path), open_for_writing(path) as file:
        set_status(file, dict.fromkeys(rows.tolist(), PENDING))
        sync(file)
        for run in runs(rows_sorted := np.sort(rows)):
            part = slice(int(rows_sorted[run.start]), int(rows_sorted[run.stop - 1]) + 1)
            for name, empty in _EMPTY.items():
                if name in file:
                    file[name][part] = empty
        sync(file)
