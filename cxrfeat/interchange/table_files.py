"""Embeddings in tables: CSV and TSV with a column for each number, Parquet also with lists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrfeat import tables
from cxrfeat.errors import InputError
from cxrfeat.inputs import Columns
from cxrfeat.interchange.columns import (
    as_numbers,
    id_column,
    matrix,
    number_columns,
    one_array,
    texts,
)
from cxrfeat.interchange.outside import Outside, Wanted

ROWS = 1024
"""That are text in memory at a time."""


def read_text(path: Path, wanted: Wanted) -> Outside:
    """Read a CSV or TSV table, packed or not, with a column for each number of an embedding.

    Raises
    ------
    InputError
        A table that cannot be read, columns that cannot be told, or a cell that is no number.
    """
    chosen: list[str] = []
    others: Columns = {}
    numbers: list[npt.NDArray[np.float32]] = []
    row = 2
    for cells_of in tables.read_blocks(path, ROWS, delimiter=None):
        block = {name.strip(): cells for name, cells in cells_of.items()}
        if len(block) < len(cells_of):
            raise InputError(f"'{path}' names a column twice, but for blanks: rename one")
        if not chosen:
            chosen = number_columns(list(block), wanted.embedding, str(path))
            others = {name: [] for name in block if name not in chosen}
        found = [as_numbers(block[name], name, str(path), row) for name in chosen]
        numbers.append(np.stack(found, axis=1))
        for name, cells in others.items():
            cells += [cell.strip() for cell in block[name]]
        row += len(numbers[-1])
    if not numbers:
        raise InputError(f"'{path}' has no row: a table needs a row for each image")
    return _with_ids("CSV", path, np.concatenate(numbers), others, wanted)


def read_parquet(path: Path, wanted: Wanted) -> Outside:
    """Read a Parquet table with a column for each number, or one of lists.

    Raises
    ------
    InputError
        As `read_text`, and lists of different length.
    MissingExtraError
        Without pyarrow.
    """
    arrays = tables.read_arrays(path)
    if not arrays or not len(next(iter(arrays.values()))):
        raise InputError(f"'{path}' has no row: a table needs a row for each image")
    lists = {name: values.shape for name, values in arrays.items() if values.ndim == 2}
    if lists and (wanted.embedding is None or wanted.embedding in lists):
        name = one_array(lists, wanted.embedding, str(path), "column")
        X = matrix(arrays.pop(name), f"'{path}' column '{name}'")
    else:
        chosen = number_columns(list(arrays), wanted.embedding, str(path))
        X = np.stack([_numbers(arrays.pop(name), name, path) for name in chosen], axis=1)
    others = {name: texts(values) for name, values in arrays.items() if values.ndim == 1}
    return _with_ids("Parquet", path, X, others, wanted)


def _numbers(values: npt.NDArray[Any], name: str, path: Path) -> npt.NDArray[np.float32]:
    if values.dtype.kind == "U":
        return as_numbers(values.tolist(), name, str(path), 1)
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def _with_ids(
    format_: str, path: Path, X: npt.NDArray[np.float32], columns: Columns, wanted: Wanted
) -> Outside:
    asked = None if wanted.ids else wanted.id_column
    name = id_column(columns, asked, str(path))
    ids = None if name is None else columns.pop(name)
    columns = {name: cells for name, cells in columns.items() if name and any(cells)}
    return Outside(format_, X, ids, columns, files=[path])
