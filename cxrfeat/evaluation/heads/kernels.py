"""Heads that only need how alike two images are: k nearest neighbours and the RBF machine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn.svm import SVC

from cxrfeat.arrays import Matrix
from cxrfeat.evaluation.heads.standardised_fold import SharedFold
from cxrfeat.evaluation.heads.task import Pairs, Setting, label_by_label


@label_by_label
def knn_path(
    fold: SharedFold,
    y: npt.NDArray[np.intp],
    pairs: Pairs,
    settings: Sequence[Setting],
    seed: int,
) -> list[Matrix]:
    """Share of each class among the nearest neighbours by cosine, along ``n_neighbors``."""
    votes_of = np.eye(int(y.max()) + 1)[y]
    results = []
    for fit, val in pairs:
        most = min(max(setting["n_neighbors"] for setting in settings), len(fit))
        similarity = fold.cosine[np.ix_(val, fit)]
        if most < len(fit):
            nearest = np.argpartition(-similarity, most - 1, axis=1)[:, :most]
        else:
            nearest = np.tile(np.arange(len(fit)), (len(val), 1))
        order = np.argsort(-np.take_along_axis(similarity, nearest, axis=1), axis=1, kind="stable")
        votes = votes_of[fit[np.take_along_axis(nearest, order, axis=1)]].cumsum(axis=1)
        along = []
        for setting in settings:
            k = min(setting["n_neighbors"], len(fit))
            along.append(votes[:, k - 1] / k)
        results.append(np.stack(along))
    return results


@label_by_label
def svm_rbf_path(
    fold: SharedFold,
    y: npt.NDArray[np.intp],
    pairs: Pairs,
    settings: Sequence[Setting],
    seed: int,
) -> list[Matrix]:
    """One-vs-rest shaped decision scores of scikit-learn's `SVC`, along ``C``."""
    results = []
    for fit, val in pairs:
        among = fold.rbf[np.ix_(fit, fit)]
        towards = fold.rbf[np.ix_(val, fit)]
        along = []
        for setting in settings:
            machine = SVC(
                C=setting["C"],
                kernel="precomputed",
                cache_size=500,
                class_weight=setting.get("class_weight"),
            )
            score = machine.fit(among, y[fit]).decision_function(towards)
            along.append(np.stack([-score, score], axis=1) if score.ndim == 1 else score)
        results.append(np.stack(along))
    return results
