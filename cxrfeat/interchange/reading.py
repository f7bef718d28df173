"""Which format a file is of, by its first bytes, and everything that must hold of what is read."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import file_digest, sha256
from pathlib import Path

import numpy as np

from cxrfeat import tables
from cxrfeat.errors import InputError, UnknownNameError
from cxrfeat.inputs import Columns, id_of
from cxrfeat.interchange.columns import id_column
from cxrfeat.interchange.hdf5_files import lines_of, read_folder, read_hdf5
from cxrfeat.interchange.numpy_files import load_array, read_npy, read_npz
from cxrfeat.interchange.outside import PATCHES, Outside, Wanted
from cxrfeat.interchange.table_files import read_parquet, read_text

Reader = Callable[[Path, Wanted], Outside]

READERS: dict[str, Reader] = {
    "csv": read_text,
    "parquet": read_parquet,
    "npy": read_npy,
    "npz": read_npz,
    "hdf5": read_hdf5,
    "folder": read_folder,
}
"""By kind of file; AnnData is HDF5."""

_MAGIC = {b"\x89HDF\r\n\x1a\n": "hdf5", b"\x93NUMPY": "npy", b"PAR1": "parquet"}
_TEXT = (".csv", ".tsv", ".txt", ".gz")
_PICKLED = (".pt", ".pth", ".pkl", ".pickle", ".joblib", ".bin")
_SHOWN = 3


def read(paths: Sequence[Path], wanted: Wanted) -> Outside:
    """Read the embeddings of other programs, the rows of several files one after the other.

    Returns
    -------
    Outside
        Whose ids are there, and unique.

    Raises
    ------
    InputError
        A file that is not there, of no known format or not as its format wants it; rows of
        different length; no ids, not as many as rows, or some twice.
    FileFormatError
        A damaged file.
    MissingExtraError
        Parquet without pyarrow.
    """
    if wanted.patches is not None and wanted.patches not in PATCHES:
        raise UnknownNameError("way to join patches", wanted.patches, PATCHES, "(--patches)")
    if not paths:
        raise InputError("no file to import: name one")
    found = _joined([READERS[kind_of(path)](path, wanted) for path in paths], paths)
    where = f"'{paths[0]}'" + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")
    if wanted.ids is not None:
        ids, columns = read_ids(wanted.ids, wanted.id_column)
        if len(ids) != len(found.X):
            raise InputError(
                f"'{wanted.ids}' has {len(ids)} ids and {where} {len(found.X)} rows: one is needed"
                " for each row, in their order"
            )
        found = replace(
            found, ids=ids, columns={**found.columns, **columns}, files=[*found.files, wanted.ids]
        )
    if found.ids is None:
        raise InputError(
            f"{where} does not say which images its rows are of: give --ids FILE, with an id for"
            " each row, or --id-column NAME"
        )
    if len(found.ids) != len(found.X):
        raise InputError(
            f"{where} has {len(found.ids)} ids for {len(found.X)} rows: one is needed for each"
        )
    ids = [id_of(one) for one in found.ids]
    _refuse_repeated(ids, where)
    return replace(found, ids=ids)


def kind_of(path: Path) -> str:
    """Tell which reader a file is for.

    Raises
    ------
    InputError
        Not there, empty, or of no known format.
    """
    if path.is_dir():
        return "folder"
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except FileNotFoundError:
        raise InputError(f"there is no file '{path}'") from None
    except OSError as error:
        raise InputError(f"'{path}' cannot be read: {error.strerror}") from None
    if not head:
        raise InputError(f"'{path}' is empty: a file of embeddings is needed")
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return kind
    if path.suffix.lower() not in _PICKLED and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(name.endswith(".npy") for name in archive.namelist()):
                return "npz"
    if path.suffix.lower() in _TEXT:
        return "csv"
    if path.suffix.lower() in _PICKLED or head[:1] == b"\x80":
        raise InputError(
            f"'{path}' can hold code (pickle), so that it is never opened: save the numbers with"
            " np.savez, or as Parquet or CSV"
        )
    raise InputError(
        f"'{path}' is of no format that is read here: give CSV, TSV, Parquet, npz, npy, HDF5,"
        " AnnData (.h5ad), or a folder with a .h5 or .npy file for each image"
    )


def read_ids(path: Path, column: str | None) -> tuple[list[str], Columns]:
    """Read ids from a text file (one a line), an array, or a column of a table, with the others.

    Raises
    ------
    InputError
        No such file, or a table without such a column.
    """
    if not path.is_file():
        raise InputError(f"there is no file of ids '{path}'")
    if path.suffix.lower() == ".npy":
        return [str(one) for one in load_array(path).reshape(-1).tolist()], {}
    if path.suffix.lower() not in tables.TABLE_SUFFIXES or path.suffix.lower() == ".txt":
        return lines_of(path), {}
    columns = tables.read_table(path)
    name = id_column(columns, column, str(path))
    if name is None and len(columns) == 1:
        name = next(iter(columns))
    if name is None:
        raise InputError(
            f"'{path}' has no column of ids: choose one of {', '.join(columns)} by --id-column"
        )
    return columns.pop(name), columns


def digest(files: Sequence[Path]) -> str:
    """Return the sha256 of a file; of several, that of a list of theirs, as sha256sum writes it."""
    digests = []
    for path in files:
        with path.open("rb") as file:
            digests.append(file_digest(file, "sha256").hexdigest())
    if len(digests) == 1:
        return digests[0]
    lines = (f"{one}  {path.name}\n" for one, path in zip(digests, files, strict=True))
    return sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _joined(parts: Sequence[Outside], paths: Sequence[Path]) -> Outside:
    first = parts[0]
    for part, path in zip(parts[1:], paths[1:], strict=True):
        if part.X.shape[1] != first.X.shape[1]:
            raise InputError(
                f"'{path}' has {part.X.shape[1]} numbers a row, '{paths[0]}' {first.X.shape[1]}:"
                " all embeddings need the same length"
            )
        if (part.ids is None) != (first.ids is None) or part.labels or first.labels:
            raise InputError(f"'{path}' and '{paths[0]}' are not of one kind: import one at a time")
    if len(parts) == 1:
        return first
    names = dict.fromkeys(name for part in parts for name in part.columns)
    return Outside(
        ", ".join(dict.fromkeys(part.format for part in parts)),
        np.concatenate([part.X for part in parts]),
        None if first.ids is None else [one for part in parts for one in part.ids or ()],
        {
            name: [cell for part in parts for cell in part.columns.get(name, [""] * len(part.X))]
            for name in names
        },
        encoder=first.encoder if len({part.encoder for part in parts}) == 1 else "",
        files=[file for part in parts for file in part.files],
    )


def _refuse_repeated(ids: Sequence[str], where: str) -> None:
    if "" in ids:
        raise InputError(f"{where}: row {ids.index('') + 1} has a blank id: name its image")
    if len(set(ids)) == len(ids):
        return
    twice = [name for name, count in Counter(ids).items() if count > 1]
    shown = ", ".join(f"'{name}'" for name in twice[:_SHOWN])
    more = ", ..." if len(twice) > _SHOWN else ""
    raise InputError(
        f"{where}: {len(twice)} ids stand twice or more ({shown}{more}): one row is needed for each"
        " image"
    )
