"""AnnData (.h5ad), read and written by its specification of files, without its package.

The layout is that of "AnnData: on-disk format" (encoding versions of anndata 0.8 and later): `X`
an array or a sparse matrix, `obs` a table with an index, `obsm` further matrices, `uns` the rest.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
from scipy import sparse

from cxrfeat.arrays import Matrix32
from cxrfeat.errors import InputError, UnknownNameError
from cxrfeat.inputs import Columns
from cxrfeat.interchange.columns import matrix, texts
from cxrfeat.interchange.hdf5_guard import Member, attribute, members, texts_of, values_of
from cxrfeat.interchange.outside import Outside, Wanted, refuse_too_large

_SPARSE = {"csr_matrix": sparse.csr_matrix, "csc_matrix": sparse.csc_matrix}


def is_anndata(file: h5py.File, inside: Mapping[str, Member]) -> bool:
    """Whether a file says, or shows, that it is AnnData."""
    shows = "obs" in inside and isinstance(inside["obs"], h5py.Group) and "var" in inside
    return attribute(file, "encoding-type") == "anndata" or shows


def read_anndata(inside: Mapping[str, Member], path: Path, wanted: Wanted) -> Outside:
    """Read `X`, or a matrix of ``obsm`` that is asked for, with the columns of ``obs``.

    Raises
    ------
    InputError
        No such matrix, or a table of observations in the layout of before anndata 0.8.
    """
    of_obsm = inside.get("obsm")
    matrices = {"X": inside["X"]} if "X" in inside else {}
    if isinstance(of_obsm, h5py.Group):
        matrices |= {f"obsm/{name}": one for name, one in members(of_obsm, path).items()}
    name = wanted.embedding or "X"
    name = f"obsm/{name}" if name not in matrices and f"obsm/{name}" in matrices else name
    if name not in matrices:
        raise UnknownNameError("matrix", name, matrices, f"in '{path}' (--embedding)")
    X = _matrix(matrices[name], path, name)
    if not X.shape[1]:
        raise InputError(
            f"'{path}': '{name}' has no column; choose a matrix by --embedding:"
            f" {', '.join(one for one in matrices if one != name) or 'there is no other'}"
        )
    obs = inside.get("obs")
    if not isinstance(obs, h5py.Group):
        raise InputError(
            f"'{path}' is of a layout before anndata 0.8: open it with anndata and write it again"
        )
    index = attribute(obs, "_index") or "_index"
    held = {key: _column(one, path, len(X)) for key, one in members(obs, path).items()}
    ids = held.pop(index, None)
    if wanted.id_column is not None and not wanted.ids:
        if held.get(wanted.id_column) is None:
            raise UnknownNameError("column of obs", wanted.id_column, held, "(--id-column)")
        ids = held.pop(wanted.id_column)
    columns: Columns = {key: cells for key, cells in held.items() if cells is not None}
    return Outside("AnnData", X, ids, columns, files=[path])


def _matrix(member: Member, path: Path, name: str) -> Matrix32:
    if isinstance(member, h5py.Dataset):
        return matrix(values_of(member, path), f"'{path}' '{name}'")
    kind = _SPARSE.get(attribute(member, "encoding-type"))
    if kind is None:
        raise InputError(f"'{path}': '{name}' is neither an array nor a sparse matrix")
    parts = members(member, path)
    shape = tuple(int(side) for side in member.attrs["shape"])
    held = [values_of(parts[key], path) for key in ("data", "indices", "indptr")]
    packed = kind((held[0], held[1], held[2]), shape=shape)
    packed.check_format(full_check=True)
    refuse_too_large(math.prod(shape) * packed.dtype.itemsize, f"'{path}': '{name}', filled up,")
    return matrix(packed.toarray(), f"'{path}' '{name}'")


def _column(member: Member, path: Path, n: int) -> list[str] | None:
    """Read a column of observations as text, "" where it is blank; None for any other kind."""
    if isinstance(member, h5py.Dataset):
        if member.shape != (n,):
            return None
        return texts(values_of(member, path))
    parts, kind = members(member, path), attribute(member, "encoding-type")
    if kind == "categorical":
        names = texts_of(parts["categories"], path)
        codes = values_of(parts["codes"], path).tolist()
        return ["" if code < 0 else names[code] for code in codes]
    if kind.startswith("nullable-"):
        cells = texts_of(parts["values"], path)
        blank = values_of(parts["mask"], path).tolist()
        return ["" if no else cell for cell, no in zip(cells, blank, strict=True)]
    return None


def write_anndata(
    path: Path,
    *,
    ids: Sequence[str],
    blocks: Iterator[Matrix32],
    dimension: int,
    obs: Mapping[str, npt.NDArray[Any]],
    uns: Mapping[str, str],
) -> None:
    """Write a file that ``anndata.read_h5ad`` opens.

    Parameters
    ----------
    ids
        Of the observations, n of them.
    blocks
        Their embeddings, some rows at a time.
    dimension
        D, the number of variables.
    obs
        Columns with a value for each observation, text or numbers. A ``/`` in a name becomes ``_``.
    uns
        Texts by name.

    Raises
    ------
    OSError
    """
    with h5py.File(path, "w", locking=False) as file:
        _encode(file, "anndata", "0.1.0")
        chunk = None if not len(ids) else (max(1, min(len(ids), (1 << 18) // dimension)), dimension)
        X = file.create_dataset("X", (len(ids), dimension), "<f4", chunks=chunk)
        _encode(X, "array", "0.2.0")
        start = 0
        for block in blocks:
            X[start : start + len(block)] = block
            start += len(block)
        _write_table(file, "obs", ids, obs)
        _write_table(file, "var", [f"embedding_{i}" for i in range(dimension)], {})
        for name in ("obsm", "varm", "obsp", "varp", "layers", "uns"):
            _encode(file.create_group(name), "dict", "0.1.0")
        for name, value in uns.items():
            file["uns"][name] = value
            _encode(file["uns"][name], "string", "0.2.0")


def _encode(member: Member, kind: str, version: str) -> None:
    member.attrs["encoding-type"] = kind
    member.attrs["encoding-version"] = version


def _write_table(
    file: h5py.File, name: str, index: Sequence[str], columns: Mapping[str, npt.NDArray[Any]]
) -> None:
    group = file.create_group(name)
    _encode(group, "dataframe", "0.2.0")
    group.attrs["_index"] = "_index"
    renamed: dict[str, npt.NDArray[Any]] = {}
    for column, values in columns.items():
        key = column.replace("/", "_")
        while key in renamed or key == "_index":
            key += "_"
        renamed[key] = values
    group.attrs.create("column-order", list(renamed), dtype=h5py.string_dtype())
    for key, values in {"_index": np.array(index, dtype=np.str_), **renamed}.items():
        if values.dtype.kind == "U":
            group.create_dataset(key, data=values.astype(object), dtype=h5py.string_dtype())
            _encode(group[key], "string-array", "0.2.0")
        else:
            group[key] = values
            _encode(group[key], "array", "0.2.0")
