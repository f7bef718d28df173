"""Paired tests between two classifiers, each as its paper gives it.

Over folds: the corrected resampled t-test and its Bayesian form, with the folds' real sizes. On a
fixed test set of independent images: DeLong's test and McNemar's. Over many pairs: Holm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from cxrfeat.arrays import Vector
from cxrfeat.evaluation.statistics.patient_influence import placements


@dataclass(frozen=True)
class CorrectedT:
    """Result of `corrected_t`.

    Attributes
    ----------
    difference : float
        Mean over the folds.
    standard_error, degrees : float
    t, p : float
        Two-sided.
    low, high : float
        95 % interval of the difference.
    detectable : float
        The difference that the test would have found with 80 % probability.
    """

    difference: float
    standard_error: float
    degrees: int
    t: float
    p: float
    low: float
    high: float
    detectable: float


def size_ratio(n_train: Sequence[int], n_test: Sequence[int]) -> float:
    """Mean over the folds of test size by training size, the correction's only number."""
    return float(np.mean(np.asarray(n_test) / np.asarray(n_train)))


def corrected_t(differences: Vector, ratio: float, level: float = 0.95) -> CorrectedT:
    """Nadeau and Bengio's corrected resampled t-test.

    Training sets of different folds overlap, so that the plain paired t-test takes the folds for
    more evidence than they are. The variance of the mean is multiplied by 1/J + ratio in place
    of 1/J.

    Parameters
    ----------
    differences : ndarray, shape (J,)
        Score of one minus score of the other, per fold; J at least 2.
    ratio : float
        From `size_ratio`; 0 gives the plain paired t-test.

    References
    ----------
    Nadeau C, Bengio Y. Inference for the generalization error. Machine Learning 2003;52:239-281.
    """
    J = len(differences)
    mean = float(np.mean(differences))
    error = float(np.sqrt((1 / J + ratio) * np.var(differences, ddof=1)))
    degrees = J - 1
    if error > 0:
        t = mean / error
        p = float(2 * stats.t.sf(abs(t), degrees))
    else:  # every fold the same: no spread to judge a difference by
        t, p = (0.0, 1.0) if mean == 0 else (float(np.copysign(np.inf, mean)), 0.0)
    reach = float(stats.t.ppf((1 + level) / 2, degrees))
    power = float(stats.t.ppf(0.8, degrees))
    return CorrectedT(
        mean, error, degrees, float(t), p,
        mean - reach * error, mean + reach * error, (reach + power) * error,
    )  # fmt: skip


def bayesian_correlated_t(
    differences: Vector, ratio: float, rope: float
) -> tuple[float, float, float]:
    """Probabilities that the first is worse, practically the same, and better.

    The posterior of the mean difference is a Student t with the corrected variance; correlation
    rho between folds enters as rho / (1 - rho), which is the ratio of the sizes.

    Parameters
    ----------
    rope : float
        Half-width of the region of practical equivalence.

    References
    ----------
    Corani G, Benavoli A. A Bayesian approach for comparing cross-validated algorithms on multiple
    data sets. Machine Learning 2015;100:285-304. Benavoli A et al. Time for a change. JMLR
    2017;18:1-36.
    """
    J = len(differences)
    mean = float(np.mean(differences))
    scale = float(np.sqrt((1 / J + ratio) * np.var(differences, ddof=1)))
    if scale == 0:
        worse, better = float(mean < -rope), float(mean > rope)
    else:
        worse = float(stats.t.cdf((-rope - mean) / scale, J - 1))
        better = float(stats.t.sf((rope - mean) / scale, J - 1))
    return worse, max(0.0, 1.0 - worse - better), better


def holm(p: Sequence[float]) -> list[float]:
    """Adjust p-values of several tests so that any false alarm keeps the level; NaN stays NaN.

    References
    ----------
    Holm S. A simple sequentially rejective multiple test procedure. Scand J Stat 1979;6:65-70.
    """
    values = np.asarray(p, dtype=np.float64)
    adjusted = np.full(len(values), np.nan)
    known = np.flatnonzero(np.isfinite(values))
    order = known[np.argsort(values[known], kind="stable")]
    factor = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(values[order] * factor))
    return [float(value) for value in adjusted]


@dataclass(frozen=True)
class DeLong:
    """Two AUROCs on the same images: difference, standard error, z and two-sided p."""

    first: float
    second: float
    difference: float
    standard_error: float
    z: float
    p: float


def delong(positive: npt.NDArray[np.bool_], first: Vector, second: Vector) -> DeLong:
    """DeLong's test for two correlated AUROCs on independent images.

    Parameters
    ----------
    positive : ndarray of bool, shape (n,)
        At least two of each kind.
    first, second : ndarray, shape (n,)
        Scores of the two classifiers.

    References
    ----------
    DeLong ER et al. Comparing the areas under two or more correlated ROC curves. Biometrics
    1988;44:837-845.
    """
    m, n = int(positive.sum()), int((~positive).sum())
    shares = np.stack([placements(positive, score) for score in (first, second)])
    areas = shares[:, positive].mean(axis=1).tolist()
    covariance = np.cov(shares[:, positive]) / m + np.cov(shares[:, ~positive]) / n
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    error = float(np.sqrt(max(variance, 0.0)))
    difference = areas[0] - areas[1]
    z = difference / error if error > 1e-12 else 0.0
    return DeLong(areas[0], areas[1], difference, error, float(z), float(2 * stats.norm.sf(abs(z))))


def mcnemar(first_right: npt.NDArray[np.bool_], second_right: npt.NDArray[np.bool_]) -> float:
    """Exact two-sided p-value that two classifiers are right equally often.

    References
    ----------
    McNemar Q. Note on the sampling error of the difference between correlated proportions.
    Psychometrika 1947;12:153-157; exact, by the binomial distribution of the discordant images.
    """
    only_first = int(np.sum(first_right & ~second_right))
    only_second = int(np.sum(second_right & ~first_right))
    discordant = only_first + only_second
    if discordant == 0:
        return 1.0
    return min(1.0, float(2 * stats.binom.cdf(min(only_first, only_second), discordant, 0.5)))
