"""Filling an embedding file so that a kill at any moment loses at most the last batch."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from cxrfeat.errors import InputError, StorageError
from cxrfeat.inputs import Dataset
from cxrfeat.paths import PathLike
from cxrfeat.spec import Spec
from cxrfeat.store import format1
from cxrfeat.store.disk import storage_errors, sync
from cxrfeat.store.format1 import DONE, FAILED, PENDING, Header, Storage
from cxrfeat.store.lock import FileLock
from cxrfeat.store.reconcile import Changes, dataset_table
from cxrfeat.store.rewrite import bring_to, computed_by, foreseen, replace_file
from cxrfeat.store.rows import (
    checksums,
    finite_rows,
    rounding_errors,
    runs,
    set_status,
    shorten,
)
from cxrfeat.store.validation import open_for_writing, read_header

_OVERFLOW = "a value is beyond what float16 holds; store float32"
_NOT_FINITE = "the embedding has NaN or infinity"


def open_writer(
    path: PathLike,
    *,
    spec: Spec,
    dataset: Dataset,
    dimension: int,
    current_sha256: Mapping[str, str] | None = None,
    current_stat: Mapping[str, tuple[int, int]] | None = None,
    environment: Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None = None,
    prune: bool = False,
    retry_failed: bool = False,
    storage: Storage = "float32",
    lock: FileLock | None = None,
) -> StoreWriter:
    """Create an embedding file, or open one and bring it to a dataset's ids, labels and columns.

    Rows whose id, and sha256 where `current_sha256` gives one, are unchanged keep their data;
    so does the row of a vanished image whose sha256 an image of another id has: it is that
    image's row from now on. The others become pending. Rows of other vanished images are marked
    as gone. A file whose ids, labels and columns are right already is not written anew.

    Parameters
    ----------
    path
        The file; its folder is made where it is missing.
    spec
        What decides the meaning of the numbers.
    dataset
        The images, with labels and columns.
    dimension
        D, the length of one embedding.
    current_sha256
        The sha256 of images as they are now, by id; an id left out counts as unchanged, or,
        where the file does not have it, as new.
    current_stat
        Size in bytes and modification time in ns of images that were hashed again, to be
        remembered where the image turns out to be the same.
    environment
        What computes the rows: recorded for each of them, it does not enter the fingerprint. A
        file that does not know it yet is written anew if it has rows to be computed. A function
        is asked, with the file locked, where there are rows to be computed, and not otherwise.
    prune
        Drop the rows of images that are not in `dataset`, instead of keeping and marking them.
    retry_failed
        Set failed rows back to pending.
    storage
        ``"float16"`` halves the file; the rounding error of each row is recorded.
    lock
        The lock of `path`, taken before; it is given back with the writer, or if there is none.

    Returns
    -------
    StoreWriter
        To be used in a ``with`` statement.

    Raises
    ------
    InputError
        For ids that are not unique, a file of another dimension or storage, one whose patients
        were hashed with another key, or a lock that is not of this file.
    SpecMismatchError
        If the file was made with another spec; ``difference`` has one line per entry.
    LockedError
        If another process writes the file.
    StorageError
        If the disk is full or the folder cannot be written.
    FileFormatError
        If the file is damaged or not ours.
    """
    path = Path(path)
    if storage not in format1.STORAGE_TYPES:
        raise InputError(f"storage '{storage}' is unknown: choose float32 or float16")
    wanted = dataset_table(dataset)

    @cache
    def computed_in() -> dict[str, Any]:
        told = environment() if callable(environment) else environment or {}
        return dict(json.loads(json.dumps(dict(told))))  # as it will be read back

    header = Header(dict(spec), dimension, storage)
    if lock is None:
        lock = FileLock(path)
    elif lock.target != path.resolve() or not lock.held:
        raise InputError(
            f"the lock of '{lock.target}' is not one of '{path}', or was given back: take another"
        )
    try:
        if path.exists():
            changes, ids = bring_to(
                *(path, header, computed_in, wanted, current_sha256 or {}),
                prune=prune,
                retry_failed=retry_failed,
            )
        else:
            replace_file(path, computed_by(header, computed_in()), wanted)
            changes, ids = Changes(added=len(wanted.ids), rewritten=True), wanted.ids
        writer = StoreWriter(path, lock, changes, computed_in, ids)
        writer.remember(current_stat or {})
        return writer
    except BaseException:
        lock.release()
        raise


def foresee(
    path: PathLike,
    *,
    spec: Spec,
    dataset: Dataset,
    dimension: int,
    current_sha256: Mapping[str, str] | None = None,
    prune: bool = False,
    retry_failed: bool = False,
    storage: Storage = "float32",
) -> tuple[Changes, list[str]]:
    """Say what `open_writer` would do with the same arguments, writing nothing.

    Returns
    -------
    changes : Changes
    pending : list of str
        Ids whose rows would have to be computed, in the order of the file to be.

    Raises
    ------
    InputError, SpecMismatchError, FileFormatError
        As `open_writer`.
    """
    path = Path(path)
    wanted = dataset_table(dataset)
    if not path.exists():
        return Changes(added=len(wanted.ids)), wanted.ids
    return foreseen(
        path, Header(dict(spec), dimension, storage), wanted, current_sha256 or {},
        prune=prune, retry_failed=retry_failed,
    )  # fmt: skip


class StoreWriter:
    """The one writer of a file; made by `open_writer`.

    Attributes
    ----------
    path : Path
    changes : Changes
        What opening the file did.
    """

    def __init__(
        self,
        path: Path,
        lock: FileLock,
        changes: Changes,
        environment: Callable[[], dict[str, Any]],
        ids: list[str],
    ) -> None:
        self.path = path
        self.changes = changes
        self._lock = lock
        with storage_errors(path):
            self._file = open_for_writing(path)
        self._ids = ids
        self._status: npt.NDArray[np.uint8] = self._file["status"][...]
        self._embeddings = self._file["embeddings"]
        self._environments = read_header(self._file, path).environments
        self._computed_in = environment
        self._decided: dict[int, int] = {}  # written rows whose status is not on disk yet

    @property
    def pending(self) -> list[str]:
        """Ids still to be computed, in file order."""
        return [self._ids[row] for row in np.flatnonzero(self._status == PENDING)]

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return dict(zip(self._ids, range(len(self._ids)), strict=True))

    @cached_property
    def _environment(self) -> int:
        """The place of this process among those that computed rows."""
        ours = self._computed_in()
        return self._environments.index(ours) if ours in self._environments else -1

    def write(
        self,
        ids: Sequence[str],
        vectors: npt.NDArray[np.float32],
        sha256: Sequence[str],
        stats: Sequence[tuple[int, int]] | None = None,
    ) -> list[str]:
        """Write embeddings; they count from the next `commit` on.

        Parameters
        ----------
        ids
            k ids of the file.
        vectors
            Their embeddings, shape (k, D).
        sha256
            The sha256 of each image's bytes, 64 hexadecimal digits.
        stats
            Size in bytes and modification time in ns of each image, to recognise it next time.

        Returns
        -------
        list of str
            Ids recorded as failed, because their embedding is not finite or does not fit float16.

        Raises
        ------
        InputError
            For an unknown id, one that has an embedding already, or a wrong shape.
        StorageError
            If the disk does not take the data; what was committed is safe.
        """
        vectors = np.asarray(vectors, dtype=np.float32)
        if vectors.shape != (len(ids), self._embeddings.shape[1]) or len(sha256) != len(ids):
            raise InputError(
                f"{len(ids)} ids and {len(sha256)} sha256 need embeddings of shape "
                f"({len(ids)}, {self._embeddings.shape[1]}), not {vectors.shape}"
            )
        if any(len(digest) != 64 for digest in sha256):
            raise InputError("a sha256 has 64 hexadecimal digits: pass hashlib's hexdigest()")
        rows = np.array([self._open_row(name) for name in ids], dtype=np.int64)
        with np.errstate(over="ignore"):
            stored = vectors.astype(self._embeddings.dtype, copy=False)
        fits = finite_rows(stored)
        bad = np.flatnonzero(~fits).tolist()
        for position in bad:
            finite = bool(np.isfinite(vectors[position]).all())
            self.fail(
                ids[position],
                "overflow" if finite else "not-finite",
                _OVERFLOW if finite else _NOT_FINITE,
                sha256[position],
                stats[position] if stats is not None else None,
            )
        order = np.argsort(rows, kind="stable")
        order = order[fits[order]]
        # Rows mostly come in file order, all of them good: then nothing need be copied.
        chosen = slice(None) if np.array_equal(order, np.arange(len(ids))) else order
        columns = {
            "embeddings": stored[chosen],
            "sha256": np.array([digest.encode("ascii") for digest in sha256], dtype="S64")[chosen],
        }
        columns["checksum"] = checksums(columns["sha256"], columns["embeddings"])
        if "rounding" in self._file:
            columns["rounding"] = rounding_errors(vectors[chosen], columns["embeddings"])
        if stats is not None and "stat" in self._file:
            columns["stat"] = np.array(stats, dtype=np.int64).reshape(-1, 2)[chosen]
        if "environment" in self._file:
            columns["environment"] = np.full(len(order), self._environment, dtype=np.int32)
        self._write_columns(rows[order], columns)
        return [ids[position] for position in bad]

    def _write_columns(
        self, rows: npt.NDArray[np.int64], columns: dict[str, npt.NDArray[Any]]
    ) -> None:
        with storage_errors(self.path):
            for run in runs(rows):
                place = slice(int(rows[run.start]), int(rows[run.stop - 1]) + 1)
                for name, values in columns.items():
                    self._file[name][place] = values[run]
            for row in rows[self._status[rows] == FAILED].tolist():
                self._file["error"][row] = b""
        self._decided.update(dict.fromkeys(rows.tolist(), DONE))
        self._status[rows] = DONE

    def fail(
        self,
        id: str,
        code: str,
        reason: str,
        sha256: str = "",
        stat: tuple[int, int] | None = None,
    ) -> None:
        """Record that an image cannot be used; it counts from the next `commit` on."""
        row = self._open_row(id)
        with storage_errors(self.path):
            self._embeddings[row] = np.nan
            self._file["checksum"][row] = 0
            self._file["sha256"][row] = sha256.encode("ascii")
            self._file["error"][row] = shorten(f"{code}: {reason}")
            if "stat" in self._file:
                self._file["stat"][row] = stat if stat is not None else (-1, -1)
            if "environment" in self._file:
                self._file["environment"][row] = self._environment
        self._decided[row] = FAILED
        self._status[row] = FAILED

    def remember(self, stats: Mapping[str, tuple[int, int]]) -> None:
        """Note size and modification time of images whose rows count as they are."""
        if not stats:
            return
        known = {self._row(name): stat for name, stat in stats.items() if name in self._row_of}
        rows = [row for row in known if self._status[row] != PENDING]
        if rows and "stat" in self._file:
            with storage_errors(self.path):
                column = self._file["stat"][...]
                column[rows] = [known[row] for row in rows]
                self._file["stat"][...] = column

    def commit(self) -> None:
        """Make everything written so far survive a kill or a power cut: data, then status.

        Raises
        ------
        StorageError
            If the disk does not take it; what was committed before is safe.
        """
        if not self._decided:
            return
        with storage_errors(self.path):
            sync(self._file)
            set_status(self._file, self._decided)
            sync(self._file)
        self._decided.clear()

    def close(self) -> None:
        """Commit and give the file back; calling it again does nothing."""
        try:
            if self._file.id.valid:
                self.commit()
                with storage_errors(self.path):
                    self._file.close()
        finally:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Rows written before an interruption are good rows; the interruption is the news.
        with contextlib.suppress(StorageError) if error is not None else contextlib.nullcontext():
            self.close()

    def __repr__(self) -> str:
        return f"<StoreWriter '{self.path}': {len(self.pending)} of {len(self._ids)} rows pending>"

    def _open_row(self, name: str) -> int:
        """Find a row that may be written: one that counts already must never be half changed."""
        row = self._row(name)
        if self._status[row] == DONE:
            raise InputError(f"'{name}' has an embedding in '{self.path}' already")
        return row

    def _row(self, name: str) -> int:
        row = self._row_of.get(name)
        if row is None:
            raise InputError(f"'{name}' is not an id of '{self.path}'")
        return row
