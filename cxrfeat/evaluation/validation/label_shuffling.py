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

from cxrfeat.arrays import Groups, Matrix, Matrix32
from cxrfeat.evaluation.heads.standardised_fold import SharedFold
from cxrfeat.evaluation.statistics.metrics.curve_areas import per_class_auroc
from cxrfeat.evaluation.study.folds import Fold

PERMUTATIONS = 20
RIDGE = 0.1
"""Penalty as a share of the number of training rows: light, so that a copy is recognised."""
BLOCK = 4096
"""Rows that are held in float64 at a time."""


def can_be_shuffled(patients: Groups) -> TypeGuard[npt.NDArray[np.str_]]:
    """Whether some patient is known to have several images.

    Where every image has a patient of its own, dealing out labels by patient is dealing them out by
    image, which finds nothing.
    """
    return patients is not None and len(np.unique(patients)) < len(patients)


def shuffled_labels(labels: Matrix, patients: npt.NDArray[np.str_], seed: int) -> Matrix32:
    """Deal labels out anew, one patient's labels to all images of another.

    Parameters
    ----------
    labels : ndarray, shape (N, K)
    patients : ndarray of str, shape (N,)

    Returns
    -------
    ndarray of float32, shape (N, PERMUTATIONS, K)
    """
    random = np.random.default_rng(seed)
    _, first, patient = np.unique(patients, return_index=True, return_inverse=True)
    dealt = np.empty((len(labels), PERMUTATIONS, labels.shape[1]), dtype=np.float32)
    for number in range(PERMUTATIONS):
        dealt[:, number] = labels[first[random.permutation(len(first))[patient]]]
    return dealt


def permuted_auroc(shared: SharedFold, fold: Fold, shuffled: Matrix32) -> Matrix:
    """AUROC of a ridge classifier on shuffled labels, one fold, shape (PERMUTATIONS,).

    One decomposition serves all permutations. Beside the embeddings, what is held grows with
    `BLOCK` rows and not with the training set.
    """
    n, permutations, n_classes = len(shuffled), shuffled.shape[1], shuffled.shape[2]
    columns = shuffled.reshape(n, -1)
    Z = shared.rotated
    train, test = Z[: shared.n_train], Z[shared.n_train :]
    blocks = [slice(at, at + BLOCK) for at in range(0, len(train), BLOCK)]
    # Ones are counted exactly, block by block or not.
    held = sum(np.nansum(columns[fold.train[of]], axis=0, dtype=np.float64) for of in blocks)
    mean = held / len(train)
    product = np.zeros((Z.shape[1], columns.shape[1]))
    for of in blocks:
        product += train[of].T @ (np.nan_to_num(columns[fold.train[of]], nan=0.0) - mean)
    normal = (train.T @ train).astype(np.float64)
    normal.flat[:: len(normal) + 1] += RIDGE * len(train)
    weights = cho_solve(cho_factor(normal, overwrite_a=True), product)
    scores = np.concatenate([test[at : at + BLOCK] @ weights for at in range(0, len(test), BLOCK)])
    areas = per_class_auroc(columns[fold.test], scores)
    areas = areas.reshape(permutations, n_classes)
    known = np.isfinite(areas)
    return np.asarray(
        np.where(known, areas, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
        + np.where(known.any(axis=1), 0.0, np.nan)
    )
