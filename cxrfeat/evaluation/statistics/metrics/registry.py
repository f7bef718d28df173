"""Scores of predicted probabilities against the truth, for many resamples at once.

Every metric takes

- ``truth``, shape (n, K): 1 or 0 per class or label, NaN where unknown;
- ``p``, shape (n, K): probabilities (for some, decision scores will do), NaN where there is none,
  e.g. of a label that a fold could not learn: such an image counts as one of unknown truth;
- ``weights``, shape (B, n): how often each image counts in each of B resamples;
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
from typing import Any

import numpy as np

from cxrfeat.arrays import Matrix
from cxrfeat.errors import InputError, UnknownNameError
from cxrfeat.evaluation.statistics.metrics.calibration_error import per_class_ece
from cxrfeat.evaluation.statistics.metrics.curve_areas import per_class_auprc, per_class_auroc
from cxrfeat.evaluation.statistics.metrics.decisions import CUT, Decisions, counts, decide
from cxrfeat.evaluation.statistics.metrics.undefined import known_truth, mean_of_defined, ratio

Formula = Callable[[Matrix, Any, Matrix, bool], Matrix]
"""Of truth, probabilities or decisions, weights and whether classes exclude each other."""

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
        Of decisions for a metric that decides, else of probabilities.
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
        weights: Matrix,
        exclusive: bool,
        thresholds: Matrix | float = CUT,
    ) -> Matrix:
        """Score many resamples at once, shape (B,); see above.

        What was not predicted is left out: rows of multi-class, single labels of multi-label.
        """
        known = np.isfinite(p)
        if exclusive and not known.all():
            rows = known.all(axis=1)
            truth, p, weights = truth[rows], p[rows], weights[:, rows]
        elif not known.all():
            truth, p = known_truth(truth, p), np.nan_to_num(p)
        seen = decide(p, exclusive, thresholds) if self.decides else p
        return self.formula(truth, seen, weights, exclusive)

    def __call__(
        self, truth: Matrix, p: Matrix, exclusive: bool, thresholds: Matrix | float = CUT
    ) -> float:
        """Score one set of predictions, every image once."""
        return float(self.function(truth, p, np.ones((1, len(p))), exclusive, thresholds)[0])


def _auroc(truth: Matrix, p: Matrix, weights: Matrix, exclusive: bool) -> Matrix:
    return mean_of_defined(per_class_auroc(truth, p, weights))


def _auprc(truth: Matrix, p: Matrix, weights: Matrix, exclusive: bool) -> Matrix:
    return mean_of_defined(per_class_auprc(truth, p, weights))


def _balanced_accuracy(
    truth: Matrix, called: Decisions, weights: Matrix, exclusive: bool
) -> Matrix:
    found = counts(truth, called, weights)
    if exclusive:
        return mean_of_defined(found.sensitivity)
    return mean_of_defined((found.sensitivity + found.specificity) / 2)


def _accuracy(truth: Matrix, called: Decisions, weights: Matrix, exclusive: bool) -> Matrix:
    found = counts(truth, called, weights)
    if exclusive:
        return ratio(found.tp.sum(axis=1), weights.sum(axis=1))
    return mean_of_defined(ratio(found.tp + found.tn, found.tp + found.tn + found.fp + found.fn))


def _f1(truth: Matrix, called: Decisions, weights: Matrix, exclusive: bool) -> Matrix:
    return mean_of_defined(counts(truth, called, weights).f1)


def _sensitivity(truth: Matrix, called: Decisions, weights: Matrix, exclusive: bool) -> Matrix:
    return mean_of_defined(counts(truth, called, weights).sensitivity)


def _specificity(truth: Matrix, called: Decisions, weights: Matrix, exclusive: bool) -> Matrix:
    return mean_of_defined(counts(truth, called, weights).specificity)


def _ppv(truth: Matrix, called: Decisions, weights: Matrix, exclusive: bool) -> Matrix:
    return mean_of_defined(counts(truth, called, weights).ppv)


def _npv(truth: Matrix, called: Decisions, weights: Matrix, exclusive: bool) -> Matrix:
    return mean_of_defined(counts(truth, called, weights).npv)


def _mcc(truth: Matrix, called: Decisions, weights: Matrix, exclusive: bool) -> Matrix:
    """Matthews' correlation; for several classes Gorodkin's R_K (Comput Biol Chem 2004)."""
    found = counts(truth, called, weights)
    if exclusive:
        total = weights.sum(axis=1)
        right = found.tp.sum(axis=1)
        true, said = found.tp + found.fn, found.tp + found.fp
        above = right * total - np.sum(true * said, axis=1)
        below = (total**2 - np.sum(true**2, axis=1)) * (total**2 - np.sum(said**2, axis=1))
        value = np.where(below > 0, above / np.sqrt(np.maximum(below, 1e-300)), 0.0)
        return np.where(total > 0, value, np.nan)
    above = found.tp * found.tn - found.fp * found.fn
    below = (
        (found.tp + found.fp)
        * (found.tp + found.fn)
        * (found.tn + found.fp)
        * (found.tn + found.fn)
    )
    each = np.where(below > 0, above / np.sqrt(np.maximum(below, 1e-300)), 0.0)
    present = (found.tp + found.fn > 0) & (found.tn + found.fp > 0)
    return mean_of_defined(np.where(present, each, np.nan))


def _log_loss(truth: Matrix, p: Matrix, weights: Matrix, exclusive: bool) -> Matrix:
    if exclusive:
        of_truth = np.clip(np.sum(truth * p, axis=1), SMALLEST, 1.0)
        return ratio(weights @ -np.log(of_truth), weights.sum(axis=1))
    q = np.clip(p, SMALLEST, 1 - SMALLEST)
    return mean_of_defined(
        _weighted(truth, -(truth * np.log(q) + (1 - truth) * np.log(1 - q)), weights)
    )


def _brier(truth: Matrix, p: Matrix, weights: Matrix, exclusive: bool) -> Matrix:
    """Brier's score: squared error summed over the classes, or per label (Mon Weather Rev 1950)."""
    if exclusive:
        return ratio(weights @ np.sum((truth - p) ** 2, axis=1), weights.sum(axis=1))
    return mean_of_defined(_weighted(truth, (truth - p) ** 2, weights))


def _ece(truth: Matrix, p: Matrix, weights: Matrix, exclusive: bool) -> Matrix:
    return mean_of_defined(per_class_ece(truth, p, weights))


def _weighted(truth: Matrix, loss: Matrix, weights: Matrix) -> Matrix:
    """Mean loss of each label over the images where it is known, shape (B, K)."""
    known = np.isfinite(truth)
    return ratio(weights @ np.where(known, loss, 0.0), weights @ known.astype(float))


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
