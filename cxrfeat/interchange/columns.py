"""Which columns, arrays or datasets of a file are meant, and their cells as numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrfeat.arrays import Matrix32
from cxrfeat.errors import InputError, UnknownNameError
from cxrfeat.inputs import PATH_COLUMNS

EMBEDDING_NAMES = (
    *("embedding", "embeddings", "features", "feats", "feature", "feat", "emb", "x", "vector"),
    *("vectors", "representation", "representations"),
)
"""What numbers are usually called, compared without case, blanks and punctuation."""
ID_NAMES = (*PATH_COLUMNS, *("ids", "filenames", "filepaths", "paths", "imageids", "images"))
NO_NAMES = ("", "__index_level_0__", "Unnamed: 0")
"""What a table calls a column that pandas wrote of its index."""


def plain(name: str) -> str:
    """Return a name without case, blanks and punctuation, to compare by."""
    return "".join(c for c in name.lower() if c.isalnum())


def usual(names: Iterable[str], known: Sequence[str]) -> list[str]:
    """Return the names that are usual ones, the most usual first."""
    names = list(names)
    return [name for one in known for name in names if plain(name) == one]


def number_columns(names: Sequence[str], asked: str | None, where: str) -> list[str]:
    """Choose the columns that make an embedding, in the order of their numbers.

    Parameters
    ----------
    names
        Of all columns.
    asked
        A name, a pattern such as ``f*``, or several of either, joined by commas. Default: the
        columns whose names are one text with numbers that count up, such as ``f0`` ... ``f511``.

    Raises
    ------
    InputError
        No such columns, several sets of them, or a number that is left out.
    """
    if asked is not None:
        found = [
            name
            for one in ([asked] if asked in names else [part.strip() for part in asked.split(",")])
            for name in _matching(names, one)
        ]
        return _in_order(list(dict.fromkeys(found)), where)
    families = {start: of for start, of in _families(names).items() if len(of) > 1}
    if len(families) > 1:
        families = {s: of for s, of in families.items() if plain(s) in EMBEDDING_NAMES} or families
    if len(families) > 1:
        shown = ", ".join(f"'{start}*' ({len(of)})" for start, of in families.items())
        raise InputError(f"'{where}': columns {shown} could each be meant: choose by --embedding")
    if not families:
        shown = ", ".join(f"'{name}'" for name in names[:8]) + (", ..." if len(names) > 8 else "")
        raise InputError(
            f"'{where}' has no columns numbered like f0, f1, f2 ...: name those that hold the"
            f" numbers with --embedding, e.g. --embedding 'A,B,C*' (there are {shown})"
        )
    return _in_order(next(iter(families.values())), where)


def _matching(names: Sequence[str], pattern: str) -> list[str]:
    found = [pattern] if pattern in names else [n for n in names if fnmatchcase(n, pattern)]
    if not found:
        raise UnknownNameError("column", pattern, names, "(--embedding)")
    return found


def _families(names: Sequence[str]) -> dict[str, list[str]]:
    """Group names by what stands before their number."""
    families: dict[str, list[str]] = {}
    for name in names:
        if match := re.fullmatch(r"(.*?)(\d+)", name):
            families.setdefault(match[1], []).append(name)
    return families


def _in_order(names: list[str], where: str) -> list[str]:
    """Sort names of one family by their numbers, of which none may be left out."""
    families = _families(names)
    if len(families) != 1 or sum(map(len, families.values())) < len(names):
        return names
    ((start, _),) = families.items()
    number_of = {name: int(name[len(start) :]) for name in names}
    ordered = sorted(names, key=number_of.__getitem__)
    numbers = [number_of[name] for name in ordered]
    first = numbers[0]
    for place, number in enumerate(numbers):
        if number != first + place:
            raise InputError(
                f"'{where}' has '{start}{first}' to '{start}{numbers[-1]}' but not"
                f" '{start}{first + place}': add it, or name the columns with --embedding"
            )
    return ordered


def id_column(columns: Mapping[str, Sequence[str]], asked: str | None, where: str) -> str | None:
    """Choose the column that names the images; None where there is none.

    Raises
    ------
    UnknownNameError
        One that was asked for and that there is not.
    """
    if asked is not None:
        if asked not in columns:
            raise UnknownNameError("column", asked, columns, f"in '{where}' (--id-column)")
        return asked
    named = usual(columns, ID_NAMES)
    if named:
        return named[0]
    index = next((name for name in columns if name in NO_NAMES), None)
    if index is not None and list(columns[index]) != [str(i) for i in range(len(columns[index]))]:
        return index
    return None


def one_array(
    shapes: Mapping[str, tuple[int, ...]], asked: str | None, where: str, what: str
) -> str:
    """Choose the array or dataset that holds the embeddings, among those with two dimensions.

    Raises
    ------
    InputError
        None, or several that could be meant.
    """
    if asked is not None:
        if asked not in shapes:
            raise UnknownNameError(what, asked, shapes, f"in '{where}' (--embedding)")
        return asked
    matrices = [name for name, shape in shapes.items() if len(shape) == 2]
    named = [name for name in matrices if plain(name) in EMBEDDING_NAMES]
    chosen = named or matrices
    if len(chosen) == 1:
        return chosen[0]
    if not chosen:
        shown = ", ".join(f"'{name}' {shape}" for name, shape in shapes.items()) or "nothing"
        raise InputError(f"'{where}' holds no matrix of embeddings, shape (n, D): it has {shown}")
    shown = ", ".join(f"'{name}' {shapes[name]}" for name in chosen)
    raise InputError(f"'{where}': {shown} could each be meant: choose one by --embedding")


def as_numbers(cells: Sequence[str], column: str, where: str, first_row: int) -> Matrix32:
    """Read the cells of a column as numbers, shape (n,).

    Parameters
    ----------
    first_row
        Of the first cell, as a spreadsheet counts: the header is row 1.

    Raises
    ------
    InputError
        A cell that is blank or text, naming its row.
    """
    try:
        with np.errstate(over="ignore"):
            return np.array(cells, dtype=np.float64).astype(np.float32)
    except ValueError:
        for row, cell in enumerate(cells, first_row):
            if not _is_number(cell):
                held = f"text ('{cell}')" if cell.strip() else "a blank"
                raise InputError(
                    f"'{where}' column '{column}' has {held} in row {row}, where a number is"
                    " needed: mend it, or leave that row out"
                ) from None
        raise


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def texts(values: npt.NDArray[Any]) -> list[str]:
    """Write the cells of a column as text.

    A number that is missing is blank; whole numbers, which are floats where one is missing, have
    no ``.0``.
    """
    if values.dtype.kind == "f":
        there = values[np.isfinite(values)]
        is_whole = bool((there == np.floor(there)).all())
        return [_number_text(value, is_whole) for value in values.tolist()]
    return [text(value) for value in values.tolist()]


def text(value: Any) -> str:
    """Write a value as text; HDF5 gives text as bytes."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def _number_text(value: float, is_whole: bool) -> str:
    if math.isnan(value):
        return ""
    return str(int(value)) if is_whole and math.isfinite(value) else str(value)


def matrix(values: npt.NDArray[Any], where: str) -> Matrix32:
    """Take an array as float32, shape (n, D).

    Raises
    ------
    InputError
        Another shape, or no numbers.
    """
    if values.dtype.kind not in "fiub" or values.ndim != 2:
        raise InputError(
            f"{where} has shape {values.shape} and type {values.dtype}: numbers are needed, one row"
            " for each image"
        )
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values, dtype=np.float32)
