"""What a label table says, before any image is looked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args
from unicodedata import normalize

import numpy as np
import numpy.typing as npt

from cxrfeat.errors import InputError, UnknownNameError
from cxrfeat.inputs.dataset import LabelKind

Columns = dict[str, list[str]]
Uncertain = Literal["ignore", "zeros", "ones"]

NO_FINDING = frozenset(("nofinding", "nofindings", "normal"))
"""Names that say that there is nothing: not a finding of their own, but a 0 for all others."""

_UNKNOWN = frozenset(("", "nan", "na", "n/a", "none", "null", "todo", "unknown"))
_UNCERTAIN_CELL = {"ignore": "", "zeros": "0", "ones": "1"}


@dataclass
class Understood:
    """One row per image, as a table of some format was understood.

    Attributes
    ----------
    format : str
        Which format, in words.
    paths : list of str, length N
        What names the image: a path, a file name, or a file name without suffix; "" for none.
    findings : dict of str to list of str
        Multi-label: per finding a column of "1", "0", "-1" (uncertain) or "" (unknown).
    classes : list of str, or None
        Multi-class: the name of each row's class, "" where unknown. Not with `findings`.
    meta : dict of str to list of str
        ``group``, ``split``, ``view`` and further columns.
    rows : list of int
        Which row of the table each of these came from; empty where that is the same row, or
        where several rows make one image's.
    rows_without_image : list of str
        Rows that name no image, e.g. studies of which no image is there.
    notes : list of str
    """

    format: str
    paths: list[str]
    findings: Columns = field(default_factory=dict)
    classes: list[str] | None = None
    meta: Columns = field(default_factory=dict)
    rows: list[int] = field(default_factory=list)
    rows_without_image: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def plain(name: str) -> str:
    """Return a name without case, blanks and punctuation, to compare by."""
    return "".join(c for c in same_form(name).lower() if c.isalnum())


def slashes(path: str) -> str:
    """Write a path with ``/``, as Windows writes it or not; drives in upper case."""
    path = path.replace("\\", "/")
    return path[0].upper() + path[1:] if path[1:2] == ":" else path


def same_form(text: str) -> str:
    """Write accents as one character (Unicode NFC): macOS and its archives write them as two."""
    return text if text.isascii() else normalize("NFC", text)


def joined_findings(cells: Sequence[Sequence[str]]) -> Columns:
    """Turn lists of findings into 0/1 columns; an empty list is unknown in every column."""
    rows = [{same_form(name) for name in row} for row in cells]
    names = sorted({name for row in rows for name in row if plain(name) not in NO_FINDING})
    return {
        name: ["" if not row else "1" if name in row else "0" for row in rows] for name in names
    }


def filled_by_no_finding(columns: Columns) -> Columns:
    """Drop the column that says "no finding", after filling the blanks of its rows with 0."""
    nothing = [name for name in columns if plain(name) in NO_FINDING]
    healthy = [
        any(_is(columns[name][row], 1.0) for name in nothing)
        for row in range(len(next(iter(columns.values()), [])))
    ]
    return {
        name: [
            "0" if sure and not cell else cell for sure, cell in zip(healthy, cells, strict=True)
        ]
        for name, cells in columns.items()
        if name not in nothing
    }


def check_uncertain(uncertain: str | None) -> None:
    """Refuse a policy for uncertain labels that there is not.

    Raises
    ------
    UnknownNameError
    """
    if uncertain is not None and uncertain not in get_args(Uncertain):
        raise UnknownNameError("policy for uncertain labels", uncertain, get_args(Uncertain))


def label_matrix(
    understood: Understood, uncertain: str | None
) -> tuple[list[str], npt.NDArray[np.float32] | None, LabelKind]:
    """Return the class names, the labels (N, L) and their kind.

    Raises
    ------
    InputError
        A cell that is no label, or uncertain labels and no policy for them.
    """
    if understood.classes is not None:
        cells = ["" if is_unknown(cell) else same_form(cell) for cell in understood.classes]
        if cells and all(_is(cell, -1.0, 0.0, 1.0) or not cell for cell in cells):
            cells = _certain({"label": cells}, uncertain)["label"]
        names = sorted(set(cells) - {""})
        return names, one_hot(cells, names), "multiclass"
    if not understood.findings:
        return [], None, "multiclass"
    columns = _certain(understood.findings, uncertain)
    values = [[float(cell) if cell else np.nan for cell in cells] for cells in columns.values()]
    return list(columns), np.array(values, dtype=np.float32).T, "multilabel"


def is_unknown(cell: str) -> bool:
    """Tell whether a cell says that nothing is known."""
    return cell.strip().lower() in _UNKNOWN


def one_hot(names: Sequence[str], classes: Sequence[str]) -> npt.NDArray[np.float32]:
    """Return float32 (N, L) with one 1 per row; rows whose name is "" are NaN."""
    labels = np.zeros((len(names), len(classes)), dtype=np.float32)
    column = {name: i for i, name in enumerate(classes)}
    for row, name in zip(labels, names, strict=True):
        if name:
            row[column[name]] = 1.0
        else:
            row[:] = np.nan
    return labels


def _is(cell: str, *values: float) -> bool:
    try:
        return float(cell) in values
    except ValueError:
        return False


def _certain(columns: Columns, uncertain: str | None) -> Columns:
    """Return cells of "1", "0" and "", with the uncertain ones as the policy wants them."""
    doubtful = sum(_is(cell, -1.0) for cells in columns.values() for cell in cells)
    if doubtful and uncertain is None:
        raise InputError(
            f"{doubtful} labels are uncertain (-1): choose what they count as, "
            "--uncertain ignore, zeros or ones"
        )
    return {
        name: [_cell(name, cell, uncertain or "ignore") for cell in cells]
        for name, cells in columns.items()
    }


def _cell(column: str, cell: str, uncertain: str) -> str:
    if is_unknown(cell):
        return ""
    if _is(cell, -1.0):
        return _UNCERTAIN_CELL[uncertain]
    if _is(cell, 0.0, 1.0):
        return str(int(float(cell)))
    raise InputError(f"label column '{column}' holds '{cell}': it needs 1, 0, -1 or blank")
