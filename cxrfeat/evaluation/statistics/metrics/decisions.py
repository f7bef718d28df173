"""From probabilities to decisions, and how often these are right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cxrfeat.arrays import Matrix
from cxrfeat.evaluation.statistics.metrics.undefined import ratio
from cxrfeat.evaluation.statistics.metrics.weights import Weights

Decisions = npt.NDArray[np.bool_]

CUT = 0.5
"""The probability above which a label is called where nothing sets another threshold."""


@dataclass(frozen=True)
class Counts:
    """One-vs-rest decisions of each class, every entry of shape (B, K)."""

    tp: Matrix
    fp: Matrix
    fn: Matrix
    tn: Matrix

    @property
    def sensitivity(self) -> Matrix:
        """Share of the positives that are called (recall)."""
        return ratio(self.tp, self.tp + self.fn)

    @property
    def specificity(self) -> Matrix:
        """Share of the negatives that are not called."""
        return ratio(self.tn, self.tn + self.fp)

    @property
    def ppv(self) -> Matrix:
        """Share of the called that are positive (precision); 0 where none is called."""
        value = ratio(self.tp, self.tp + self.fp)
        return np.where((self.tp + self.fp == 0) & (self.fn > 0), 0.0, value)

    @property
    def npv(self) -> Matrix:
        """Share of the not called that are negative; 0 where all are called."""
        value = ratio(self.tn, self.tn + self.fn)
        return np.where((self.tn + self.fn == 0) & (self.fp > 0), 0.0, value)

    @property
    def f1(self) -> Matrix:
        """Harmonic mean of sensitivity and PPV; undefined for a class that is absent."""
        value = ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)
        return np.where(self.tp + self.fn > 0, value, np.nan)


def at_prevalence(sensitivity: float, specificity: float, prevalence: float) -> tuple[float, float]:
    """PPV and NPV where the share of positives is another than in the data (Bayes' rule)."""
    called = sensitivity * prevalence + (1 - specificity) * (1 - prevalence)
    spared = specificity * (1 - prevalence) + (1 - sensitivity) * prevalence
    ppv = sensitivity * prevalence / called if called > 0 else float("nan")
    npv = specificity * (1 - prevalence) / spared if spared > 0 else float("nan")
    return ppv, npv


def decide(p: Matrix, exclusive: bool, thresholds: Matrix | float = CUT) -> Decisions:
    """Call the most probable class, or every label above its threshold, shape (n, K).

    Everything that is called anywhere is called here: in scores, reports and predictions.

    Parameters
    ----------
    p : ndarray, shape (n, K)
    thresholds : ndarray, shape (K,), or float
        Of labels that do not exclude each other; see `cxrfeat.evaluation.statistics.calling`.
    """
    if exclusive:
        return np.asarray(np.arange(p.shape[1]) == p.argmax(axis=1)[:, None])
    return np.asarray(p > thresholds)


def counts(truth: Matrix, called: Decisions, weights: Weights) -> Counts:
    """Count decisions of shape (n, K) against the truth."""
    positive, negative = truth == 1, truth == 0
    of_calls, of_all = (
        weights.sums(np.concatenate(both, axis=1))
        for both in ((positive & called, negative & called), (positive, negative))
    )
    tp, fp = np.hsplit(of_calls, 2)
    positives, negatives = np.hsplit(of_all, 2)
    return Counts(tp, fp, positives - tp, negatives - fp)


def confusion(truth: Matrix, p: Matrix) -> npt.NDArray[np.intp]:
    """Count images in shape (K, K): a row per true class, a column per predicted class."""
    n_classes = p.shape[1]
    flat = np.bincount(truth.argmax(axis=1) * n_classes + p.argmax(axis=1), minlength=n_classes**2)
    return np.asarray(flat.reshape(n_classes, n_classes))


def threshold_at_specificity(truth: Matrix, score: Matrix, specificity: float) -> float:
    """Smallest score above which at most 1 - `specificity` of the negatives lie.

    Parameters
    ----------
    truth, score : ndarray, shape (n,)
        Of images that the test does not contain.

    Returns
    -------
    float
        An image is called when its score is above; NaN without negatives.
    """
    negatives = np.sort(score[truth == 0])
    if not len(negatives):
        return float("nan")
    position = int(np.ceil(specificity * len(negatives) - 1e-9)) - 1
    return float(negatives[max(position, 0)])
