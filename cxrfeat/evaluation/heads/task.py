"""What a head is asked to learn, classes that exclude each other or labels, and how it answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from cxrfeat.arrays import Matrix, RowNumbers
from cxrfeat.evaluation.heads.standardised_fold import SharedFold

Setting = dict[str, Any]
Pairs = Sequence[tuple[RowNumbers, RowNumbers]]
"""Rows to fit on and rows to score."""


@dataclass(frozen=True)
class Classes:
    """Exactly one of several classes holds for each training row.

    Attributes
    ----------
    y : ndarray of int, shape (n,)
        Classes 0 to K - 1; each of them is there.
    """

    y: npt.NDArray[np.intp]

    @property
    def n_classes(self) -> int:
        """K."""
        return int(self.y.max()) + 1


@dataclass(frozen=True)
class Labels:
    """Any number of labels may hold for a training row, and each is learned by itself.

    Attributes
    ----------
    values : ndarray of float32, shape (n, L)
        1, 0, or NaN where it is unknown: such a row does not count for the label.
    """

    values: npt.NDArray[np.float32]

    @property
    def n_labels(self) -> int:
        """L."""
        return int(self.values.shape[1])

    def taught(self, rows: RowNumbers) -> npt.NDArray[np.bool_]:
        """Whether some rows have both values of each label, shape (L,)."""
        values = self.values[rows]
        return np.asarray((values == 1).any(axis=0) & (values == 0).any(axis=0))


Task = Classes | Labels


class Path(Protocol):
    """A fast way along the grid of a head."""

    def __call__(
        self,
        fold: SharedFold,
        task: Task,
        pairs: Pairs,
        settings: Sequence[Sequence[Setting]],
        seed: int,
    ) -> list[Matrix]:
        """Score held-out rows for every setting, from a fold's shared work.

        Parameters
        ----------
        task : Classes or Labels
            Of the training rows.
        pairs
            Rows to fit on and rows to score. Those to fit on are training rows; of labels, the
            ones that know it count.
        settings
            Of classes one sequence of them; of labels one for each, all of the same length S.

        Returns
        -------
        list of ndarray
            For each pair shape (S, rows, K) for classes, or (S, rows, L): what speaks for each
            label (probability or decision score). NaN for a label that the rows to fit on do not
            teach, see `Labels.taught`.
        """
        ...


ClassesPath = Callable[
    [SharedFold, npt.NDArray[np.intp], Pairs, Sequence[Setting], int], list[Matrix]
]
"""A way along a grid for classes alone: scores of shape (settings, rows, K) for each pair."""


def label_by_label(path: ClassesPath) -> Path:
    """Make a path for classes one for labels, too: one after the other, each on the rows it knows.

    For heads whose work for one label is of no use to the next.
    """

    @wraps(path)
    def either(
        fold: SharedFold,
        task: Task,
        pairs: Pairs,
        settings: Sequence[Sequence[Setting]],
        seed: int,
    ) -> list[Matrix]:
        if isinstance(task, Classes):
            return path(fold, task.y, pairs, settings[0], seed)
        scores = [np.full((len(settings[0]), len(val), task.n_labels), np.nan) for _, val in pairs]
        taught = np.stack([task.taught(fit) for fit, _ in pairs])
        for label, column in enumerate(task.values.T):
            known = np.isfinite(column)
            places = [place for place in range(len(pairs)) if taught[place, label]]
            fitted = [pairs[place][0][known[pairs[place][0]]] for place in places]
            of_label = [(fit, pairs[place][1]) for fit, place in zip(fitted, places, strict=True)]
            y = (column == 1).astype(np.intp)
            found = path(fold, y, of_label, settings[label], seed)
            for place, of_pair in zip(places, found, strict=True):
                scores[place][:, :, label] = of_pair[:, :, 1]
        return scores

    return either
