"""Scores of predicted probabilities against the truth, for many resamples at once.

Every metric takes

- ``truth``, shape (n, K): 1 or 0 per class or label, NaN where unknown;
- ``p``, shape (n, K): probabilities (for some, decision scores will do), NaN where there is none,
  e.g. of a label that a fold could not learn: such an image counts as one of unknown truth;
- ``weights``, shape (B, n), or `Weights`: how often each image counts in each of B resamples;
- ``exclusive``: whether exactly one class holds per image (multi-class) or any number do
  (multi-label: every label is then scored by itself, on the images where it is known),
- ``thresholds``, shape (K,) or one number: the probability above which each label is called, for
  the metrics that score decisions about labels,

and returns one value per resample, shape (B,). Classes that a resample lacks are left out of
its mean. The plain score is the one of a single resample in which every image counts once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cxrfeat.arrays import Matrix, Vector
from cxrfeat.errors import InputError, UnknownNameError
from cxrfeat.evaluation.statistics.metrics.calibration_error import class_ece
from cxrfeat.evaluation.statistics.metrics.decisions import CUT
from cxrfeat.evaluation.statistics.metrics.predictions import Counted, Predictions
from cxrfeat.evaluation.statistics.metrics.undefined import mean_of_defined, ratio
from cxrfeat.evaluation.statistics.metrics.weights import Weights

Formula = Callable[[Counted], Matrix]
"""Of predictions that count differently often; what several need is computed once."""

SMALLEST = 1e-15
"""Probabilities are kept this far from 0 and 1 in the log-loss, as scikit-learn does in float64."""


@dataclass(frozen=True)
class Metric:
    """A metric of the registry.

    Attributes
    ----------
    name, title : str
        In files, and for people.
    formula : callable
    larger_is_better : bool
    needs_probabilities : bool
        Whether decision scores will not do.
    descriptive : bool
        Shown, but nothing is ranked by it, and no interval is drawn around it.
    decides : bool
        Whether it scores decisions, for which labels need thresholds.
    """

    name: str
    title: str
    formula: Formula
    larger_is_better: bool = True
    needs_probabilities: bool = False
    descriptive: bool = False
    decides: bool = False

    def function(
        self,
        truth: Matrix,
        p: Matrix,
        weights: Matrix | Weights,
        exclusive: bool,
        thresholds: Matrix | float = CUT,
    ) -> Matrix:
        """Score many resamples at once, shape (B,); see above."""
        counted = weights if isinstance(weights, Weights) else Weights.of_images(weights)
        return self.formula(Predictions(truth, p, exclusive, thresholds).counted(counted))

    def __call__(
        self, truth: Matrix, p: Matrix, exclusive: bool, thresholds: Matrix | float = CUT
    ) -> float:
        """Score one set of predictions, every image once."""
        return float(self.function(truth, p, Weights.once(len(p)), exclusive, thresholds)[0])


def _auroc(found: Counted) -> Matrix:
    return mean_of_defined(found.class_auroc)


def _auprc(found: Counted) -> Matrix:
    return mean_of_defined(found.class_auprc)


def _balanced_accuracy(found: Counted) -> Matrix:
    if found.of.exclusive:
        return mean_of_defined(found.counts.sensitivity)
    return mean_of_defined((found.counts.sensitivity + found.counts.specificity) / 2)


def _accuracy(found: Counted) -> Matrix:
    of = found.counts
    if found.of.exclusive:
        return ratio(of.tp.sum(axis=1), found.weights.total)
    return mean_of_defined(ratio(of.tp + of.tn, of.tp + of.tn + of.fp + of.fn))


def _f1(found: Counted) -> Matrix:
    return mean_of_defined(found.counts.f1)


def _sensitivity(found: Counted) -> Matrix:
    return mean_of_defined(found.counts.sensitivity)


def _specificity(found: Counted) -> Matrix:
    return mean_of_defined(found.counts.specificity)


def _ppv(found: Counted) -> Matrix:
    return mean_of_defined(found.counts.ppv)


def _npv(found: Counted) -> Matrix:
    return mean_of_defined(found.counts.npv)


def _mcc(found: Counted) -> Matrix:
    """Matthews' correlation; for several classes Gorodkin's R_K (Comput Biol Chem 2004)."""
    of = found.counts
    if found.of.exclusive:
        total = found.weights.total
        right = of.tp.sum(axis=1)
        true, said = of.tp + of.fn, of.tp + of.fp
        above = right * total - np.sum(true * said, axis=1)
        below = (total**2 - np.sum(true**2, axis=1)) * (total**2 - np.sum(said**2, axis=1))
        value = np.where(below > 0, above / np.sqrt(np.maximum(below, 1e-300)), 0.0)
        return np.where(total > 0, value, np.nan)
    above = of.tp * of.tn - of.fp * of.fn
    below = (of.tp + of.fp) * (of.tp + of.fn) * (of.tn + of.fp) * (of.tn + of.fn)
    each = np.where(below > 0, above / np.sqrt(np.maximum(below, 1e-300)), 0.0)
    present = (of.tp + of.fn > 0) & (of.tn + of.fp > 0)
    return mean_of_defined(np.where(present, each, np.nan))


def _log_loss(found: Counted) -> Matrix:
    truth, p = found.of.truth, found.of.p
    if found.of.exclusive:
        of_truth = np.clip(np.sum(truth * p, axis=1), SMALLEST, 1.0)
        return _mean_of_images(-np.log(of_truth), found.weights)
    q = np.clip(p, SMALLEST, 1 - SMALLEST)
    return _mean_of_labels(-(truth * np.log(q) + (1 - truth) * np.log(1 - q)), found)


def _brier(found: Counted) -> Matrix:
    """Brier's score: squared error summed over the classes, or per label (Mon Weather Rev 1950)."""
    truth, p = found.of.truth, found.of.p
    if found.of.exclusive:
        return _mean_of_images(np.sum((truth - p) ** 2, axis=1), found.weights)
    return _mean_of_labels((truth - p) ** 2, found)


def _ece(found: Counted) -> Matrix:
    return mean_of_defined(class_ece(found.of.truth, found.of.p, found.weights))


def _mean_of_images(loss: Vector, weights: Weights) -> Matrix:
    return ratio(weights.sums(loss[:, None])[:, 0], weights.total)


def _mean_of_labels(loss: Matrix, found: Counted) -> Matrix:
    """Mean over the labels of each label's mean loss over the images where it is known."""
    known = np.isfinite(found.of.truth)
    sums = found.weights.sums(np.where(known, loss, 0.0))
    return mean_of_defined(ratio(sums, found.weights.sums(known)))


METRICS: dict[str, Metric] = {
    entry.name: entry
    for entry in (
        Metric("auroc", "macro AUROC", _auroc),
        Metric("auprc", "macro AUPRC", _auprc),
        Metric("balanced_accuracy", "balanced accuracy", _balanced_accuracy, decides=True),
        Metric("accuracy", "accuracy", _accuracy, decides=True),
        Metric("f1", "macro F1", _f1, decides=True),
        Metric("mcc", "MCC", _mcc, decides=True),
        Metric("sensitivity", "sensitivity", _sensitivity, decides=True),
        Metric("specificity", "specificity", _specificity, decides=True),
        Metric("ppv", "PPV", _ppv, decides=True),
        Metric("npv", "NPV", _npv, decides=True),
        Metric("log_loss", "log-loss", _log_loss, False, True),
        Metric("brier", "Brier", _brier, False, True),
        Metric("ece", "ECE", _ece, False, True, descriptive=True),
    )
}


def all_scores(
    truth: Matrix, p: Matrix, exclusive: bool, thresholds: Matrix | float = CUT
) -> dict[str, float]:
    """Score one set of predictions by every metric: sorted, decided and counted once for all."""
    found = Predictions(truth, p, exclusive, thresholds).counted(Weights.once(len(p)))
    return {name: float(entry.formula(found)[0]) for name, entry in METRICS.items()}


def metric(name: str) -> Metric:
    """Look a metric up by name."""
    if name not in METRICS:
        raise UnknownNameError("metric", name, METRICS)
    return METRICS[name]


def primary(name: str) -> Metric:
    """Look up a metric that may rank, tune and choose.

    Raises
    ------
    InputError
        One that only describes: guessing has no calibration error, and would come first.
    """
    found = metric(name)
    if found.descriptive:
        raise InputError(
            f"--metric {name}: it cannot rank, because guessing the share of each class comes"
            " first by it; rank probabilities by --metric brier or log_loss, it is shown anyway"
        )
    return found
