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
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from cxrfeat.arrays import Matrix
from cxrfeat.errors import InputError, UnknownNameError

Decisions = npt.NDArray[np.bool_]
Function = Callable[..., Matrix]

ECE_BINS = 10
CUT = 0.5
"""The probability above which a label is called where nothing sets another threshold."""
SMALLEST = 1e-15
"""Probabilities are kept this far from 0 and 1 in the log-loss, as scikit-learn does in float64."""


@dataclass(frozen=True)
class Metric:
    """A metric of the registry.

    Attributes
    ----------
    name, title : str
        In files, and for people.
    function : callable
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
    function: Function
    larger_is_better: bool = True
    needs_probabilities: bool = False
    descriptive: bool = False
    decides: bool = False

    def __call__(
        self, truth: Matrix, p: Matrix, exclusive: bool, thresholds: Matrix | float = CUT
    ) -> float:
        """Score one set of predictions, every image once."""
        return float(self.function(truth, p, np.ones((1, len(p))), exclusive, thresholds)[0])


def per_class_auroc(truth: Matrix, p: Matrix, weights: Matrix) -> Matrix:
    """One-vs-rest area under the ROC curve of each class, shape (B, K).

    It is the probability that a positive image scores above a negative one, ties counted half.

    References
    ----------
    Hanley JA, McNeil BJ. The meaning and use of the area under a ROC curve. Radiology 1982.
    """
    columns = []
    for truth_k, score in zip(truth.T, p.T, strict=True):
        positive, negative, starts = _by_score(truth_k, score, weights)
        # Per distinct score: what is there, and the negatives below.
        here_positive = np.add.reduceat(positive, starts, axis=1)
        here_negative = np.add.reduceat(negative, starts, axis=1)
        below = np.cumsum(here_negative, axis=1) - here_negative
        won = np.sum(here_positive * (below + 0.5 * here_negative), axis=1)
        columns.append(_ratio(won, positive.sum(axis=1) * negative.sum(axis=1)))
    return np.stack(columns, axis=1)


def per_class_auprc(truth: Matrix, p: Matrix, weights: Matrix) -> Matrix:
    """Average precision of each class, shape (B, K); its floor is the prevalence.

    The mean of the precision over the positives, each at its own score as threshold, without
    interpolation.

    References
    ----------
    Davis J, Goadrich M. The relationship between precision-recall and ROC curves. ICML 2006.
    """
    columns = []
    for truth_k, score in zip(truth.T, p.T, strict=True):
        positive, negative, starts = _by_score(truth_k, -score, weights)
        hits = np.add.reduceat(positive, starts, axis=1)
        called = np.cumsum(np.add.reduceat(positive + negative, starts, axis=1), axis=1)
        precision = np.cumsum(hits, axis=1) / np.maximum(called, 1e-300)
        total = positive.sum(axis=1)
        columns.append(
            np.where(
                negative.sum(axis=1) > 0, _ratio(np.sum(hits * precision, axis=1), total), np.nan
            )
        )
    return np.stack(columns, axis=1)


def _by_score(
    truth: Matrix, score: Matrix, weights: Matrix
) -> tuple[Matrix, Matrix, npt.NDArray[np.intp]]:
    """Weights of positives and negatives in order of score, and where each score starts."""
    known = np.flatnonzero(np.isfinite(truth) & np.isfinite(score))
    if not len(known):
        nothing = np.zeros((len(weights), 1))
        return nothing, nothing, np.zeros(1, dtype=np.intp)
    order = known[np.argsort(score[known], kind="stable")]
    ordered = score[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    counted = weights[:, order]
    positive = counted * (truth[order] == 1)
    return positive, counted - positive, starts


def _ratio(above: Matrix, below: Matrix) -> Matrix:
    """Divide; NaN where there is nothing to divide by."""
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)


def _mean(values: Matrix) -> Matrix:
    """Mean over the classes that are defined, shape (B,)."""
    defined = np.isfinite(values)
    return _ratio(np.where(defined, values, 0.0).sum(axis=1), defined.sum(axis=1).astype(float))


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
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def specificity(self) -> Matrix:
        """Share of the negatives that are not called."""
        return _ratio(self.tn, self.tn + self.fp)

    @property
    def ppv(self) -> Matrix:
        """Share of the called that are positive (precision); 0 where none is called."""
        value = _ratio(self.tp, self.tp + self.fp)
        return np.where((self.tp + self.fp == 0) & (self.fn > 0), 0.0, value)

    @property
    def npv(self) -> Matrix:
        """Share of the not called that are negative; 0 where all are called."""
        value = _ratio(self.tn, self.tn + self.fn)
        return np.where((self.tn + self.fn == 0) & (self.fp > 0), 0.0, value)

    @property
    def f1(self) -> Matrix:
        """Harmonic mean of sensitivity and PPV; undefined for a class that is absent."""
        value = _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)
        return np.where(self.tp + self.fn > 0, value, np.nan)


def at_prevalence(sensitivity: float, specificity: float, prevalence: float) -> tuple[float, float]:
    """PPV and NPV where the share of positives is another than in the data (Bayes' rule)."""
    called = sensitivity * prevalence + (1 - specificity) * (1 - prevalence)
    spared = specificity * (1 - prevalence) + (1 - sensitivity) * prevalence
    ppv = sensitivity * prevalence / called if called > 0 else float("nan")
    npv = specificity * (1 - prevalence) / spared if spared > 0 else float("nan")
    return ppv, npv


def decide(p: Matrix, exclusive: bool, thresholds: Matrix | float = CUT) -> npt.NDArray[np.bool_]:
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


def counts(truth: Matrix, called: npt.NDArray[np.bool_], weights: Matrix) -> Counts:
    """Count decisions of shape (n, K) against the truth."""
    positive, negative = truth == 1, truth == 0
    return Counts(
        *(
            weights @ (of & decision).astype(float)
            for of, decision in (
                (positive, called),
                (negative, called),
                (positive, ~called),
                (negative, ~called),
            )
        )
    )


def confusion(truth: Matrix, p: Matrix) -> npt.NDArray[np.intp]:
    """Count images in shape (K, K): a row per true class, a column per predicted class."""
    n_classes = p.shape[1]
    flat = np.bincount(truth.argmax(axis=1) * n_classes + p.argmax(axis=1), minlength=n_classes**2)
    return np.asarray(flat.reshape(n_classes, n_classes))


def reliability(truth: Matrix, p: Matrix) -> list[dict[str, float]]:
    """Observed against predicted share of one class in bins of equal width, for drawing.

    Parameters
    ----------
    truth, p : ndarray, shape (n,)

    Returns
    -------
    list of dict
        Per bin that is not empty: ``low``, ``high``, ``predicted``, ``observed``, ``images``.
    """
    known = np.isfinite(truth) & np.isfinite(p)
    truth, p = truth[known], p[known]
    which = _bin(p)
    return [
        {
            "low": b / ECE_BINS,
            "high": (b + 1) / ECE_BINS,
            "predicted": float(p[which == b].mean()),
            "observed": float(truth[which == b].mean()),
            "images": int((which == b).sum()),
        }
        for b in np.unique(which)
    ]


def _bin(p: Matrix) -> npt.NDArray[np.intp]:
    return np.asarray(np.minimum((p * ECE_BINS).astype(np.intp), ECE_BINS - 1))


def per_class_ece(truth: Matrix, p: Matrix, weights: Matrix) -> Matrix:
    """Compute each class's expected calibration error over ten equal bins, shape (B, K).

    The root of the mean squared gap between observed and predicted share. The plain gap is never
    0: chance alone opens one in every bin, and the more bins, the wider. So each squared gap gives
    back its own variance, and what is left below 0 counts as 0. Bins of one image, whose variance
    is not known, are left out.

    References
    ----------
    Kumar A, Liang P, Ma T. Verified uncertainty calibration. NeurIPS 2019 (the debiased
    estimator); class by class as in Kull M et al. Beyond temperature scaling. NeurIPS 2019.
    """
    columns = []
    for truth_k, p_k in zip(truth.T, p.T, strict=True):
        known = np.isfinite(truth_k) & np.isfinite(p_k)
        counted, in_bin = weights[:, known], np.eye(ECE_BINS)[_bin(p_k[known])]
        images = counted @ in_bin
        observed = _ratio(counted @ (in_bin * truth_k[known][:, None]), images)
        gap = observed - _ratio(counted @ (in_bin * p_k[known][:, None]), images)
        squared = gap**2 - _ratio(observed * (1 - observed), images - 1)
        usable = images > 1
        squared = np.where(usable, images * squared, 0.0).sum(axis=1)
        mean = _ratio(squared, np.where(usable, images, 0.0).sum(axis=1))
        columns.append(np.sqrt(np.maximum(mean, 0.0)))
    return np.stack(columns, axis=1)


def _auroc(truth: Matrix, p: Matrix, weights: Matrix, exclusive: bool) -> Matrix:
    return _mean(per_class_auroc(truth, p, weights))


def _auprc(truth: Matrix, p: Matrix, weights: Matrix, exclusive: bool) -> Matrix:
    return _mean(per_class_auprc(truth, p, weights))


def _balanced_accuracy(
    truth: Matrix, called: Decisions, weights: Matrix, exclusive: bool
) -> Matrix:
    found = counts(truth, called, weights)
    if exclusive:
        return _mean(found.sensitivity)
    return _mean((found.sensitivity + found.specificity) / 2)


def _accuracy(truth: Matrix, called: Decisions, weights: Matrix, exclusive: bool) -> Matrix:
    found = counts(truth, called, weights)
    if exclusive:
        return _ratio(found.tp.sum(axis=1), weights.sum(axis=1))
    return _mean(_ratio(found.tp + found.tn, found.tp + found.tn + found.fp + found.fn))


def _f1(truth: Matrix, called: Decisions, weights: Matrix, exclusive: bool) -> Matrix:
    return _mean(counts(truth, called, weights).f1)


def _sensitivity(truth: Matrix, called: Decisions, weights: Matrix, exclusive: bool) -> Matrix:
    return _mean(counts(truth, called, weights).sensitivity)


def _specificity(truth: Matrix, called: Decisions, weights: Matrix, exclusive: bool) -> Matrix:
    return _mean(counts(truth, called, weights).specificity)


def _ppv(truth: Matrix, called: Decisions, weights: Matrix, exclusive: bool) -> Matrix:
    return _mean(counts(truth, called, weights).ppv)


def _npv(truth: Matrix, called: Decisions, weights: Matrix, exclusive: bool) -> Matrix:
    return _mean(counts(truth, called, weights).npv)


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
    return _mean(np.where(present, each, np.nan))


def _log_loss(truth: Matrix, p: Matrix, weights: Matrix, exclusive: bool) -> Matrix:
    if exclusive:
        of_truth = np.clip(np.sum(truth * p, axis=1), SMALLEST, 1.0)
        return _ratio(weights @ -np.log(of_truth), weights.sum(axis=1))
    q = np.clip(p, SMALLEST, 1 - SMALLEST)
    return _mean(_weighted(truth, -(truth * np.log(q) + (1 - truth) * np.log(1 - q)), weights))


def _brier(truth: Matrix, p: Matrix, weights: Matrix, exclusive: bool) -> Matrix:
    """Brier's score: squared error summed over the classes, or per label (Mon Weather Rev 1950)."""
    if exclusive:
        return _ratio(weights @ np.sum((truth - p) ** 2, axis=1), weights.sum(axis=1))
    return _mean(_weighted(truth, (truth - p) ** 2, weights))


def _ece(truth: Matrix, p: Matrix, weights: Matrix, exclusive: bool) -> Matrix:
    return _mean(per_class_ece(truth, p, weights))


def _weighted(truth: Matrix, loss: Matrix, weights: Matrix) -> Matrix:
    """Mean loss of each label over the images where it is known, shape (B, K)."""
    known = np.isfinite(truth)
    return _ratio(weights @ np.where(known, loss, 0.0), weights @ known.astype(float))


def known_truth(truth: Matrix, p: Matrix) -> Matrix:
    """Truth of shape (n, K), NaN also where `p`, of shape (n, K) or (K,), says nothing."""
    return np.where(np.isfinite(p), truth, np.nan)


def _of_predictions(entry: Metric) -> Function:
    """Hand decisions to the metrics that score them, and leave out what was not predicted.

    Left out are rows of multi-class, single labels of multi-label.
    """

    def of_predictions(
        truth: Matrix,
        p: Matrix,
        weights: Matrix,
        exclusive: bool,
        thresholds: Matrix | float = CUT,
    ) -> Matrix:
        known = np.isfinite(p)
        if exclusive and not known.all():
            rows = known.all(axis=1)
            truth, p, weights = truth[rows], p[rows], weights[:, rows]
        elif not known.all():
            truth, p = known_truth(truth, p), np.nan_to_num(p)
        seen = decide(p, exclusive, thresholds) if entry.decides else p
        return entry.function(truth, seen, weights, exclusive)

    return of_predictions


METRICS: dict[str, Metric] = {
    entry.name: replace(entry, function=_of_predictions(entry))
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
