"""The control of the whole division: labels dealt out anew must not be predictable.

If embeddings predict labels that were shuffled among patients, training and test images are not
independent: images of one patient stand on both sides. Patients must be known for that. Labels that
are shuffled image by image give two copies of one image labels of their own, and nothing is found.
"""

from __future__ import annotations

from typing import TypeGuard

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve

from cxrfeat.arrays import Groups, Matrix
from cxrfeat.evaluation.heads.standardised_fold import SharedFold
from cxrfeat.evaluation.statistics.metrics.curve_areas import per_class_auroc
from cxrfeat.evaluation.study.folds import Fold

PERMUTATIONS = 20
RIDGE = 0.1
"""Penalty as a share of the number of training rows: light, so that a copy is recognised."""


def can_be_shuffled(patients: Groups) -> TypeGuard[npt.NDArray[np.str_]]:
    """Whether some patient is known to have several images.

    Where every image has a patient of its own, dealing out labels by patient is dealing them out by
    image, which finds nothing.
    """
    return patients is not None and len(np.unique(patients)) < len(patients)


def shuffled_labels(labels: Matrix, patients: npt.NDArray[np.str_], seed: int) -> Matrix:
    """Deal labels out anew, one patient's labels to all images of another.

    Parameters
    ----------
    labels : ndarray, shape (N, K)
    patients : ndarray of str, shape (N,)

    Returns
    -------
    ndarray, shape (N, PERMUTATIONS, K)
    """
    random = np.random.default_rng(seed)
    _, first, patient = np.unique(patients, return_index=True, return_inverse=True)
    return np.stack(
        [labels[first[random.permutation(len(first))[patient]]] for _ in range(PERMUTATIONS)],
        axis=1,
    )


def permuted_auroc(shared: SharedFold, fold: Fold, shuffled: Matrix) -> Matrix:
    """AUROC of a ridge classifier on shuffled labels, one fold, shape (PERMUTATIONS,).

    One decomposition serves all permutations.
    """
    n, permutations, n_classes = len(shuffled), shuffled.shape[1], shuffled.shape[2]
    columns = shuffled.reshape(n, -1)
    target = np.nan_to_num(columns[fold.train], nan=0.0)
    target = target - target.mean(axis=0)
    Z = shared.rotated
    train = Z[shared.train]
    normal = (train.T @ train).astype(np.float64)
    normal.flat[:: len(normal) + 1] += RIDGE * len(train)
    weights = cho_solve(cho_factor(normal, overwrite_a=True), train.T @ target)
    scores = Z[shared.test] @ weights
    areas = per_class_auroc(columns[fold.test], scores)
    areas = areas.reshape(permutations, n_classes)
    known = np.isfinite(areas)
    return np.asarray(
        np.where(known, areas, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
        + np.where(known.any(axis=1), 0.0, np.nan)
    )
