"""Which rows of a table are taken: ``--where COLUMN=VALUE``."""

from __future__ import annotations

from collections.abc import Sequence

from cxrfeat.errors import InputError, UnknownNameError
from cxrfeat.inputs.label_table import Columns, same_form


def conditions(columns: Columns, where: Sequence[str]) -> dict[str, list[str]]:
    """Read conditions ``COLUMN=VALUE`` or ``COLUMN=VALUE|VALUE`` against the columns there are.

    Parameters
    ----------
    columns
        The table.
    where
        The conditions; those on one column add up. "" as the value is a blank cell. A value with
        a ``|`` that stands so in the column is one value.

    Returns
    -------
    dict of str to list of str
        The values that each column may have.

    Raises
    ------
    InputError
        A condition without ``=``.
    UnknownNameError
        A column that there is not, or a value that no row has.
    """
    wanted: dict[str, list[str]] = {}
    for condition in [where] if isinstance(where, str) else where:
        column, value = _split(columns, condition)
        cells = {same_form(cell): None for cell in columns[column]}
        values = [value] if value in cells else [part.strip() for part in value.split("|")]
        for one in values:
            if one not in cells:
                known = [cell or "(blank)" for cell in cells][:1000]
                raise UnknownNameError(f"value of column '{column}'", one, known)
        wanted.setdefault(column, []).extend(values)
    return wanted


def rows_where(columns: Columns, wanted: dict[str, list[str]]) -> list[int]:
    """Return the rows that meet the condition on every column.

    Raises
    ------
    InputError
        If no row does.
    """
    sets = {column: set(values) for column, values in wanted.items()}
    rows = [
        row
        for row in range(len(next(iter(columns.values()))))
        if all(same_form(columns[column][row]) in values for column, values in sets.items())
    ]
    if not rows:
        raise InputError(f"no row of the table has {described(wanted)}: choose other values")
    return rows


def described(wanted: dict[str, list[str]]) -> str:
    """Write the conditions for people."""
    return " and ".join(f"{column}={'|'.join(values)}" for column, values in wanted.items())


def taken(columns: Columns, rows: Sequence[int]) -> Columns:
    """Return some rows of every column."""
    return {name: [cells[row] for row in rows] for name, cells in columns.items()}


def _split(columns: Columns, condition: str) -> tuple[str, str]:
    """Split at the "=" that leaves a column's name, which may hold one itself."""
    places = [i for i, letter in enumerate(condition) if letter == "="]
    if not places:
        raise InputError(f"'{condition}' is no condition: write --where COLUMN=VALUE")
    by_name = {same_form(name): name for name in columns}
    for place in places:
        column = by_name.get(same_form(condition[:place].strip()))
        if column is not None:
            return column, same_form(condition[place + 1 :].strip())
    raise UnknownNameError("column", condition[: places[0]].strip(), columns)
