"""When a label holds: the rule that sets each label's threshold on held-out training images.

Among classes that exclude each other, two included, the most probable one is called. Where any
number of labels may hold, a probability of one half is no natural limit: a finding of one image in
fifty hardly ever reaches it, however well it is ranked.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cxrfeat.arrays import Matrix
from cxrfeat.errors import InputError, UnknownNameError
from cxrfeat.evaluation.statistics.metrics.decisions import CUT, threshold_at_specificity

Rule = str | float
"""A name of `RULES`, or one probability for every label."""

NEAR = 0.95
"""Thresholds this near to the best are equal; the middle one of them is taken."""
DIGITS = 1e-5
"""Relative; what probabilities in ``predictions.csv`` are rounded by is less."""


def _f1(tp: Matrix, fp: Matrix, positives: float, negatives: float) -> Matrix:
    return 2 * tp / (tp + fp + positives)


def _youden(tp: Matrix, fp: Matrix, positives: float, negatives: float) -> Matrix:
    """Sensitivity and specificity, less one (Youden WJ. Cancer 1950)."""
    return tp / positives - fp / negatives


SPECIFICITY = "specificity"
RULES: dict[str, Callable[[Matrix, Matrix, float, float], Matrix] | None] = {
    "f1": _f1,
    "youden": _youden,
    SPECIFICITY: None,
}
"""What a threshold is best for; None for the one that keeps the wanted specificity."""


def rule(text: str | float) -> Rule:
    """Understand the name of a rule, or a probability.

    Raises
    ------
    UnknownNameError
        Neither.
    InputError
        A number that is not between 0 and 1.
    """
    if text in RULES:
        return str(text)
    try:
        number = float(text)
    except ValueError:
        raise UnknownNameError(
            "threshold rule", str(text), RULES, "(--threshold), or a probability such as 0.5"
        ) from None
    if not 0 < number < 1:
        raise InputError(f"--threshold {text}: {', '.join(RULES)}, or a number between 0 and 1")
    return number


def fallback(of: Rule) -> float:
    """Give the threshold of a label of which no images could be held out."""
    return CUT if isinstance(of, str) else of


def threshold(of: Rule, truth: Matrix, score: Matrix, specificity: float) -> float:
    """Set the threshold of one label: it is called where its score is above.

    For ``"f1"`` and ``"youden"`` it is the middle one of all that come within 5 % of the best,
    which is steadier than the best one where positives are few, and assumes nothing about the
    scores; ``docs/decisions/thresholds.md`` has the figures.

    Parameters
    ----------
    truth, score : ndarray, shape (n,)
        Of held-out training images; scores of any monotone scale.
    specificity : float
        That ``"specificity"`` keeps.

    Returns
    -------
    float
        Between two of the scores; NaN for a rule by name without positives or negatives.

    References
    ----------
    Lipton ZC, Elkan C, Narayanaswamy B. Optimal thresholding of classifiers to maximize F1
    measure. ECML PKDD 2014.
    """
    if not isinstance(of, str):
        return of
    positives, negatives = float(np.sum(truth == 1)), float(np.sum(truth == 0))
    if not positives or not negatives:
        return float("nan")
    distinct, which = np.unique(score, return_inverse=True)
    measure = RULES[of]
    if measure is None:
        least = threshold_at_specificity(truth, score, specificity)
        place = int(np.searchsorted(distinct, least)) + 1
    else:
        # Called is what has at least this score; the highest first, since few are called.
        tp = np.bincount(which, truth == 1)[::-1].cumsum()
        fp = np.bincount(which, truth == 0)[::-1].cumsum()
        value = measure(tp, fp, positives, negatives)
        near = np.flatnonzero(value >= NEAR * value.max())
        place = len(distinct) - 1 - int(near[len(near) // 2])
    return _below(distinct, place)


def _below(distinct: Matrix, place: int) -> float:
    """Put a threshold halfway below the score at `place`, so that digits do not decide."""
    if place == 0:
        return float(distinct[0] - abs(distinct[0]) / 2)
    if place == len(distinct):
        return float(distinct[-1] + DIGITS * abs(distinct[-1]))
    return float((distinct[place - 1] + distinct[place]) / 2)


def thresholds(of: Rule, truth: Matrix, score: Matrix, specificity: float) -> Matrix:
    """Set the thresholds of several labels from shapes (n, K), shape (K,); see `threshold`."""
    found = [
        threshold(of, truth_k, score_k, specificity)
        for truth_k, score_k in zip(truth.T, score.T, strict=True)
    ]
    return np.array([value if np.isfinite(value) else fallback(of) for value in found])


def in_words(of: Rule, exclusive: bool, specificity: float) -> str:
    """Say what is called."""
    if exclusive:
        return "the most probable class"
    if not isinstance(of, str):
        return f"every label with a probability above {of:g}"
    best = {
        "f1": "is near the best for F1",
        "youden": "is near the best for sensitivity + specificity",
        SPECIFICITY: f"keeps a specificity of {specificity:g}",
    }[of]
    return f"every label above its threshold, which {best} on held-out training images"
