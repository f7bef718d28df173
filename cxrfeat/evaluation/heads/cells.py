"""Rows cut where the parts that are fitted differ, so that each row is multiplied once for all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from cxrfeat.arrays import RowNumbers

ROWS = 2048
"""Rows of a block: their scores and slopes for some hundred columns stay in a core's cache."""


@dataclass(frozen=True)
class Cell:
    """Rows that the same fits learn from.

    Attributes
    ----------
    rows : ndarray of int
        Ascending.
    fits : ndarray of int
        Which of the fits.
    """

    rows: RowNumbers
    fits: RowNumbers


def cells_of(fits: Sequence[RowNumbers]) -> list[Cell]:
    """Cut all rows that some fit learns from into cells.

    Of three inner folds there are three: the held-out rows of each.
    """
    rows = np.unique(np.concatenate(fits))
    member = np.zeros((len(rows), len(fits)), dtype=bool)
    for number, fit in enumerate(fits):
        member[np.searchsorted(rows, fit), number] = True
    patterns, which = np.unique(np.packbits(member, axis=1), axis=0, return_inverse=True)
    which = which.ravel()
    first = [int(np.argmax(which == number)) for number in range(len(patterns))]
    return [
        Cell(rows[which == number], np.flatnonzero(member[first[number]]))
        for number in range(len(patterns))
    ]


def blocks(rows: RowNumbers) -> Iterator[RowNumbers | slice]:
    """Cut rows into blocks; as slices, which copy nothing, where they follow each other."""
    for start in range(0, len(rows), ROWS):
        block = rows[start : start + ROWS]
        if block[-1] - block[0] + 1 == len(block):
            yield slice(int(block[0]), int(block[-1]) + 1)
        else:
            yield block
