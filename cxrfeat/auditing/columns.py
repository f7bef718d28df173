"""Columns as attributes: text as it is, what is a number everywhere as numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

LEVELS = 10
"""Distinct values up to which a column of numbers is one of categories, such as 0 and 1."""

Attribute = npt.NDArray[np.str_] | npt.NDArray[np.float64]


def attributes_of(
    meta: Mapping[str, npt.NDArray[np.str_]], names: Sequence[str]
) -> dict[str, Attribute]:
    """Give columns as attributes; those that say the same of every image are left out.

    Returns
    -------
    dict
        Categories as text, "" where unknown; numbers as floats, NaN where unknown.
    """
    found: dict[str, Attribute] = {}
    for name in names:
        column = meta[name]
        if len(set(column.tolist()) - {""}) > 1:
            found[name] = _numbers(column) if _are_numbers(column) else column
    return found


def _are_numbers(column: npt.NDArray[np.str_]) -> bool:
    known = set(column.tolist()) - {""}
    return len(known) > LEVELS and all(_is_number(value) for value in known)


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


def _numbers(column: npt.NDArray[np.str_]) -> npt.NDArray[np.float64]:
    return np.array([float(value) if value else np.nan for value in column.tolist()])
