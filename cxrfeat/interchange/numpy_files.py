"""Embeddings in NumPy's own files: a matrix, or several named arrays; never objects."""

from __future__ import annotations

import contextlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrfeat.errors import FileFormatError, InputError
from cxrfeat.inputs import Columns
from cxrfeat.interchange.columns import ID_NAMES, matrix, one_array, texts, usual
from cxrfeat.interchange.outside import Labels, Outside, Wanted, refuse_too_large

_DAMAGED = (ValueError, OSError, EOFError, KeyError, MemoryError, zipfile.BadZipFile)


def read_npy(path: Path, wanted: Wanted) -> Outside:
    """Read one matrix of shape (n, D), whose ids are in another file.

    Raises
    ------
    InputError
        Another shape, or Python objects.
    FileFormatError
        A damaged file.
    """
    return Outside("npy", matrix(load_array(path), f"'{path}'"), None, files=[path])


def load_array(path: Path) -> npt.NDArray[Any]:
    """Open one array as a map of the file, without pickle."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except _DAMAGED as error:
        raise _unreadable(path, error) from None


def read_npz(path: Path, wanted: Wanted) -> Outside:
    """Read named arrays: a matrix, ids, and what else has a value for each row.

    Raises
    ------
    InputError
        No matrix, several, or Python objects.
    FileFormatError
        A damaged file.
    """
    arrays: dict[str, npt.NDArray[Any]] = {}
    objects = set()
    refuse_too_large(_unpacked_bytes(path), f"'{path}'")
    try:
        with np.load(path, allow_pickle=False) as opened:
            for name in opened.files:
                try:
                    arrays[name] = opened[name]
                except ValueError as error:
                    if "Object arrays" not in str(error):
                        raise
                    objects.add(name)
    except _DAMAGED as error:
        raise _unreadable(path, error) from None
    shapes = {name: values.shape for name, values in arrays.items() if values.dtype.kind in "fiub"}
    if wanted.embedding is None:
        shapes.pop("labels", None)
    name = one_array(shapes, wanted.embedding, str(path), "array")
    X = matrix(arrays.pop(name), f"'{path}' array '{name}'")
    if named := usual([*arrays, *objects], ID_NAMES):
        id_name: str | None = named[0]
    else:
        id_name = None
    if wanted.id_column is not None and not wanted.ids:
        id_name = wanted.id_column
        if id_name not in arrays and id_name not in objects:
            raise InputError(f"'{path}' has no array '{id_name}' (--id-column)")
    if id_name in objects and not wanted.ids:
        raise InputError(
            f"'{path}' keeps '{id_name}' as Python objects, which are never opened: save them as"
            " text, np.array(ids, dtype=str), or give --ids FILE"
        )
    ids = None
    if id_name in arrays:
        ids = texts(arrays.pop(str(id_name)).reshape(-1))
    return Outside(
        "npz", X, ids, _columns(arrays, len(X)), _labels(arrays, len(X)), _encoder(arrays), [path]
    )


def _unpacked_bytes(path: Path) -> int:
    try:
        with zipfile.ZipFile(path) as archive:
            return sum(one.file_size for one in archive.infolist())
    except _DAMAGED as error:
        raise _unreadable(path, error) from None


def _columns(arrays: Mapping[str, npt.NDArray[Any]], n: int) -> Columns:
    """Take arrays with a value for each row; ours are called ``meta_`` and their name."""
    return {
        name.removeprefix("meta_"): texts(values)
        for name, values in arrays.items()
        if values.shape == (n,) and values.dtype.kind in "USfiub" and name != "classes"
    }


def _labels(arrays: Mapping[str, npt.NDArray[Any]], n: int) -> Labels | None:
    """Take a matrix of labels beside the names of its classes, as `cxrfeat export` writes them."""
    if "labels" not in arrays or "classes" not in arrays:
        return None
    held, classes = arrays["labels"], texts(arrays["classes"].reshape(-1))
    if held.shape != (n, len(classes)) or held.dtype.kind not in "fiub":
        return None
    values = held.astype(np.float32)
    known = np.isfinite(values).all(axis=1)
    told = _provenance(arrays).get("kind")
    single = bool((values[known].sum(axis=1) == 1).all()) and told != "multilabel"
    return Labels(classes, values, "multiclass" if single else "multilabel")


def _encoder(arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    return str(_provenance(arrays).get("extractor", ""))


def _provenance(arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        if "provenance" in arrays and isinstance(
            told := json.loads(str(arrays["provenance"])), dict
        ):
            return told
    return {}


def _unreadable(path: Path, error: Exception) -> InputError | FileFormatError:
    if any(word in str(error) for word in ("pickle", "Object arrays", "Python objects")):
        return InputError(
            f"'{path}' holds Python objects (pickle), which are never opened: save numbers with"
            " np.save or np.savez, and ids as np.array(ids, dtype=str)"
        )
    return FileFormatError(f"'{path}' cannot be read as NumPy's ({error}): save it again")
