"""Reading an embedding file: rows on demand, everything about them as plain attributes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from cxrfeat.errors import InputError
from cxrfeat.inputs import LabelKind
from cxrfeat.notebook import html_table
from cxrfeat.paths import PathLike
from cxrfeat.store.columns import columns_of, frame_of, target_of
from cxrfeat.store.format1 import DONE, column_link
from cxrfeat.store.rows import read_rows
from cxrfeat.store.validation import (
    damage_named,
    open_for_reading,
    read_column,
    read_declared,
    read_header,
    read_patient_key,
    read_table,
    read_text,
)


@dataclass(frozen=True)
class KnownRows:
    """What a file knows about its images: enough to tell which of them must be read again.

    Attributes
    ----------
    ids : list of str
    sha256 : ndarray of bytes, shape (N,)
        b"" where it is not known.
    stat : ndarray of int64, shape (N, 2)
        Size in bytes and modification time in ns; -1 where they were not recorded.
    status : ndarray of uint8, shape (N,)
    spec : dict
    patient_key : str
        As `Embeddings` has it.
    declared : dict of str to bool, or None
        As `cxrfeat.inputs.Dataset` has it; None where the file does not say.
    columns : dict of str to ndarray of str, shape (N,)
        Those that are declared.
    """

    ids: list[str]
    sha256: npt.NDArray[np.bytes_]
    stat: npt.NDArray[np.int64]
    status: npt.NDArray[np.uint8]
    spec: dict[str, Any]
    patient_key: str
    declared: dict[str, bool] | None
    columns: dict[str, npt.NDArray[np.str_]]


@dataclass(frozen=True)
class Origin:
    """How many rows were computed in one environment; None is one that is not known."""

    rows: int
    environment: dict[str, Any] | None


def known(path: PathLike) -> KnownRows | None:
    """Read what a file knows about its images; None where there is no file.

    Raises
    ------
    FileFormatError
        If there is a file, and it is damaged or not ours.
    """
    path = Path(path)
    if not path.exists():
        return None
    with open_for_reading(path) as file, damage_named(path):
        ids = read_text(file["id"])
        declared = read_declared(file)
        return KnownRows(
            ids=ids,
            sha256=file["sha256"][...],
            stat=file["stat"][...] if "stat" in file else np.full((len(ids), 2), -1, np.int64),
            status=file["status"][...],
            spec=read_header(file, path).spec,
            patient_key=read_patient_key(file),
            declared=declared,
            columns={
                name: read_column(file, name)
                for name, is_kept in (declared or {}).items()
                if is_kept and column_link(name) in file["meta"]
            },
        )


def load(path: PathLike) -> Embeddings:
    """Open an embedding file for reading; its rows are read when they are asked for.

    Raises
    ------
    FileFormatError
        If the file is damaged, of another version, or not ours.
    """
    return Embeddings(Path(path))


class Embeddings:
    """An embedding file, read lazily. Use it in a ``with`` statement, or call `close`.

    Attributes
    ----------
    path : Path
    name : str
        The file's name without its ending: what the extractor is called in tables.
    ids : list of str
    status : ndarray of uint8, shape (N,)
        0 pending, 1 done, 2 failed.
    gone : ndarray of bool, shape (N,)
        Rows whose image was not among those of the last extract.
    classes : list of str
    kind : "multiclass" or "multilabel"
    labels : ndarray of float32, shape (N, L), or None
    meta : dict of str to ndarray of str, shape (N,)
    patient_key : str
        What tells the key whose hashes stand in the column ``group`` from others; "" where they
        are no hashes, or a file does not say.
    declared : dict of str to bool, or None
        As `cxrfeat.inputs.Dataset` has it; None where the file does not say.
    spec : dict
    environment : dict
        Of the last process that had rows to compute when it gave the file its shape.
    environments : list of dict
        Of every process that computed rows, for `computed_in`.
    fingerprint, created : str
    dimension : int
    storage : "float32" or "float16"
    file : h5py.File
        What is read from; for parts of the store that copy rows as they are stored.

    Examples
    --------
    >>> with load("embeddings/vgg16.h5") as embeddings:  # doctest: +SKIP
    ...     X = embeddings.numpy()
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.stem
        self.file = open_for_reading(path)
        try:
            header = read_header(self.file, path)
            table = read_table(self.file, path)
            with damage_named(path):
                self.status: npt.NDArray[np.uint8] = self.file["status"][...]
        except BaseException:
            self.file.close()
            raise
        self._rows = self.file["embeddings"]
        self.spec = header.spec
        self.fingerprint = header.fingerprint
        self.environment = header.environment
        self.environments = header.environments
        self.created = header.created
        self.dimension = header.dimension
        self.storage = header.storage
        self.ids = table.ids
        self.classes = table.classes
        self.kind: LabelKind = table.kind
        self.labels = table.labels
        self.meta = table.meta
        self.patient_key = table.patient_key_id
        self.declared = table.declared
        self.gone: npt.NDArray[np.bool_] = (
            np.zeros(len(self.ids), dtype=bool) if table.gone is None else table.gone != 0
        )

    @property
    def done(self) -> npt.NDArray[np.bool_]:
        """The rows that hold an embedding and whose image is not gone, shape (N,)."""
        return (self.status == DONE) & ~self.gone

    @property
    def groups(self) -> npt.NDArray[np.str_] | None:
        """The column ``group`` (patient), if there is one."""
        return self.meta.get("group")

    @cached_property
    def sha256(self) -> list[str]:
        """The sha256 of each image's bytes; "" where it is not known."""
        with damage_named(self.path):
            return read_text(self.file["sha256"])

    @cached_property
    def errors(self) -> list[str]:
        """Code and reason for each failed row; "" for the others."""
        with damage_named(self.path):
            return read_text(self.file["error"])

    def errors_of(self, rows: npt.NDArray[np.int64]) -> list[str]:
        """Return code and reason of some rows; few of them cost little of a large file."""
        with damage_named(self.path):
            stored = read_rows(self.file["error"], rows)
        return [error.decode(errors="backslashreplace") for error in stored.tolist()]

    @cached_property
    def rounding(self) -> npt.NDArray[np.float32] | None:
        """Relative error that storing float16 brought to each row; None for float32."""
        with damage_named(self.path):
            return self.file["rounding"][...] if "rounding" in self.file else None

    @cached_property
    def computed_in(self) -> npt.NDArray[np.int32]:
        """Which of `environments` each row was computed in, shape (N,); -1 where not known."""
        unknown = np.full(len(self), -1, dtype=np.int32)
        with damage_named(self.path):
            stated = self.file["environment"][...] if "environment" in self.file else unknown
        return np.where((stated >= 0) & (stated < len(self.environments)), stated, unknown)

    def origins(self) -> list[Origin]:
        """Count the rows of `done` that came from each environment, unknown ones last."""
        computed_in = self.computed_in[self.done]
        counts = [int(np.count_nonzero(computed_in == i)) for i in range(len(self.environments))]
        known = zip(counts, self.environments, strict=True)
        unknown = len(computed_in) - sum(counts)
        return [
            *(Origin(rows, environment) for rows, environment in known if rows),
            *([Origin(unknown, None)] if unknown else []),
        ]

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.ids)}

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, rows: Any) -> npt.NDArray[np.float32]:
        """Read rows by position: an integer, a slice, or an array of integers or booleans."""
        if isinstance(rows, slice):
            return self._read(np.arange(len(self))[rows])
        positions = np.asarray(rows)
        if positions.dtype == bool:
            if positions.shape != (len(self),):
                raise InputError(f"a mask of {positions.shape} does not fit {len(self)} rows")
            return self._read(np.flatnonzero(positions))
        if positions.size and not np.issubdtype(positions.dtype, np.integer):
            raise InputError("rows are chosen by integers, a slice or a mask; ids by numpy(ids)")
        positions = positions.astype(np.int64)
        if np.any((positions < -len(self)) | (positions >= len(self))):
            raise IndexError(f"a row is out of range for {len(self)} rows")
        positions = np.where(positions < 0, positions + len(self), positions)
        return self._read(positions.reshape(-1)).reshape(*positions.shape, self.dimension)

    def numpy(
        self, ids: Sequence[str] | None = None, *, include_gone: bool = False
    ) -> npt.NDArray[np.float32]:
        """Read embeddings into memory.

        Parameters
        ----------
        ids
            Whose embeddings, in this order, gone or not; by default those of `done`, in file
            order.
        include_gone
            Without `ids`: also rows whose image was not among those of the last extract.

        Returns
        -------
        ndarray of float32, shape (n, D)

        Raises
        ------
        InputError
            For an id that is not in the file or has no embedding.
        """
        if ids is None:
            chosen = self.status == DONE if include_gone else self.done
            return self._read(np.flatnonzero(chosen))
        rows = np.array([self._row(name) for name in ids], dtype=np.int64)
        for row in rows[self.status[rows] != DONE].tolist():
            why = self.errors[row] or "still pending"
            raise InputError(f"'{self.ids[row]}' has no embedding in '{self.path}': {why}")
        return self._read(rows)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows of `done` and numbers of each, as `numpy` returns them."""
        return int(np.count_nonzero(self.done)), self.dimension

    @property
    def y(self) -> npt.NDArray[Any]:
        """The labels of the rows that `numpy` returns, as scikit-learn wants them.

        Returns
        -------
        ndarray
            Of classes that exclude each other the place of each among `classes`, int of shape (n,),
            -1 where it is unknown; else the labels, float32 of shape (n, L), NaN where unknown.

        Raises
        ------
        InputError
            No labels.
        """
        labels = None if self.labels is None else self.labels[self.done]
        return target_of(labels, self.kind, f"'{self.path}'")

    def to_pandas(self) -> Any:
        """Return a DataFrame with a row for each image of `done`, its id as index.

        Returns
        -------
        pandas.DataFrame
            The columns that ``cxrfeat export --to csv`` writes: ``sha256``, ``label`` and
            ``label_<class>``, ``group`` and others, then ``embedding_0`` ...

        Raises
        ------
        MissingExtraError
            Without pandas.
        """
        rows = np.flatnonzero(self.done)
        return frame_of(columns_of(self, rows), {"embedding": self[rows]})

    def close(self) -> None:
        """Close the file; calling it again does nothing."""
        self.file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def __repr__(self) -> str:
        gone = int(np.count_nonzero(self.gone))
        return (
            f"<Embeddings '{self.name}': {np.count_nonzero(self.done)} of {len(self)} rows done, "
            + (f"{gone} gone, " if gone else "")
            + f"dimension {self.dimension}, {self.storage}>"
        )

    def _repr_html_(self) -> str:
        groups = None if self.groups is None else len({*self.groups[self.done].tolist()} - {""})
        counts = {} if self.labels is None else np.nansum(self.labels[self.done], axis=0).tolist()
        rows = [
            ("file", self.path),
            ("made by", self.spec.get("backbone") or self.spec.get("encoder") or "not stated"),
            ("fingerprint", self.fingerprint[:16]),
            ("patients", "not known" if groups is None else groups),
            *((name, int(n)) for name, n in zip(self.classes, counts, strict=False)),
        ]
        return html_table(repr(self)[1:-1], ("", ""), rows)

    def _row(self, name: str) -> int:
        row = self._row_of.get(name)
        if row is None:
            raise InputError(f"'{name}' is not an id of '{self.path}'")
        return row

    def _read(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        if not self.file.id.valid:
            raise InputError(f"'{self.path}' was closed: load it again, or read inside 'with'")
        with damage_named(self.path):
            return read_rows(self._rows, rows).astype(np.float32, copy=False)
