"""Some of the images, where all would take too long: whole patients, drawn at random."""

from __future__ import annotations

import numpy as np

from cxrfeat.arrays import RowNumbers
from cxrfeat.evaluation.audit.dealing import numbered
from cxrfeat.evaluation.audit.subject import Subject


def some_patients(subject: Subject, images: int) -> RowNumbers:
    """Draw patients until they have so many images; all rows where there are no more.

    Returns
    -------
    ndarray of int
        In rising order.
    """
    n = len(subject.study)
    if n <= images:
        return np.arange(n)
    return some_units(numbered(subject.design.patients, n), images, subject.seed)


def some_units(patient: RowNumbers, images: int, seed: int) -> RowNumbers:
    """Draw whole patients, one at least, with so many images at most.

    Parameters
    ----------
    patient : ndarray of int, shape (n,)

    Returns
    -------
    ndarray of int
        Places among the n, in rising order.
    """
    _, unit, size = np.unique(patient, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(size))
    last = max(1, int(np.searchsorted(np.cumsum(size[order]), images, side="right")))
    return np.flatnonzero(np.isin(unit, order[:last]))
