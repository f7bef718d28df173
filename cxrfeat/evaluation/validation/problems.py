"""What is to be learned on a fold, and on which training rows it is tuned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cxrfeat.arrays import Groups, Matrix, RowNumbers
from cxrfeat.evaluation.heads.task import Classes, Labels, Pairs, Task
from cxrfeat.evaluation.study.folds import inner_folds, label_strata

INNER = 3
"""Inner folds."""


@dataclass(frozen=True)
class Problem:
    """Classes to tell apart among the training rows where they are known.

    Attributes
    ----------
    y : ndarray of int, shape (n,)
        Classes 0 to K' - 1 of all training rows; those outside `rows` mean nothing.
    rows : ndarray of int
        Training rows to learn from.
    columns
        Where the probabilities go among all classes.
    shown
        Which of the K' probabilities go there: all, or only the positive one of a label.
    """

    y: npt.NDArray[np.intp]
    rows: RowNumbers
    columns: npt.NDArray[np.intp]
    shown: slice

    @property
    def exclusive(self) -> bool:
        """Whether all classes are shown."""
        return self.shown == slice(None)

    def truth(self, rows: RowNumbers) -> Matrix:
        """Ones and zeros for the shown classes of some rows, shape (len(rows), shown)."""
        return np.eye(int(self.y.max()) + 1)[self.y[rows]][:, self.shown]


@dataclass(frozen=True)
class Problems:
    """All that is to be learned from the training rows of a fold.

    Attributes
    ----------
    task : Classes or Labels
        As heads learn it: the classes that are there, or the labels with both values.
    each : list of Problem
        One for classes, else one per label of the task.
    inner : pairs of rows
        To fit on and to hold out while tuning, the same for all labels; patients kept together.
    """

    task: Task
    each: list[Problem]
    inner: Pairs


def problems(labels: Matrix, groups: Groups, exclusive: bool, seed: int) -> Problems:
    """Make out what training rows can teach, and divide them.

    Parameters
    ----------
    labels : ndarray, shape (n, K)
        Of the training rows: 1, 0, or NaN where unknown (multi-label).
    groups : ndarray of str, shape (n,), or None
        Patients.
    """
    if exclusive:
        present, y = np.unique(labels.argmax(axis=1), return_inverse=True)
        only = Problem(y, np.arange(len(y)), present, slice(None))
        return Problems(Classes(y), [only], inner_folds(y, groups, seed, INNER))
    both = np.flatnonzero((labels == 1).any(axis=0) & (labels == 0).any(axis=0))
    values = labels[:, both].astype(np.float32)
    each = [
        Problem(
            (column == 1).astype(np.intp),
            np.flatnonzero(np.isfinite(column)),
            np.array([k]),
            slice(1, 2),
        )
        for k, column in zip(both, values.T, strict=True)
    ]
    strata = label_strata(values, groups, INNER)
    return Problems(Labels(values), each, inner_folds(strata, groups, seed, INNER))


def of_problem(
    found: Problems, number: int, pairs: Pairs, scores: Sequence[Matrix], gives: str
) -> tuple[Pairs, list[Matrix]]:
    """Take out what concerns one problem, as if it had been learned alone.

    Parameters
    ----------
    number
        Of the problem.
    scores
        What a head's path made of the pairs.
    gives : "probabilities" or "decisions"

    Returns
    -------
    pairs
        Those that teach it, with the rows that know it; none where all held-out rows are of one
        class.
    scores : list of ndarray
        For each of them shape (settings, rows, K').
    """
    problem, task = found.each[number], found.task
    if isinstance(task, Classes):
        return pairs, list(scores)
    known = np.zeros(len(problem.y), dtype=bool)
    known[problem.rows] = True
    kept, of_kept = [], []
    for (fit, val), of_pair in zip(pairs, scores, strict=True):
        here = known[val]
        if task.taught(fit)[number] and here.any():
            kept.append((fit[known[fit]], val[here]))
            of_kept.append(both_sides(of_pair[:, here, number], gives))
    if not kept or len(np.unique(problem.y[np.concatenate([val for _, val in kept])])) < 2:
        return [], []
    return kept, of_kept


def both_sides(scores: Matrix, gives: str) -> Matrix:
    """Put what speaks against a label beside what speaks for it, shape (..., 2)."""
    against = -scores if gives == "decisions" else 1.0 - scores
    return np.stack([against, scores], axis=-1)
