"""Columns as attributes: text as it is, what is a number everywhere as numbers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from cxrfeat.auditing.seen import FileFacts

READ, NOTHING = "what reading did", "nothing"
"""What is asked about colour, alpha and rotation; and a word that a file does not say."""

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
        if _varies(column):
            found[name] = _numbers(column) if _are_numbers(column) else column
    return found


def names_images(column: npt.NDArray[np.str_]) -> bool:
    """Whether a column is a name or a date of nearly every image, not what several are like."""
    known = column[column != ""]
    return len(np.unique(known)) > len(known) / 2 and not _are_numbers(column)


def of_files(files: Sequence[FileFacts | None], known: Collection[str]) -> dict[str, Attribute]:
    """Give what files say of themselves as attributes, where it is not the same of every image.

    Parameters
    ----------
    files
        None where an image was not looked at.
    known
        Columns of the study: what a file declares under the same name is asked about once.
    """
    told = [FileFacts({}, {}) if one is None else one for one in files]

    def number(of: Callable[[Mapping[str, float]], float]) -> npt.NDArray[np.float64]:
        return np.array([of(one.numbers) if one.numbers else np.nan for one in told])

    found: dict[str, Attribute] = {
        "bytes per pixel": number(lambda n: n["bytes"] / (n["height"] * n["width"])),
        "pixels": number(lambda n: n["height"] * n["width"]),
        "aspect": number(lambda n: n["width"] / n["height"]),
        "bits": np.array([f"{one.numbers['bits']:.0f}" if one.numbers else "" for one in told]),
    }
    for name in dict.fromkeys(name for one in told for name in one.words):
        if name not in known:
            called = READ if name == "read" else name
            found[called] = np.array(
                [(one.words.get(name) or NOTHING) if one.words else "" for one in told]
            )
    return {name: column for name, column in found.items() if _varies(column)}


def _varies(column: Attribute) -> bool:
    if column.dtype.kind == "f":
        return len(np.unique(column[np.isfinite(column)])) > 1
    return len(set(column.tolist()) - {""}) > 1


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
