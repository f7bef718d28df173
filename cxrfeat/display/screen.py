"""One console, one kind of table, one way to JSON."""

from __future__ import annotations

import codecs
import dataclasses
import io
import json
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

PIPED_WIDTH = 120
"""Columns of a line that goes to no terminal, unless ``COLUMNS`` says how many."""

_IN_ASCII = {"±": "+-", "–": "-", "…": "...", "→": "->", "≥": ">=", "≤": "<=", "×": "x", "·": "-"}


def console() -> Console:
    """Return a console for stdout; a pipe gets lines wide enough for a table."""
    asked = os.environ.get("COLUMNS", "")
    piped = int(asked) if asked.isdigit() and int(asked) > 0 else PIPED_WIDTH
    return Console(
        width=None if sys.stdout.isatty() else piped, highlight=False, markup=False, emoji=False
    )


def write_what_can_be_written() -> None:
    """Let stdout and stderr replace what their encoding has not, as under ``LC_ALL=C``."""
    codecs.register_error("in_other_signs", _in_other_signs)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="in_other_signs")


def _in_other_signs(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_IN_ASCII.get(sign, "?") for sign in lacking), error.end


def to_json(result: Any) -> str:
    """Write a verb's result as JSON."""
    anything = codecs.lookup(sys.stdout.encoding or "ascii").name == "utf-8"
    return json.dumps(plain(result), indent=2, ensure_ascii=not anything)


def plain(value: Any) -> Any:
    """Turn dataclasses, arrays and paths into what JSON has."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):  # of NumPy, which takes too long to import for `--help`
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None  # JSON has no NaN
    return str(value) if isinstance(value, Path) else value


def table(*columns: str, title: str | None = None, right: int = 1) -> Table:
    """Return an empty table; columns from number `right` on hold numbers."""
    made = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    for number, column in enumerate(columns):
        made.add_column(column, justify="left" if number < right else "right", overflow="fold")
    return made
