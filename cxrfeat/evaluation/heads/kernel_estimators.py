"""The heads of `kernels` as scikit-learn knows them: unfitted, and filled at size.

Where there are many rows, what is saved holds them or their landmarks once for all labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from cxrfeat.estimators import GaussianLandmarks, NearestVotes, TrainingRows
from cxrfeat.evaluation.heads.head import fill_scaling, scaled, weight_of
from cxrfeat.evaluation.heads.linear_estimators import fit_linear_svm, linear_svm
from cxrfeat.evaluation.heads.neighbours import inverse_lengths
from cxrfeat.evaluation.heads.standardised_fold import SharedFold
from cxrfeat.evaluation.heads.task import Classes, Setting, Task


def knn(s: Setting, n: int, seed: int, widths: Sequence[int] = (), n_classes: int = 2, /) -> Any:
    """Make the estimator of head ``knn``."""
    nearest = min(s["n_neighbors"], n)
    return scaled(widths, KNeighborsClassifier(nearest, metric="cosine", algorithm="brute"))


def svm_rbf(
    s: Setting, n: int, seed: int, widths: Sequence[int] = (), n_classes: int = 2, /
) -> Any:
    """Make the estimator of head ``svm_rbf``."""
    machine = SVC(C=s["C"], gamma="scale", cache_size=500, class_weight=weight_of(s))
    return scaled(widths, machine)


def svm_rbf_nystroem(
    s: Setting, n: int, seed: int, widths: Sequence[int] = (), n_classes: int = 2, /
) -> Any:
    """Make the estimator of head ``svm_rbf_nystroem``."""
    machine = linear_svm(s, n, seed, (), n_classes)[-1]
    return scaled(widths, GaussianLandmarks(seed=seed), machine)


def fit_knn(fold: SharedFold, task: Task, settings: Sequence[Setting], seed: int) -> list[Any]:
    """Fit head ``knn`` on many rows; a `FitLarge`."""
    mean, scale = fold.scaling
    rows = fold.X[: fold.n_train]
    among = TrainingRows(mean, scale, rows * inverse_lengths(rows)[:, None])
    if isinstance(task, Classes):
        columns = [task.y.astype(np.int16)]
    else:
        columns = list(np.nan_to_num(task.values, nan=-1.0).astype(np.int16).T.copy())
    return [
        NearestVotes(among, y, setting["n_neighbors"])
        for y, setting in zip(columns, settings, strict=True)
    ]


def fit_svm_rbf_nystroem(
    fold: SharedFold, task: Task, settings: Sequence[Setting], seed: int
) -> list[Any]:
    """Fit head ``svm_rbf_nystroem`` on many rows; a `FitLarge`."""
    estimators = []
    for fitted in fit_linear_svm(fold.featured(seed), task, settings, seed):
        # The landmarks are the same object for all labels, and stand in the file once.
        estimator = scaled(fold.widths, fold.landmarks(seed), fitted[-1])
        fill_scaling(estimator, fold)
        estimators.append(estimator)
    return estimators
