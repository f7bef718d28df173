"""Heads that only need how alike two images are: k nearest neighbours and the RBF machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from sklearn.svm import SVC

from cxrfeat.arrays import Matrix, Matrix32, RowNumbers
from cxrfeat.estimators import BLOCK
from cxrfeat.evaluation.heads.linear import linear_svm_path
from cxrfeat.evaluation.heads.neighbours import Neighbours, most_alike_among
from cxrfeat.evaluation.heads.standardised_fold import SharedFold
from cxrfeat.evaluation.heads.task import Classes, Labels, Pairs, Setting, Task


def knn_path(
    fold: SharedFold,
    task: Task,
    pairs: Pairs,
    settings: Sequence[Sequence[Setting]],
    seed: int,
) -> list[Matrix]:
    """Share of each class or label among the nearest neighbours, along ``n_neighbors``.

    The neighbours by cosine, of a label those that know it: one list of a row serves all labels
    and settings.
    """
    if isinstance(task, Classes):
        values = np.eye(task.n_classes, dtype=np.float32)[task.y]
        settings = [settings[0]] * task.n_classes
    else:
        values = task.values
    wanted = np.array([[setting["n_neighbors"] for setting in of_one] for of_one in settings])
    results = []
    for fit, val in pairs:
        shares = np.full((wanted.shape[1], len(val), values.shape[1]), np.nan)
        taught = task.taught(fit) if isinstance(task, Labels) else np.full(values.shape[1], True)
        for known, columns in _known_alike(values, fit, np.flatnonzero(taught)):
            k = np.minimum(wanted[columns], len(known)).T
            for start in range(0, len(val), BLOCK):
                block = slice(start, start + BLOCK)
                votes = values[_nearest(fold, known, val[block], int(k.max()))][..., columns]
                votes = votes.cumsum(axis=1)[:, k - 1, np.arange(len(columns))]
                shares[:, block, columns] = votes.swapaxes(0, 1) / k[:, None, :]
        results.append(shares)
    return results


def _known_alike(
    values: Matrix32, fit: RowNumbers, columns: RowNumbers
) -> Iterator[tuple[RowNumbers, RowNumbers]]:
    """Yield rows to learn from with the columns that just these rows know."""
    known = np.isfinite(values[fit][:, columns])
    if known.all():
        yield fit, columns
        return
    patterns, which = np.unique(known, axis=1, return_inverse=True)
    for number, pattern in enumerate(patterns.T):
        yield fit[pattern], columns[which == number]


def _nearest(fold: SharedFold, among: RowNumbers, rows: RowNumbers, k: int) -> Neighbours:
    """Find the k of some training rows that are most like each row, best first, (len(rows), k).

    Those listed of the fold, and all of them again for rows whose list holds too few: of labels
    that few know, and patients with many images.
    """
    listed = fold.nearest[rows]
    able = np.zeros(fold.n_train + 1, dtype=bool)  # the last one for -1
    able[among] = True
    member = able[listed]
    member &= member.cumsum(axis=1, dtype=np.int32) <= k
    enough = member.sum(axis=1) == k
    nearest = np.empty((len(rows), k), np.int32)
    nearest[enough] = listed[enough][member[enough]].reshape(-1, k)
    if not enough.all():
        nearest[~enough] = most_alike_among(fold.X, rows[~enough], among, k)
    return nearest


def svm_rbf_path(
    fold: SharedFold,
    task: Task,
    pairs: Pairs,
    settings: Sequence[Sequence[Setting]],
    seed: int,
) -> list[Matrix]:
    """One-vs-rest shaped decision scores of scikit-learn's `SVC`, along ``C``."""
    results = []
    for fit, val in pairs:
        among, towards = fold.rbf[np.ix_(fit, fit)], fold.rbf[np.ix_(val, fit)]
        if isinstance(task, Classes):
            results.append(_machines(among, towards, task.y[fit], settings[0]))
            continue
        scores = np.full((len(settings[0]), len(val), task.n_labels), np.nan)
        for label in np.flatnonzero(task.taught(fit)).tolist():
            column = task.values[fit, label]
            known = np.flatnonzero(np.isfinite(column))
            whole = len(known) == len(fit)
            found = _machines(
                among if whole else among[np.ix_(known, known)],
                towards if whole else towards[:, known],
                (column[known] == 1).astype(np.intp),
                settings[label],
            )
            scores[:, :, label] = found[..., 1]
        results.append(scores)
    return results


def _machines(
    among: Matrix, towards: Matrix, y: npt.NDArray[np.intp], settings: Sequence[Setting]
) -> Matrix:
    """Scores of one exact machine per setting, shape (S, rows, K)."""
    along = []
    for setting in settings:
        machine = SVC(
            C=setting["C"],
            kernel="precomputed",
            cache_size=500,
            class_weight=setting.get("class_weight"),
        )
        score = machine.fit(among, y).decision_function(towards)
        along.append(np.stack([-score, score], axis=1) if score.ndim == 1 else score)
    return np.stack(along)


def svm_rbf_nystroem_path(
    fold: SharedFold,
    task: Task,
    pairs: Pairs,
    settings: Sequence[Sequence[Setting]],
    seed: int,
) -> list[Matrix]:
    """Decision scores of squared-hinge machines on landmarks' features, along ``C``."""
    return linear_svm_path(fold.featured(seed), task, pairs, settings, seed)
