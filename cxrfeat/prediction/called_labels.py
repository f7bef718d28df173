"""What a saved model calls: the most probable class, or every label above its threshold."""

from __future__ import annotations

import numpy as np

from cxrfeat.arrays import Matrix
from cxrfeat.evaluation.statistics.metrics import CUT, decide
from cxrfeat.model import Model


def called(model: Model, probability: Matrix) -> list[list[str]]:
    """Name what holds for each image.

    Parameters
    ----------
    probability : ndarray, shape (n, L)
        As the model gives them.

    Returns
    -------
    list of list of str
        Per image one class, or any number of labels.
    """
    above = np.array([model.thresholds.get(name, CUT) for name in model.classes])
    return [
        [name for name, holds in zip(model.classes, row, strict=True) if holds]
        for row in decide(probability, model.kind == "multiclass", above)
    ]
