"""Opening an embedding file that may come from a stranger, or from a failing disk.

Nothing in a file is followed out of it, and no memory is taken for anything that the file does
not hold: every size is checked against the size of the file first.
"""

from __future__ import annotations

import contextlib
import json
import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import h5py
import numpy as np
import numpy.typing as npt
from h5py import h5d, h5l

from cxrfeat.errors import CxrfeatError, FileFormatError
from cxrfeat.inputs import LabelKind, PatientKey
from cxrfeat.store.format1 import (
    FORMAT,
    STORAGE_TYPES,
    TEXT_BLOCK,
    VERSION,
    Header,
    Storage,
    Table,
    close_quietly,
    column_link,
    column_name,
)
from cxrfeat.store.hdf5_guard import check_text

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_LAYOUTS = (h5d.COMPACT, h5d.CONTIGUOUS, h5d.CHUNKED)
_NUMBERS = {
    "checksum": np.dtype("<u4"),
    "status": np.dtype("u1"),
    "stat": np.dtype("<i8"),
    "rounding": np.dtype("<f4"),
    "gone": np.dtype("u1"),
    "environment": np.dtype("<i4"),
    "labels": np.dtype("<f4"),
}
_TEXTS = ("id", "sha256", "error")
_OPTIONAL = ("stat", "rounding", "gone", "environment", "labels")
_WIDTHS = {"embeddings": None, "labels": None, "stat": 2}  # of what has two dimensions
_RESTORE = "restore it from a copy, or delete it and extract again"


def open_for_writing(path: Path) -> h5py.File:
    """Open a file that `open_for_reading` accepted, to fill its rows."""
    return h5py.File(path, "r+", libver="earliest", locking=False, rdcc_nbytes=0)


def open_for_reading(path: Path) -> h5py.File:
    """Open a file of format 1, trusting nothing in it.

    Raises
    ------
    FileFormatError
        If the file is not ours, of another version, damaged, or points out of itself.
    """
    if path.is_dir():
        raise FileFormatError(f"'{path}' is a folder: name one of the .h5 files in it")
    if not path.is_file():
        raise FileFormatError(f"there is no file '{path}': make it with 'cxrfeat extract'")
    try:
        with path.open("rb") as raw:
            signature = raw.read(len(_SIGNATURE))
    except OSError as error:
        raise FileFormatError(f"'{path}' cannot be read: {error.strerror}") from error
    if signature != _SIGNATURE:
        raise FileFormatError(f"'{path}' is not an HDF5 file: make one with 'cxrfeat extract'")
    with damage_named(path):
        # No chunk cache: unfiltered chunks are then read row by row, straight from the file.
        file = h5py.File(path, "r", locking=False, rdcc_nbytes=0)
        try:
            _check_root(file, path)
            _check_datasets(file, path)
        except BaseException:
            close_quietly(file)
            raise
    return file


@contextlib.contextmanager
def damage_named(path: Path, mend: str = _RESTORE) -> Iterator[None]:
    """Turn whatever HDF5 or a decoder says about a damaged file into a `FileFormatError`."""
    try:
        yield
    except CxrfeatError:
        raise
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        MemoryError,
        OSError,
        RuntimeError,
        TypeError,
        ValueError,
        struct.error,
    ) as error:
        told = str(error).splitlines()
        raise FileFormatError(
            f"'{path}' is damaged ({told[0] if told else type(error).__name__}): {mend}"
        ) from error


def read_header(file: h5py.File, path: Path) -> Header:
    """Read the root attributes of a file that `open_for_reading` accepted."""
    with damage_named(path):
        spec = json.loads(_text_attribute(file, "spec"))
        environment = json.loads(_text_attribute(file, "environment"))
        environments = []
        if "environments" in file.attrs:
            environments = json.loads(_text_attribute(file, "environments"))
        if not isinstance(environments, list) or not all(
            isinstance(one, dict) for one in environments
        ):
            raise ValueError("its environments are not a list of JSON objects")
        if not isinstance(spec, dict) or not isinstance(environment, dict):
            raise ValueError("its spec is not a JSON object")
        embeddings = file["embeddings"]
        header = Header(
            spec=spec,
            dimension=embeddings.shape[1],
            storage=cast(Storage, embeddings.dtype.name),
            environment=environment,
            created=_text_attribute(file, "created"),
            environments=environments,
        )
        if header.fingerprint != _text_attribute(file, "fingerprint"):
            raise ValueError("its spec does not have the fingerprint it states")
        return header


def read_table(file: h5py.File, path: Path) -> Table:
    """Read ids, labels and columns of a file that `open_for_reading` accepted."""
    with damage_named(path):
        table = Table(ids=read_text(file["id"]))
        if len(set(table.ids)) != len(table.ids) or "" in table.ids:
            raise ValueError("its ids are not unique")
        if "labels" in file:
            labels = file["labels"]
            table.labels = np.asarray(labels[...], dtype=np.float32)
            table.classes = [_decoded(name) for name in labels.attrs["names"].tolist()]
            table.kind = cast(LabelKind, _text_attribute(labels, "kind"))
        for link in file["meta"]:
            name = column_name(link)
            table.meta[name] = read_column(file, name)
        if key := read_patient_key(file):
            table.patient_key = PatientKey(key)
        table.declared = read_declared(file)
        if "gone" in file:
            table.gone = (file["gone"][...] != 0).astype(np.uint8)
        return table


def read_column(file: h5py.File, name: str) -> npt.NDArray[np.str_]:
    """Read a column that came with the images."""
    return np.array(read_text(file["meta"][column_link(name)]), dtype=np.str_)


def read_patient_key(file: h5py.File) -> str:
    """Read which key the patients were hashed with; "" where they are no hashes."""
    return _text_attribute(file, "patient_key") if "patient_key" in file.attrs else ""


def read_declared(file: h5py.File) -> dict[str, bool] | None:
    """Read which columns the images declared, and whether these are kept; None where untold."""
    if "declared" not in file.attrs:
        return None
    declared = json.loads(_text_attribute(file, "declared"))
    if not isinstance(declared, dict) or not all(type(kept) is bool for kept in declared.values()):
        raise ValueError("its declared columns are not a JSON object of true and false")
    return declared


def read_text(dataset: h5py.Dataset) -> list[str]:
    """Read strings of fixed length; bytes that are not UTF-8 show as escapes.

    A flipped byte in one id must not cost all the others: `verify` names the column.
    """
    texts: list[str] = []
    for start in range(0, len(dataset), TEXT_BLOCK):
        stored = dataset[start : start + TEXT_BLOCK].tolist()
        texts += [value.decode(errors="backslashreplace") for value in stored]
    return texts


def find_damaged_columns(file: h5py.File) -> list[str]:
    """Compare ids, labels and meta, which are written once, with their checksums."""
    columns = [file["id"], *([file["labels"]] if "labels" in file else []), *file["meta"].values()]
    return [
        column.name.lstrip("/")
        for column in columns
        if zlib.crc32(np.ascontiguousarray(column[...]).data) != _number_attribute(column, "crc32")
    ]


def _check_root(file: h5py.File, path: Path) -> None:
    check_text(path, file)
    if "format" not in file.attrs or _text_attribute(file, "format") != FORMAT:
        raise FileFormatError(
            f"'{path}' is not an embedding file of cxrfeat: make one with 'cxrfeat extract'"
        )
    version = _number_attribute(file, "format_version")
    if version != VERSION:
        raise FileFormatError(
            f"'{path}' has format {version}, this cxrfeat reads format {VERSION}: "
            "use the version of cxrfeat that wrote it, or extract again"
        )


def _check_datasets(file: h5py.File, path: Path) -> None:
    """Check the kind, type and size of everything that will be read."""
    embeddings = _inside(file, "embeddings", path)
    if embeddings.dtype not in STORAGE_TYPES.values() or embeddings.ndim != 2:
        raise ValueError("'/embeddings' is not a table of float32 or float16")
    rows = embeddings.shape[0]
    datasets = [embeddings]
    for name in (*_TEXTS, *_NUMBERS):
        if name in _OPTIONAL and name not in file:
            continue
        dataset = _inside(file, name, path)
        datasets.append(dataset)
        shape = (rows,) if name not in _WIDTHS else (rows, _WIDTHS[name] or dataset.shape[-1])
        if dataset.shape != shape:
            raise ValueError(f"'/{name}' does not have one row for each of {rows} images")
        if name in _TEXTS:
            _check_text(dataset)
        elif dataset.dtype != _NUMBERS[name]:
            raise ValueError(f"'/{name}' is of type {dataset.dtype}, not {_NUMBERS[name]}")
    if _link_type(file, "meta") != h5l.TYPE_HARD or not isinstance(file["meta"], h5py.Group):
        raise FileFormatError(_outside(path, "/meta"))
    for link in file["meta"]:
        column = _inside(file["meta"], link, path)
        _check_text(column)
        if column.shape != (rows,):
            raise ValueError(f"'{column.name}' does not have one value for each of {rows} images")
        datasets.append(column)
    if "labels" in file:
        check_text(path, file["labels"])
        _check_label_names(file["labels"])
    if sum(_bytes(dataset) for dataset in datasets) > path.stat().st_size:
        raise ValueError("it states more data than it holds")


def _inside(group: h5py.Group, name: str, path: Path) -> h5py.Dataset:
    """Take a dataset whose numbers lie in this very file, uncompressed."""
    if name not in group:
        raise ValueError(f"it has no '{name}'")
    if _link_type(group, name) != h5l.TYPE_HARD:
        raise FileFormatError(_outside(path, name))
    dataset = group[name]
    if not isinstance(dataset, h5py.Dataset) or dataset.shape is None:
        raise ValueError(f"'{name}' is not a dataset")
    made = dataset.id.get_create_plist()
    if made.get_layout() not in _LAYOUTS or made.get_external_count():
        raise FileFormatError(_outside(path, name))
    if made.get_nfilters():
        raise FileFormatError(
            f"'{path}' has a compressed '{name}', which format {VERSION} does not allow: "
            "take the file as cxrfeat wrote it"
        )
    if dataset.id.get_storage_size() < _bytes(dataset):
        raise ValueError(f"'{name}' states more data than it holds")
    return dataset


def _link_type(group: h5py.Group, name: str) -> int:
    return int(group.id.links.get_info(name.encode()).type)


def _outside(path: Path, name: str) -> str:
    return (
        f"'{path}' is refused: '{name}' points out of the file, and only data inside it is read; "
        "ask for a copy that cxrfeat wrote"
    )


def _bytes(dataset: h5py.Dataset) -> int:
    return math.prod(dataset.shape) * int(dataset.id.get_type().get_size())


def _check_text(dataset: h5py.Dataset) -> None:
    kind = h5py.check_string_dtype(dataset.dtype)
    if kind is None or kind.length is None:
        raise ValueError(f"'{dataset.name}' is not text of fixed length")


def _check_label_names(labels: h5py.Dataset) -> None:
    names = labels.attrs.get_id("names")
    if names.shape != (labels.shape[1],) or h5py.check_string_dtype(names.dtype) is None:
        raise ValueError("'/labels' does not name its columns")
    if _text_attribute(labels, "kind") not in ("multiclass", "multilabel"):
        raise ValueError("'/labels' is of an unknown kind")


def _number_attribute(owner: h5py.Group | h5py.Dataset, name: str) -> int | None:
    """Read an attribute that is one integer; None where it is anything else."""
    if name not in owner.attrs:
        return None
    stated = owner.attrs.get_id(name)
    return int(owner.attrs[name]) if stated.shape == () and stated.dtype.kind in "iu" else None


def _text_attribute(owner: h5py.Group | h5py.Dataset, name: str) -> str:
    stated = owner.attrs.get_id(name)
    if stated.shape != () or h5py.check_string_dtype(stated.dtype) is None:
        raise ValueError(f"the attribute '{name}' is not one text")
    return _decoded(owner.attrs[name])


def _decoded(text: str | bytes) -> str:
    """Take text as h5py gives it: of variable length as str, of fixed length as bytes."""
    return text.decode() if isinstance(text, bytes) else str(text)
