"""A file of embeddings that are all there already: those of other programs, written in one go."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from cxrfeat.arrays import Matrix32
from cxrfeat.errors import InputError
from cxrfeat.inputs import Dataset
from cxrfeat.spec import Spec
from cxrfeat.store.format1 import DONE, Header, Table
from cxrfeat.store.lock import FileLock
from cxrfeat.store.reconcile import Changes, dataset_table, plan, positions
from cxrfeat.store.rewrite import (
    computed_by,
    copy_rows,
    refuse_other_patients,
    replace_file,
    require_same,
)
from cxrfeat.store.rows import READ_BYTES, checksums, finite_rows, read_rows
from cxrfeat.store.validation import damage_named, open_for_reading, read_header, read_table

_SHA256 = re.compile("[0-9a-f]{64}")
SHOWN = 3
"""Ids that a message names; it counts all."""


def write_all(
    path: Path,
    X: Matrix32,
    dataset: Dataset,
    *,
    spec: Spec,
    sha256: Sequence[str] | None = None,
    environment: Mapping[str, Any] | None = None,
    prune: bool = False,
) -> Changes:
    """Write a file with an embedding for every image; it appears whole, or not at all.

    A file that exists gets the labels and columns of `dataset`, and rows that it lacks. Rows of
    other images are kept and marked as gone, as `open_writer` does.

    Parameters
    ----------
    X
        In the order of the images, shape (n, D).
    sha256
        Of each image's bytes; "" where it is not known.
    environment
        What the rows came from.
    prune
        Drop rows of other images instead.

    Raises
    ------
    InputError
        Rows that are not finite, ids that are not unique, or a file that holds other numbers of the
        same ids.
    SpecMismatchError
        A file of another spec.
    LockedError, StorageError, FileFormatError
        A file that cannot be written, or is damaged.
    """
    wanted = dataset_table(dataset)
    X = np.ascontiguousarray(X, dtype=np.float32)
    digests = ["" for _ in wanted.ids] if sha256 is None else list(sha256)
    _check(path, X, wanted.ids, digests)
    header = computed_by(Header(dict(spec), X.shape[1]), dict(environment or {}))
    with FileLock(path):
        if path.exists():
            return _bring_to(path, header, wanted, X, digests, prune=prune)
        replace_file(path, header, wanted, lambda new: _fill(new, X, digests, 0))
        return Changes(added=len(wanted.ids), rewritten=True)


def _check(path: Path, X: Matrix32, ids: Sequence[str], sha256: Sequence[str]) -> None:
    if not len(ids) or not X.shape[1]:
        raise InputError(f"'{path}' would hold no embedding: give a row and a number at least")
    if len(X) != len(ids) or len(sha256) != len(ids):
        raise InputError(f"{len(X)} rows and {len(sha256)} sha256 for {len(ids)} ids: give as many")
    if wrong := next((one for one in sha256 if one and not _SHA256.fullmatch(one)), None):
        raise InputError(f"'{wrong}' is no sha256, which has 64 hexadecimal digits")
    refuse_not_finite(X, ids)


def refuse_not_finite(X: Matrix32, ids: Sequence[str], where: str = "") -> None:
    """Refuse rows with NaN or infinity, naming their ids.

    Raises
    ------
    InputError
    """
    broken = np.flatnonzero(~finite_rows(X)).tolist()
    if broken:
        raise InputError(
            f"{where}{len(broken)} of {len(X)} rows have NaN or infinity"
            f" ({listed([ids[row] for row in broken])}): mend them, or leave these images out"
        )


def listed(names: Sequence[str]) -> str:
    """Name the first of some ids."""
    shown = ", ".join(f"'{name}'" for name in names[:SHOWN])
    return shown + (", ..." if len(names) > SHOWN else "")


def _bring_to(
    path: Path, header: Header, wanted: Table, X: Matrix32, sha256: list[str], *, prune: bool
) -> Changes:
    """Write an existing file anew, with these rows first and those of other images after them."""
    with open_for_reading(path) as file:
        theirs = read_header(file, path)
        require_same(path, header, theirs)
        old = read_table(file, path)
        refuse_other_patients(path, old, wanted, prune)
        with damage_named(path):
            status = file["status"][...]
        _refuse_other_numbers(path, file, old, status, wanted, X)
        todo = plan(old, status, file["sha256"][...], wanted, {}, prune=prune, retry_failed=False)
        known = [*theirs.environments]
        known += [one for one in header.environments if one not in known]
        ours = known.index(header.environment) if header.environment else -1
        kept = np.arange(len(wanted.ids), len(todo.table.ids))

        def fill(new: h5py.File) -> None:
            _fill(new, X, sha256, ours)
            copy_rows(file, path, todo.source[kept], new, kept)

        replace_file(
            path, replace(header, created=theirs.created, environments=known), todo.table, fill
        )
    return replace(todo.changes, rewritten=True)


def _refuse_other_numbers(
    path: Path,
    file: h5py.File,
    old: Table,
    status: npt.NDArray[np.uint8],
    wanted: Table,
    X: Matrix32,
) -> None:
    at = positions(wanted.ids, old.ids)
    ours = np.flatnonzero((at >= 0) & (np.append(status, np.uint8(0))[at] == DONE))
    differing: list[str] = []
    step = max(1, READ_BYTES // (4 * X.shape[1]))
    for start in range(0, len(ours), step):
        some = ours[start : start + step]
        with damage_named(path):
            stored = read_rows(file["embeddings"], at[some])
        other = (stored.view(np.uint8) != X[some].view(np.uint8)).any(axis=1)
        differing += [wanted.ids[row] for row in some[other].tolist()]
    if differing:
        raise InputError(
            f"'{path}' holds other numbers of {len(differing)} images under the same spec"
            f" ({listed(differing)}): say in the spec what differs, or choose another file"
        )


def _fill(new: h5py.File, X: Matrix32, sha256: list[str], environment: int) -> None:
    """Write the first rows of a new file, block by block."""
    step = max(1, READ_BYTES // (4 * X.shape[1]))
    for start in range(0, len(X), step):
        rows = slice(start, min(start + step, len(X)))
        digests = np.array([digest.encode("ascii") for digest in sha256[rows]], dtype="S64")
        new["embeddings"][rows] = X[rows]
        new["sha256"][rows] = digests
        new["checksum"][rows] = checksums(digests, X[rows])
        new["environment"][rows] = environment
        new["status"][rows] = DONE
