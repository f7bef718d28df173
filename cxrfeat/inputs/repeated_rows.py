"""A table that lists an image in several rows: refused, or made into one row as asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from cxrfeat.errors import InputError, UnknownNameError
from cxrfeat.inputs.dataset import LabelKind
from cxrfeat.inputs.label_table import NO_FINDING, Columns, is_unknown, plain

RepeatedRows = Literal["error", "first", "join"]
_ONE_FOR_ALL = {"group": "patient", "split": "split"}
"""Columns of which an image can have one value only."""

Labels = npt.NDArray[np.float32]


@dataclass
class Repeats:
    """Rows of labels and columns, several of which may be of one image.

    Attributes
    ----------
    firsts : list of int
        Where each image's rows begin; the rows of an image lie together, in the table's order.
    names : list of str
        Of each row, for messages.
    ids : list of str
        Of each row's image.
    """

    firsts: list[int]
    names: list[str]
    ids: list[str]

    @classmethod
    def among(cls, ids: Sequence[str], names: Sequence[str]) -> Repeats:
        """Find the images that occur several times in `ids`, in which equal ones lie together."""
        firsts = [row for row, id_ in enumerate(ids) if not row or ids[row - 1] != id_]
        return cls(firsts, list(names), list(ids))

    def __len__(self) -> int:
        return len(self.ids) - len(self.firsts)

    def groups(self) -> list[range]:
        """Return the rows of each image that has several."""
        ends = [*self.firsts[1:], len(self.ids)]
        return [range(a, b) for a, b in zip(self.firsts, ends, strict=True) if b - a > 1]

    def refuse(self, table: str, columns: Columns) -> None:
        """Raise InputError naming the rows, if there are any.

        Parameters
        ----------
        columns
            Of each row; two patients or two splits of one image are said before all else.
        """
        self._refuse_two_values(columns)
        groups = self.groups()
        if groups:
            shown = "; ".join(f"'{self.ids[g[0]]}' in {self._rows(g)}" for g in groups[:3])
            more = "; ..." if len(groups) > 3 else ""
            raise InputError(
                f"{len(groups)} image(s) stand more than once in '{table}' ({shown}{more}): keep "
                "one row each, or choose --repeated-rows first or join"
            )

    def note(self, way: str, *, several: bool) -> str:
        """Say what became of the rows beyond one for each image."""
        images = len(self.groups())
        if way == "first":
            return f"the first row taken of {images} image(s) that stand in several"
        kind = ", as findings" if several else ""
        return f"labels of {images} image(s) that stand in several rows joined{kind}"

    def joined_labels(
        self, classes: Sequence[str], labels: Labels, kind: LabelKind
    ) -> tuple[list[str], Labels, LabelKind]:
        """Let a 1 win over a 0 and either over unknown; several classes become findings."""
        classes = list(classes)
        joined: Labels = np.fmax.reduceat(labels, self.firsts, axis=0)
        if kind == "multiclass" and set(classes) <= {"0", "1"}:
            if len(classes) == 2:
                joined[joined[:, 1] == 1, 0] = 0
        elif kind == "multiclass" and (joined == 1).sum(axis=1).max(initial=0) > 1:
            kept = [i for i, name in enumerate(classes) if plain(name) not in NO_FINDING]
            return [classes[i] for i in kept], joined[:, kept], "multilabel"
        return classes, joined, kind

    def joined_columns(self, columns: Columns) -> Columns:
        """Take the first known value of each image.

        Raises
        ------
        InputError
            Two patients or two splits for one image.
        """
        self._refuse_two_values(columns)
        joined = {name: [cells[row] for row in self.firsts] for name, cells in columns.items()}
        position = {first: i for i, first in enumerate(self.firsts)}
        for group in self.groups():
            for name, cells in columns.items():
                known = [cells[row] for row in group if not is_unknown(cells[row])]
                if known:
                    joined[name][position[group[0]]] = known[0]
        return joined

    def _refuse_two_values(self, columns: Columns) -> None:
        for name in [name for name in _ONE_FOR_ALL if name in columns]:
            cells = columns[name]
            several = [
                (group, known)
                for group in self.groups()
                if len(known := {cells[row]: 0 for row in group if not is_unknown(cells[row])}) > 1
            ]
            if several:
                group, known = several[0]
                more = f", and so have {len(several) - 1} more image(s)" if several[1:] else ""
                raise InputError(
                    f"'{self.ids[group[0]]}' has several values of {_ONE_FOR_ALL[name]} "
                    f"({', '.join(known)}) in {self._rows(group)}{more}: mend the table"
                )

    def _rows(self, rows: Sequence[int]) -> str:
        names = [self.names[row] for row in rows]
        shown = ", ".join(names[:-1][:5]) + (", ..." if len(names) > 6 else "")
        return f"rows {shown} and {names[-1]}"


def check_repeated_rows(repeated_rows: str) -> None:
    """Refuse a way with repeated rows that there is not.

    Raises
    ------
    UnknownNameError
    """
    if repeated_rows not in get_args(RepeatedRows):
        raise UnknownNameError("way with repeated rows", repeated_rows, get_args(RepeatedRows))
