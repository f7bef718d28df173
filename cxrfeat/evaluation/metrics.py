"""Scores of predicted probabilities against the truth.

Every metric takes the classes y, shape (n,), and probabilities or decision scores p, shape
(n, K), and leaves out classes that are not among the images. Larger is better in all of them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from cxrfeat.errors import UnknownNameError

Classes = npt.NDArray[np.intp]
Matrix = npt.NDArray[np.float64]
Metric = Callable[[Classes, Matrix], float]


def binary_auroc(positive: npt.NDArray[np.bool_], score: npt.NDArray[np.float64]) -> float:
    """Probability that a positive image scores above a negative one, ties counted half.

    References
    ----------
    Hanley JA, McNeil BJ. The meaning and use of the area under a ROC curve. Radiology 1982.
    """
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    if not n_positive or not n_negative:
        return float("nan")
    rank_sum = float(rankdata(score)[positive].sum())
    return (rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)


def per_class_auroc(y: Classes, p: Matrix) -> Matrix:
    """One-vs-rest AUROC of each class, shape (K,); NaN for a class that is absent."""
    return np.array([binary_auroc(y == k, p[:, k]) for k in range(p.shape[1])])


def auroc(y: Classes, p: Matrix) -> float:
    """Mean one-vs-rest AUROC over the classes that are present."""
    values = per_class_auroc(y, p)
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def confusion(y: Classes, predicted: Classes, n_classes: int) -> npt.NDArray[np.intp]:
    """Count images in shape (K, K): a row per true class, a column per predicted class."""
    flat = np.bincount(y * n_classes + predicted, minlength=n_classes**2)
    return np.asarray(flat.reshape(n_classes, n_classes))


def balanced_accuracy(y: Classes, p: Matrix) -> float:
    """Mean recall over the classes that are present."""
    table = confusion(y, p.argmax(axis=1), p.shape[1])
    support = table.sum(axis=1)
    present = support > 0
    return float(np.mean(table.diagonal()[present] / support[present]))


def accuracy(y: Classes, p: Matrix) -> float:
    """Share of images whose most probable class is the true one."""
    return float(np.mean(p.argmax(axis=1) == y))


def f1(y: Classes, p: Matrix) -> float:
    """Mean F1 over the classes that are present."""
    table = confusion(y, p.argmax(axis=1), p.shape[1])
    scores = per_class_report(table)["f1"]
    return float(np.mean(scores[table.sum(axis=1) > 0]))


METRICS: dict[str, Metric] = {
    "auroc": auroc,
    "balanced_accuracy": balanced_accuracy,
    "accuracy": accuracy,
    "f1": f1,
}


def metric(name: str) -> Metric:
    """Look a metric up by name."""
    if name not in METRICS:
        raise UnknownNameError("metric", name, METRICS)
    return METRICS[name]


def per_class_report(table: npt.NDArray[np.intp]) -> dict[str, Matrix]:
    """Precision, recall, F1 and support of each class from a confusion matrix, each (K,).

    A class that is never predicted has precision 0, as one that is absent has recall 0.
    """
    hits = table.diagonal().astype(np.float64)
    predicted, support = table.sum(axis=0), table.sum(axis=1)
    return {
        "precision": hits / np.maximum(predicted, 1),
        "recall": hits / np.maximum(support, 1),
        "f1": 2 * hits / np.maximum(predicted + support, 1),
        "support": support.astype(np.float64),
    }
