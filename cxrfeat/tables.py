"""Tables: CSV, TSV and Parquet, read and written."""

from __future__ import annotations

import contextlib
import csv
import gzip
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TextIO, cast

import numpy as np
import numpy.typing as npt

from cxrfeat.errors import InputError, MissingExtraError
from cxrfeat.paths import PathLike

TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".gz", ".parquet", ".pq")
_PARQUET = (".parquet", ".pq")


def read_table(path: PathLike) -> dict[str, list[str]]:
    """Read a table with a header; every cell comes back as text, "" where it is blank.

    Parameters
    ----------
    path
        CSV (separated by comma, semicolon or tab, with or without a byte order mark), TSV, or
        Parquet; CSV and TSV also packed, as ``.csv.gz``.

    Returns
    -------
    dict of str to list of str
        Columns by name, in their order, all of one length. A column without a name is called
        ``column N`` by its place, from 1, and left out where it is blank.

    Raises
    ------
    InputError
        No such file, not UTF-8, a column name used twice, or a row of another length.
    MissingExtraError
        Parquet without pyarrow.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no table '{path}': give the path of a CSV, TSV or Parquet file")
    if path.suffix.lower() in _PARQUET:
        return _read_parquet(path)
    return _read_text(path)


def read_blocks(
    path: PathLike, rows: int, delimiter: str | None = ","
) -> Iterator[dict[str, tuple[str, ...]]]:
    """Read a CSV file, packed or not, some rows at a time; cells come as they are.

    Parameters
    ----------
    path
        With a header; packed where it ends in ``.gz``.
    rows
        How many at a time, at most.
    delimiter
        Between cells, those of our own files as a rule; None tells comma, semicolon and tab by
        the header.

    Yields
    ------
    dict of str to tuple of str
        Columns by name, of one length.

    Raises
    ------
    InputError
        No such file, not UTF-8, or a row of another length.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no table '{path}': give the path of a CSV file")
    with _opened(path, encoding="utf-8-sig") as file:
        if delimiter is None:
            delimiter = _delimiter(path, file.readline())
            file.seek(0)
        reader = csv.reader(file, delimiter=delimiter)
        header = next(reader, [])
        _check_header(path, header)
        while block := list(islice(reader, rows)):
            try:
                yield dict(zip(header, zip(*block, strict=True), strict=True))
            except ValueError:
                raise InputError(
                    f"'{path}' has a row of another length than its header: mend that line"
                ) from None


def read_arrays(path: PathLike) -> dict[str, npt.NDArray[Any]]:
    """Read a Parquet table as arrays: numbers as numbers, lists of one length as a matrix.

    Returns
    -------
    dict of str to ndarray
        By column: float32 or float64 of shape (n,), or (n, D) of a column of lists; anything else
        as text of shape (n,), "" where it is blank. Blank numbers are NaN.

    Raises
    ------
    InputError
        Not Parquet, or lists of different length in one column.
    MissingExtraError
        Without pyarrow.
    """
    table = _opened_parquet(Path(path))
    return {
        name: _array(column.combine_chunks(), f"'{path}' column '{name}'")
        for name, column in zip(table.column_names, table.columns, strict=True)
    }


def _array(column: Any, what: str) -> npt.NDArray[Any]:
    from pyarrow import compute, types

    kind = column.type
    if types.is_floating(kind) or types.is_integer(kind):
        return np.asarray(column.to_numpy(zero_copy_only=False))
    lists = (types.is_list, types.is_large_list, types.is_fixed_size_list)
    if any(is_list(kind) for is_list in lists):
        if column.null_count:
            row = compute.index(compute.is_null(column), True).as_py()
            raise InputError(f"{what} is blank in row {row + 1}: every row needs its numbers")
        lengths = compute.list_value_length(column).to_numpy(zero_copy_only=False)
        if len(other := np.flatnonzero(lengths != lengths[:1])):
            row = int(other[0])
            raise InputError(
                f"{what} has {lengths[row]} numbers in row {row + 1} and {lengths[0]} in row 1: "
                "every row needs as many"
            )
        values = np.asarray(column.flatten().to_numpy(zero_copy_only=False))
        return values.reshape(len(column), -1) if len(column) else values.reshape(0, 0)
    return np.array(["" if v is None else str(v) for v in column.to_pylist()], dtype=np.str_)


def write_table(path: PathLike, columns: Mapping[str, Sequence[Any]]) -> None:
    """Write columns of one length as CSV, TSV or Parquet, by the suffix of `path`.

    Raises
    ------
    MissingExtraError
        Parquet without pyarrow.
    """
    path = Path(path)
    if path.suffix.lower() in _PARQUET:
        _write_parquet(path, columns)
        return
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(
            file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", lineterminator="\n"
        )
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def write_parquet(
    path: Path, blocks: Iterable[Mapping[str, Any]], metadata: Mapping[str, str]
) -> None:
    """Write a Parquet table block by block, so that it need not fit into memory.

    Parameters
    ----------
    path
        The file.
    blocks
        Columns by name, the same in every block, at least one block; a column of shape (n, D)
        becomes lists of fixed length D.
    metadata
        Goes into the schema.

    Raises
    ------
    MissingExtraError
        Without pyarrow.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise MissingExtraError("writing Parquet tables", "parquet") from None

    def column(values: Any) -> Any:
        if getattr(values, "ndim", 1) == 2:
            flat = pyarrow.array(values.reshape(-1))
            return pyarrow.FixedSizeListArray.from_arrays(flat, values.shape[1])
        return pyarrow.array(values)

    writer = None
    try:
        for block in blocks:
            table = pyarrow.table({name: column(values) for name, values in block.items()})
            if writer is None:
                writer = parquet.ParquetWriter(path, table.schema.with_metadata(dict(metadata)))
            writer.write_table(table.replace_schema_metadata(dict(metadata)))
    finally:
        if writer is not None:
            writer.close()


def _read_text(path: Path) -> dict[str, list[str]]:
    with _opened(path, encoding="utf-8-sig") as file:
        first = file.readline()
        file.seek(0)
        rows = csv.reader(file, delimiter=_delimiter(path, first))
        first_row = [name.strip() for name in next(rows, [])]
        header = _without_blank_end(first_row, 0)
        unnamed = len(first_row) - len(header)  # at the end; a row may leave them out
        cells: list[list[str]] = []
        for row in rows:
            if not row:
                continue
            if not cells:
                header = _mended(header, len(row))
            row = _without_blank_end(row, len(header))
            if not len(header) <= len(row) <= len(header) + unnamed:
                raise InputError(
                    f"'{path}' line {rows.line_num} has {len(row)} cells, the header "
                    f"{len(header)}: mend that line"
                )
            cells.append([cell.strip() for cell in row])
    names = [*header, *[""] * unnamed]
    columns = [[row[i] if i < len(row) else "" for row in cells] for i in range(len(names))]
    # A column without a name is dropped where it is blank, else called by its number.
    kept = [i for i, name in enumerate(names) if name or any(columns[i])]
    names = [name or f"column {i + 1}" for i, name in enumerate(names)]
    _check_header(path, [names[i] for i in kept])
    return {names[i]: columns[i] for i in kept}


@contextlib.contextmanager
def _opened(path: Path, encoding: str) -> Iterator[TextIO]:
    """Open a text that may be packed, and say in one line what is wrong with it."""
    opened = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with opened(path, "rt", encoding=encoding, newline="") as file:
            yield cast(TextIO, file)
    except UnicodeDecodeError:
        raise InputError(f"'{path}' is not UTF-8 text: save the table as UTF-8") from None
    except (csv.Error, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"'{path}' cannot be read as a table: {error}") from None


def _without_blank_end(row: list[str], length: int) -> list[str]:
    """Drop blank cells beyond `length`, which a comma at the end of every line makes."""
    while len(row) > length and not row[-1].strip():
        row = row[:-1]
    return row


def _mended(header: list[str], cells: int) -> list[str]:
    """Split names such as ``OriginalImage[Width,Height]`` where the rows have a cell for each."""
    if len(header) >= cells:
        return header
    parts = (n.split(",") if "[" in n and n.endswith("]") else [n] for n in header)
    return [part for pair in parts for part in pair]


def _delimiter(path: Path, first: str) -> str:
    if ".tsv" in (suffix.lower() for suffix in path.suffixes[-2:]):
        return "\t"
    return max(",;\t", key=first.count)


def _check_header(path: Path, header: list[str]) -> None:
    if not any(header):
        raise InputError(f"'{path}' is empty: a table needs a header and rows")
    doubled = sorted({name for name in header if header.count(name) > 1})
    if doubled:
        raise InputError(f"'{path}' names a column twice: {', '.join(doubled)}: rename one")


def _read_parquet(path: Path) -> dict[str, list[str]]:
    table = _opened_parquet(path)
    return {
        name: ["" if value is None else str(value) for value in table.column(name).to_pylist()]
        for name in table.column_names
    }


def _opened_parquet(path: Path) -> Any:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise MissingExtraError("reading Parquet tables", "parquet") from None
    try:
        return parquet.read_table(path)
    except (ArrowException, OSError) as error:
        raise InputError(f"'{path}' cannot be read as Parquet: {error}") from None


def _write_parquet(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    try:
        from pyarrow import parquet, table
    except ImportError:
        raise MissingExtraError("writing Parquet tables", "parquet") from None
    parquet.write_table(table(dict(columns)), path)
