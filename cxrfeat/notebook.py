"""Objects as a person meets them in Python: one line as text, a table in a notebook."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import PurePath
from typing import Any

LINE = 160
"""Characters of a line, about."""
ROWS = 30
"""Rows of a table in a notebook; the others are counted."""
TEXT = 60

Rows = Iterable[Sequence[object]]


class Shown:
    """A result whose text is one line, and which a notebook shows as a table.

    A dataclass that inherits from this needs ``repr=False``; what it holds is shown as it is, lists
    by their length, unless it says better.
    """

    def _headline(self) -> str:
        """Say what this is, in one line."""
        parts = [f"{name}={short(value)}" for name, value in self._fields() if value is not None]
        line = ""
        for part in parts:
            if len(line) + len(part) > LINE:
                return f"{line}, ..."
            line += f"{', ' if line else ''}{part}"
        return line

    def _table(self) -> tuple[Sequence[str], Rows]:
        """Return names of columns, and rows."""
        return ("", ""), [(name, short(value)) for name, value in self._fields()]

    def _fields(self) -> list[tuple[str, Any]]:
        this: Any = self
        return [(one.name, getattr(self, one.name)) for one in dataclasses.fields(this)]

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self._headline()}>"

    def _repr_html_(self) -> str:
        return html_table(f"{type(self).__name__}: {self._headline()}", *self._table())


def short(value: Any) -> str:
    """Write a value so that it is short, whatever it holds."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, str | PurePath):
        text = " ".join(str(value).split())
        return text if len(text) <= TEXT else text[: TEXT - 3] + "..."
    if isinstance(value, Mapping) or (hasattr(value, "__len__") and not isinstance(value, bytes)):
        small = len(value) <= 4 and not isinstance(value, Mapping)
        plain = [one for one in value if isinstance(one, str | int | float | bool)] if small else []
        if small and len(plain) == len(value) and len(text := ", ".join(map(short, plain))) <= TEXT:
            return f"[{text}]"
        return f"[{len(value)}]"
    return " ".join(str(value).split())[:TEXT]


def html_table(title: str, columns: Sequence[str], rows: Rows) -> str:
    """Write a small table for a notebook; every text is escaped."""
    listed = list(rows)
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>"
        for row in listed[:ROWS]
    )
    more = f"<p>... and {len(listed) - ROWS} more</p>" if len(listed) > ROWS else ""
    return (
        f"<div><p>{escape(title)}</p><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table>{more}</div>"
    )
