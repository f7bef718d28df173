"""Format 1 of an embedding file: what is in it and how it is made.

``docs/format.md`` is the specification; `cxrfeat.store.validation` reads it. Every
dataset is allocated and filled when a file is made, without filters and with types of fixed
length, so that filling rows later touches raw data alone and never HDF5's own structures: a
process that is killed at any moment leaves a file that opens.
"""

from __future__ import annotations

import contextlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import numpy.typing as npt
from h5py import h5d, h5p, h5s, h5t

from cxrfeat.errors import InputError
from cxrfeat.inputs import LabelKind, PatientKey
from cxrfeat.spec import fingerprint

FORMAT = "cxrfeat-embeddings"
VERSION = 1
PENDING, DONE, FAILED = 0, 1, 2
ERROR_BYTES = 200
CHUNK_BYTES = 1 << 20
TEXT_BLOCK = 1 << 16
"""Texts that are Python objects at once while a column is read or written."""

Storage = Literal["float32", "float16"]
STORAGE_TYPES: dict[str, np.dtype[Any]] = {
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
}


@dataclass
class Table:
    """Everything about the rows of a file that is known before their embeddings are.

    Attributes
    ----------
    ids : list of str
        Unique, in file order.
    classes, kind, labels, meta, patient_key, declared
        As in `cxrfeat.inputs.Dataset`.
    gone : ndarray of uint8, shape (N,), or None
        1 where the image was not among those of the last extract; None where nothing says.
        It is not compared by `same_as`, because it can be written in place.
    """

    ids: list[str]
    classes: list[str] = field(default_factory=list)
    kind: LabelKind = "multiclass"
    labels: npt.NDArray[np.float32] | None = None
    meta: dict[str, npt.NDArray[np.str_]] = field(default_factory=dict)
    gone: npt.NDArray[np.uint8] | None = None
    patient_key: PatientKey | None = None
    declared: dict[str, bool] | None = None

    @property
    def patient_key_id(self) -> str:
        """What tells the key of the groups from others; "" where they are no hashes."""
        return "" if self.patient_key is None else self.patient_key.id

    def same_as(self, other: Table) -> bool:
        """Whether a file of `other` need not be written anew to hold this."""
        return (
            self.ids == other.ids
            and self.classes == other.classes
            and (self.labels is None) == (other.labels is None)
            and (self.labels is None or self.kind == other.kind)
            and (
                self.labels is None
                or other.labels is None
                or np.array_equal(self.labels, other.labels, equal_nan=True)
            )
            and self.patient_key_id == other.patient_key_id
            and (None in (self.declared, other.declared) or self.declared == other.declared)
            and self.meta.keys() == other.meta.keys()
            and all(np.array_equal(self.meta[name], other.meta[name]) for name in self.meta)
        )


@dataclass(frozen=True)
class Header:
    """What a file says about all its rows: its root attributes."""

    spec: dict[str, Any]
    dimension: int
    storage: Storage = "float32"
    environment: dict[str, Any] = field(default_factory=dict)
    created: str = ""
    environments: list[dict[str, Any]] = field(default_factory=list)

    @property
    def fingerprint(self) -> str:
        """Sha256 of the canonical spec."""
        return fingerprint(self.spec)


def create(path: Path, header: Header, table: Table) -> h5py.File:
    """Make a file with every row pending and all its space allocated and filled.

    Raises
    ------
    InputError
        For ids or columns that cannot be written.
    OSError
        If the disk is full.
    """
    rows = len(table.ids)
    file = h5py.File(path, "w", libver="earliest", locking=False, rdcc_nbytes=0, track_order=False)
    try:
        _state(file, "format", FORMAT)
        file.attrs["format_version"] = VERSION
        _state(file, "spec", json.dumps(header.spec, sort_keys=True))
        _state(file, "fingerprint", header.fingerprint)
        _state(file, "environment", json.dumps(header.environment, sort_keys=True))
        _state(file, "environments", json.dumps(header.environments, sort_keys=True))
        _state(file, "created", header.created or datetime.now(UTC).isoformat(timespec="seconds"))

        if table.patient_key is not None:
            _state(file, "patient_key", table.patient_key.id)
        if table.declared is not None:
            _state(file, "declared", json.dumps(table.declared, sort_keys=True))

        stored = STORAGE_TYPES[header.storage]
        row_bytes = max(1, header.dimension * stored.itemsize)
        chunk = (max(1, min(rows, CHUNK_BYTES // row_bytes)), max(1, header.dimension))
        _allocate(file, "embeddings", (rows, header.dimension), stored, fill=np.nan, chunk=chunk)
        _allocate(file, "checksum", (rows,), np.dtype("<u4"))
        _allocate(file, "sha256", (rows,), h5py.string_dtype("ascii", 64))
        _allocate(file, "status", (rows,), np.dtype("u1"), fill=PENDING)
        _allocate(file, "error", (rows,), h5py.string_dtype("utf-8", ERROR_BYTES))
        _allocate(file, "stat", (rows, 2), np.dtype("<i8"), fill=-1)
        _allocate(file, "environment", (rows,), np.dtype("<i4"), fill=-1)
        _allocate(file, "gone", (rows,), np.dtype("u1"), fill=0)
        if table.gone is not None:
            file["gone"][...] = table.gone
        if header.storage == "float16":
            _allocate(file, "rounding", (rows,), np.dtype("<f4"), fill=np.nan)
        _write_text(file, "id", table.ids)
        if table.labels is not None:
            _allocate(file, "labels", table.labels.shape, np.dtype("<f4"), fill=np.nan)
            file["labels"][...] = table.labels
            _seal(file["labels"], table.labels)
            _state(file["labels"], "names", table.classes)
            _state(file["labels"], "kind", table.kind)
        meta = file.create_group("meta")
        for name, values in table.meta.items():
            _write_text(meta, column_link(name), values)
        file.flush()
    except BaseException:
        close_quietly(file)
        raise
    return file


def utf8_length(values: Sequence[str] | npt.NDArray[np.str_], what: str) -> int:
    """Return how many bytes the longest text takes in UTF-8, 1 at least.

    Raises
    ------
    InputError
        For a string that is not Unicode text, such as a file name in another encoding.
    """
    try:
        return max(1, max((len(value.encode()) for value in values), default=1))
    except UnicodeEncodeError as error:
        raise InputError(f"{what} {error.object!a} is not Unicode text: rename the file") from error


def column_link(name: str) -> str:
    """Name the link of a column: HDF5 keeps ``/`` for itself."""
    if not name:
        raise InputError("a column without a name cannot be stored: name it in the table")
    link = name.replace("%", "%25").replace("/", "%2F")
    return "%2E" if link == "." else link


def column_name(link: str) -> str:
    """Invert `column_link`."""
    return link.replace("%2E", ".").replace("%2F", "/").replace("%25", "%")


def _allocate(
    group: h5py.Group,
    name: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    fill: float | None = None,
    chunk: tuple[int, ...] | None = None,
) -> None:
    layout = h5p.create(h5p.DATASET_CREATE)
    layout.set_alloc_time(h5d.ALLOC_TIME_EARLY)
    layout.set_fill_time(h5d.FILL_TIME_ALLOC)
    layout.set_obj_track_times(False)
    if fill is not None:
        layout.set_fill_value(np.array(fill, dtype=dtype))
    if chunk is not None:
        layout.set_chunk(chunk)
    kind = h5t.py_create(dtype, logical=True)
    h5d.create(group.id, name.encode(), kind, h5s.create_simple(shape), layout)


def _write_text(group: h5py.Group, name: str, values: Sequence[str] | npt.NDArray[np.str_]) -> None:
    """Write texts in UTF-8 of one length, block by block, with their checksum."""
    dtype = h5py.string_dtype("utf-8", utf8_length(values, f"'{name}'"))
    _allocate(group, name, (len(values),), dtype)
    crc = 0
    for start in range(0, len(values), TEXT_BLOCK):
        block = values[start : start + TEXT_BLOCK]
        encoded = np.array([value.encode() for value in block], dtype=dtype)
        group[name][start : start + len(block)] = encoded
        crc = zlib.crc32(encoded.data, crc)
    group[name].attrs["crc32"] = np.uint32(crc)


def _state(owner: h5py.Group | h5py.Dataset, name: str, value: str | list[str]) -> None:
    """Write an attribute as text that h5py returns as ``str``."""
    try:
        owner.attrs[name] = value
    except UnicodeEncodeError as error:
        raise InputError(f"'{name}' {error.object!a} is not Unicode text") from error


def _seal(dataset: h5py.Dataset, values: npt.NDArray[Any]) -> None:
    """Note the checksum of a dataset that is never changed again."""
    dataset.attrs["crc32"] = np.uint32(zlib.crc32(np.ascontiguousarray(values).data))


def close_quietly(file: h5py.File) -> None:
    """Close a file of which HDF5 has complained already."""
    with contextlib.suppress(OSError, RuntimeError):
        file.close()
