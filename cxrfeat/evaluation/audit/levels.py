"""An attribute as levels: which can be judged, and which classes each of them has."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cxrfeat.arrays import Groups, RowNumbers
from cxrfeat.evaluation.study.study import Study
from cxrfeat.results.audit import Table

Attribute = npt.NDArray[np.str_] | npt.NDArray[np.float64]
"""Of each image: categories with "" where unknown, or numbers with NaN where unknown."""

FEWEST = 10
"""Patients of a level that can be judged."""
MOST = 12
"""Levels that are judged: those of the most patients."""
PARTS = 4
"""Parts of about equal size that numbers are cut into."""


@dataclass(frozen=True)
class Levels:
    """The levels of one attribute.

    Attributes
    ----------
    name : str
    names : list of str, length A
        Levels that are judged; of numbers in their order, else the most frequent first.
    code : ndarray of int, shape (N,)
        The level of each image; -1 where it is unknown or not judged.
    unknown : int
        Images without a value.
    rare : int
        Images of levels that are not judged.
    cut : bool
        Whether numbers were cut into parts.
    """

    name: str
    names: list[str]
    code: RowNumbers
    unknown: int
    rare: int
    cut: bool

    @property
    def rows(self) -> RowNumbers:
        """Images whose level is judged."""
        return np.flatnonzero(self.code >= 0)

    @property
    def said(self) -> str:
        """Which images and levels were left out, and how numbers were cut; "" if none were."""
        parts = []
        if self.cut:
            parts.append(f"numbers were cut into {len(self.names)} parts of about equal size")
        if self.unknown:
            parts.append(f"{self.unknown} images without a value are left out")
        if self.rare:
            parts.append(
                f"{self.rare} images of levels with fewer than {FEWEST} patients, or beyond the"
                f" {MOST} most frequent, are left out"
            )
        return "; ".join(parts)


def levels_of(name: str, values: Attribute, patients: Groups) -> Levels:
    """Find the levels of an attribute that can be judged.

    Numbers are cut at their quartiles, so that a tie between two numbers is never broken; what
    follows is asked of the parts.

    Parameters
    ----------
    values : ndarray of str or float, shape (N,)
    patients : ndarray of str, shape (N,), or None
        Without them every image counts as one.
    """
    cut = values.dtype.kind == "f" and len(np.unique(values[np.isfinite(values)])) > PARTS
    text = _parts(values.astype(np.float64)) if cut else _texts(values)
    known = np.flatnonzero(text != "")
    names, code = np.unique(text[known], return_inverse=True)
    patient = known if patients is None else np.unique(patients[known], return_inverse=True)[1]
    pairs = np.unique(np.stack([code, patient]), axis=1)
    counted = np.bincount(pairs[0], minlength=len(names))
    order = np.lexsort((np.arange(len(names)), -counted))
    kept = [int(number) for number in order[:MOST] if counted[number] >= FEWEST]
    if cut:
        first = [float(np.min(values[known[code == number]])) for number in kept]
        kept = [kept[place] for place in np.argsort(first)]
    place = np.full(len(names), -1)
    place[kept] = np.arange(len(kept))
    of_row = np.full(len(values), -1)
    of_row[known] = place[code]
    return Levels(
        name, [str(names[number]) for number in kept], of_row,
        unknown=len(values) - len(known), rare=int(np.sum(place[code] < 0)), cut=cut,
    )  # fmt: skip


def _parts(values: npt.NDArray[np.float64]) -> npt.NDArray[np.str_]:
    known = np.isfinite(values)
    edges = np.unique(np.quantile(values[known], np.arange(1, PARTS) / PARTS))
    part = np.searchsorted(edges, values, side="left")
    text = np.full(len(values), "", dtype=object)
    for number in np.unique(part[known]):
        inside = known & (part == number)
        text[inside] = f"{values[inside].min():g} to {values[inside].max():g}"
    return text.astype(np.str_)


def _texts(values: Attribute) -> npt.NDArray[np.str_]:
    if values.dtype.kind != "f":
        return values.astype(np.str_)
    return np.array([f"{value:g}" if np.isfinite(value) else "" for value in values], np.str_)


def counts_of(study: Study, levels: Levels) -> npt.NDArray[np.intp]:
    """Count the images that have each class at each level, shape (K, A)."""
    rows = levels.rows
    at = np.eye(len(levels.names), dtype=np.intp)[levels.code[rows]]
    return np.asarray((study.labels[rows] == 1).astype(np.intp).T @ at)


def single(study: Study, levels: Levels) -> dict[str, str]:
    """Name the classes that only one level has, with that level.

    Whatever tells such a class apart may be the level or the class: the data cannot say.
    """
    counted = counts_of(study, levels)
    return {
        name: levels.names[int(row.argmax())]
        for name, row in zip(study.classes, counted, strict=True)
        if np.count_nonzero(row) == 1
    }


def class_table(study: Study, levels: Levels) -> Table:
    """Make the table class by level, with what cannot be identified."""
    alone = single(study, levels)
    rows: list[list[str | float | int | None]] = []
    for name, row in zip(study.classes, counts_of(study, levels).tolist(), strict=True):
        if not sum(row):
            said = "none at these levels"
        else:
            said = "cannot be identified" if name in alone else "yes"
        rows.append([name, *row, said])
    return Table(
        f"classes-by-{slug(levels.name)}",
        f"Images of each class by {levels.name}",
        ["class", *levels.names, "class and level told apart"],
        rows,
    )


def slug(name: str) -> str:
    """Make a name that any file system takes."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.") or "unnamed"
