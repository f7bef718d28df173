"""95 % intervals of a score, over test patients and training patients together.

What an interval is for: the expected score of this head when it learns from as many patients as
the training part of a fold has, over data sets of this size and their divisions into folds. The
score varies because other patients would be tested, and because others would be learned from: the
models of two folds share patients, and each learns from those that test the other. The first part
is the patients' contributions (`influence`), the second the covariance of the folds' scores,
estimated by learning again without each other fold (`retrained`). With one fold, or two, only the
first part is known: the interval is then one over test patients, with the models as they are.

References
----------
The delete-a-group jackknife for the training part: Efron B, Tibshirani RJ. An introduction to the
bootstrap. 1993, chapter 11. That the folds' covariance is what intervals of cross-validation lack:
Bengio Y, Grandvalet Y. No unbiased estimator of the variance of K-fold cross-validation. JMLR
2004;5:1089-1105; Bates S, Hastie T, Tibshirani R. Cross-validation: what does it estimate and how
well does it do it? J Am Stat Assoc 2024;119:1434-1445. Degrees of freedom: Satterthwaite FE.
Biometrics Bulletin 1946;2:110-114. Of a share: Wilson EB. J Am Stat Assoc 1927;22:209-212, with the
number of cases that a variance stands for, as for surveys: Franco C, Little RJA, Louis TA, Slud EV.
Comparative study of confidence intervals for proportions in complex sample surveys. J Surv Stat
Methodol 2019;7:334-364.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from cxrfeat.arrays import Matrix, Vector

LEVEL = 0.95
FEWEST = 3
"""Folds of a division; with two, leaving one out leaves nothing to learn from."""
BOUNDS = {
    **dict.fromkeys(
        ("auroc", "auprc", "balanced_accuracy", "accuracy", "f1", "sensitivity", "specificity",
         "ppv", "npv"), (0.0, 1.0)
    ),
    "mcc": (-1.0, 1.0),
    "brier": (0.0, np.inf),
    "log_loss": (0.0, np.inf),
}  # fmt: skip
"""Between which values a metric lies; intervals are made on a scale without ends."""


@dataclass(frozen=True)
class Variance:
    """A variance and how well it is known, as degrees of freedom."""

    value: float
    degrees: float

    def __add__(self, other: Variance) -> Variance:
        """Add two independent ones (Satterthwaite)."""
        value = self.value + other.value
        below = self.value**2 / self.degrees + other.value**2 / other.degrees
        return Variance(value, value**2 / below if below > 0 else self.degrees)


def over_patients(contributions: Vector) -> Variance:
    """Variance of a sum of independent contributions; few that dominate give few degrees."""
    squared = contributions**2
    total = float(squared.sum())
    spread = float((squared**2).sum()) - total**2 / len(squared)
    return Variance(total, 2 * total**2 / spread if spread > 0 else float(len(squared)))


def over_training(scores: Vector, without: Matrix, share: Matrix) -> Variance | None:
    """Variance of a mean over folds that comes from what the folds learned from.

    Leaving fold k out of the training rows of fold j moves the score of j: the part that k has in
    it. Parts of (j, k) and (k, j) that go together are the covariance of the two folds' scores
    (each learns from what tests the other); parts of one k that go together over all j are what k
    does to every model. Both are estimated without bias by products of different parts, into
    which the noise of a fold's own test rows does not enter; their sum does not count below 0.

    Parameters
    ----------
    scores : ndarray, shape (F,)
        Of each fold.
    without : ndarray, shape (F, F)
        Of row j, learned without column k; NaN where j is k and where there is none.
    share : ndarray, shape (F, F)
        Of the training images of j, those of k.

    Returns
    -------
    Variance or None
        None where fewer than three folds have one.
    """
    rows = np.isfinite(without).sum(axis=1) > 1
    keep = rows & np.isfinite(scores)
    F = int(keep.sum())
    if F < FEWEST:
        return None
    part = ((1 - share) * (scores[:, None] - without))[np.ix_(keep, keep)] / F
    # More images to learn from are better on average: that is no deviation.
    known = np.isfinite(part)
    mean = np.where(known, part, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    part = np.where(known, part - mean[:, None], 0.0)
    mutual = float(np.sum(part * part.T))
    common = float(np.sum(part.sum(axis=0) ** 2) - np.sum(part**2))
    # What the two sums expect of a covariance g of mutual parts and a variance b of common ones,
    # each part being a deviation from the mean of its row.
    expected = np.array([[(F - 2) ** 2, F - 2], [F - 2, (F - 2) * (F**2 - 3 * F + 1)]])
    g, b = np.linalg.pinv(expected * F / (F - 1)) @ np.array([mutual, common])
    value = max(0.0, F * (F - 1) * float(g) + F * (F - 1) ** 2 * float(b))
    return Variance(value, F * (F - 1) / 2)


def limits(
    value: float, variance: Variance, metric: str, patients: int, level: float = LEVEL
) -> tuple[float, float]:
    """Interval of a score, by Student's t: Wilson's between two ends, on the log scale with one.

    A score between 0 and 1 is taken as a share of as many cases as have its variance. All values
    that such a share could have, at the variance that each would have, are in the interval. Near an
    end, where few patients tell the spread, a logit's interval would reach over half the range.

    Parameters
    ----------
    patients : int
        Tested patients of the rarer class. A score at the end of its range shows no spread: it is
        taken as one of so many cases.
    """
    if not (np.isfinite(value) and np.isfinite(variance.value)):
        return float("nan"), float("nan")
    t = float(stats.t.ppf((1 + level) / 2, max(variance.degrees, 1.0)))
    reach = t * float(np.sqrt(variance.value))
    low, high = BOUNDS.get(metric, (-np.inf, np.inf))
    if np.isinf(low) or not low <= value <= high:
        return value - reach, value + reach
    if np.isinf(high):
        if value <= low:
            return value, value + reach
        factor = float(np.exp(min(reach / (value - low), 700.0)))
        return low + (value - low) / factor, low + (value - low) * factor
    width = high - low
    at = (value - low) / width
    alone = at * (1 - at)  # the variance of one case
    open_ = t**2 / max(patients, 1e-9) if at in (0.0, 1.0) else (reach / width) ** 2 / alone
    open_ = min(open_, 1e12)  # all of the range
    middle = (at + open_ / 2) / (1 + open_)
    half = float(np.sqrt(open_ * alone + open_**2 / 4)) / (1 + open_)
    return low + width * max(0.0, middle - half), low + width * min(1.0, middle + half)
