"""Whether predictions go with an attribute beyond what the class explains.

The partial confounder test (Spisak 2022): given the true class, predictions must be independent of
the attribute. Two hypotheses are tested, each by dealing the attribute out anew among patients
(`cxrfeat.evaluation.audit.dealing`), which is the conditional permutation of Berrett and others
where the classes are discrete:

- *given the class*: predictions are independent of the attribute. The predicted probability of each
  class, as a normal score within its fold, less the mean of its fold and true class (of labels that
  do not exclude each other also less what the other labels explain, linearly), is compared between
  the levels. Patients change places with patients of the same classes.
- *of the class*: the labels are independent of the attribute. Patients change places with any.

An attribute is found where both are rejected, that is by the larger of the two p-values. Neither
would do alone. What the labels have nothing to do with cannot lift a score, but a head leans a
little on whatever an embedding shows clearly, by the chance of its training images; and an
attribute that goes with the labels may be ignored.

Statistic: the share of the spread of the predictions within classes that lies between the levels
(eta squared), mean over the classes. Its mean under the permutations is taken off, and chance there
is described by a scaled chi-squared distribution with the mean and the variance of the permutations
(Satterthwaite): an interval of the share, and the smallest share that would be found, follow from
its noncentral form. The p-values are those of the permutations.

References
----------
Spisak T. Statistical quantification of confounding bias in machine learning models. GigaScience
2022;11:giac082.
Berrett TB, Wang Y, Barber RF, Samworth RJ. The conditional permutation test for independence while
controlling for confounders. J R Stat Soc B 2020;82:175-197.
Berger RL. Multiparameter hypothesis testing and acceptance sampling. Technometrics 1982;24:295-300
(both hypotheses must be rejected: the larger p-value).
Satterthwaite FE. Biometrics Bulletin 1946;2:110-114.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.optimize import brentq

from cxrfeat.arrays import Groups, Matrix, RowNumbers
from cxrfeat.evaluation.audit.dealing import Dealing, numbered
from cxrfeat.evaluation.audit.predictions import Predicted
from cxrfeat.evaluation.audit.subject import Subject
from cxrfeat.results.data import Interval

LEVEL = 0.01
"""Chance that an audit finds any attribute where there is none: it asks many questions."""
POWER = 0.8
PERMUTATIONS = 1999
STREAM = 18
"""Keeps the permutations apart from whatever else is drawn with the same seed."""
PROFILE = 10
"""Patients that have the same classes, and of them equally many images, from which on they change
places among themselves only."""
MOST_SPREAD = 1e-9


@dataclass(frozen=True)
class Residuals:
    """What is compared between levels.

    Attributes
    ----------
    values : ndarray, shape (n, K)
        Of some images; 0 where it is not known.
    known : ndarray, shape (n, K)
        1 where it is, else 0.
    """

    values: Matrix
    known: Matrix

    def of(self, rows: RowNumbers) -> Residuals:
        """Take some of the images."""
        return Residuals(self.values[rows], self.known[rows])


@dataclass(frozen=True)
class Spread:
    """How much of a spread lies between levels.

    Attributes
    ----------
    share : float
        Less what chance makes; not below 0. NaN where there is no spread.
    p : float
        That there is none; NaN where it could not be tested.
    scale, degrees : float
        Of the chi-squared distribution of chance, on the scale of `share`.
    statistic : float
        What was found, as a value of that distribution.
    """

    share: float
    p: float
    scale: float
    degrees: float
    statistic: float

    @property
    def interval(self) -> Interval:
        """95 % interval of the share."""
        if not np.isfinite(self.scale):
            return float("nan"), float("nan")
        low, high = (
            min(1.0, self.scale * _noncentrality(self.statistic, self.degrees, at))
            for at in (0.025, 0.975)
        )
        return low, high

    def detectable(self, level: float, power: float = POWER) -> float:
        """Smallest share that would be found at a level with some probability."""
        if not np.isfinite(self.scale):
            return float("nan")
        at = float(stats.chi2.isf(level, self.degrees))
        return min(1.0, self.scale * _noncentrality(at, self.degrees, power))


NO_SPREAD = Spread(*[float("nan")] * 5)


@dataclass(frozen=True)
class ConfounderTests:
    """The two hypotheses about an attribute, and the rule by which it is found."""

    given: Spread
    of_class: Spread

    @property
    def p(self) -> float:
        """The larger p-value: both must be rejected; NaN where one could not be tested."""
        return float(np.maximum(self.given.p, self.of_class.p))


def confounder_tests(
    subject: Subject,
    residuals: Residuals,
    code: RowNumbers,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> ConfounderTests:
    """Test an attribute against predictions and labels.

    Parameters
    ----------
    residuals : Residuals
        From `within_class`, of all N images.
    code : ndarray of int, shape (N,)
        Levels, from 0; -1 where unknown.
    """
    labels, patients = subject.study.labels.astype(np.float64), subject.design.patients
    rows = np.flatnonzero(code >= 0)
    tested = np.flatnonzero((code >= 0) & residuals.known.any(axis=1))
    if not len(tested):
        return ConfounderTests(NO_SPREAD, NO_SPREAD)

    def among(some: RowNumbers) -> Groups:
        return None if patients is None else patients[some]

    given = between_levels(
        residuals.of(tested), code[tested], given_classes(labels[tested], among(tested), seed),
        seed, permutations,
    )  # fmt: skip
    of_class = between_levels(
        of_labels(labels[rows], subject.exclusive), code[rows],
        anyhow(labels[rows], among(rows), seed), seed, permutations,
    )  # fmt: skip
    return ConfounderTests(given, of_class)


def within_class(predicted: Predicted, labels: Matrix, exclusive: bool) -> Residuals:
    """Take out of predictions what fold and true class explain.

    Parameters
    ----------
    labels : ndarray, shape (N, K)

    Returns
    -------
    Residuals
        Of all N images; of two classes that exclude each other only one column.
    """
    n, K = labels.shape
    columns = [1] if exclusive and K == 2 else list(range(K))
    total, times = np.zeros((n, len(columns))), np.zeros((n, len(columns)))
    y = labels.argmax(axis=1)
    for fold, p in zip(predicted.folds, predicted.probability, strict=True):
        for place, k in enumerate(columns):
            of_class = y[fold.test] if exclusive else labels[fold.test, k]
            known = np.flatnonzero(np.isfinite(p[:, k]) & np.isfinite(of_class))
            if not len(known):
                continue
            score = _normal_scores(p[known, k])
            cell = np.unique(of_class[known], return_inverse=True)[1]
            score -= (np.bincount(cell, score) / np.bincount(cell))[cell]
            total[fold.test[known], place] += score
            times[fold.test[known], place] += 1
    seen = times > 0
    values = np.divide(total, times, out=np.zeros_like(total), where=seen)
    if not exclusive:
        values = np.stack(
            [_without_others(values[:, k], seen[:, k], labels, k) for k in range(K)], axis=1
        )
    return Residuals(values, seen.astype(np.float64))


def of_labels(labels: Matrix, exclusive: bool) -> Residuals:
    """Take labels less their means, for the second hypothesis; of two classes one column."""
    wanted = labels[:, 1:] if exclusive and labels.shape[1] == 2 else labels
    known = np.isfinite(wanted)
    mean = np.where(known, wanted, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return Residuals(np.where(known, wanted - mean, 0.0), known.astype(np.float64))


def _normal_scores(values: Matrix) -> Matrix:
    rank = stats.rankdata(values)
    return np.asarray(stats.norm.ppf((rank - 0.5) / len(values)))


def _without_others(values: Matrix, known: npt.NDArray[np.bool_], labels: Matrix, k: int) -> Matrix:
    """Take out what the other labels explain; where one is unknown it stands at its mean."""
    rows = np.flatnonzero(known)
    others = np.delete(labels[rows], k, axis=1)
    if not others.size:
        return values
    there = np.isfinite(others)
    mean = np.where(there, others, 0.0).sum(axis=0) / np.maximum(there.sum(axis=0), 1)
    design = np.where(there, others - mean, 0.0)
    design = np.column_stack([design, labels[rows, k] == 1, np.ones(len(rows))])
    left = values.copy()
    left[rows] -= design @ np.linalg.lstsq(design, values[rows], rcond=None)[0]
    return left


def given_classes(labels: Matrix, patients: Groups, seed: int) -> Dealing:
    """Let patients change places with those of the same classes and as many images.

    Rare combinations of classes are put together by how many they are, rare numbers of images with
    each other.
    """
    unit = numbered(patients, len(labels))
    held = np.zeros((int(unit.max()) + 1, labels.shape[1]), dtype=bool)
    np.logical_or.at(held, unit, labels == 1)
    profile, count = _counted(held)
    rare = count < PROFILE
    profile[rare] = profile.max() + 1 + held[rare].sum(axis=1)
    combination = np.unique(np.nan_to_num(labels), axis=0, return_inverse=True)[1].ravel()
    return Dealing.among(unit, _of_equal_size(profile, unit)[unit], combination, seed)


def anyhow(labels: Matrix, patients: Groups, seed: int) -> Dealing:
    """Let patients change places with any of as many images; rare numbers with each other."""
    unit = numbered(patients, len(labels))
    alike = np.zeros(int(unit.max()) + 1, dtype=np.intp)
    return Dealing.among(unit, _of_equal_size(alike, unit)[unit], seed=seed)


def _of_equal_size(profile: RowNumbers, unit: RowNumbers) -> RowNumbers:
    """Divide patients of a profile by their images, as far as enough have equally many."""
    both = np.stack([profile, np.bincount(unit)], axis=1)
    both[_counted(both)[1] < PROFILE, 1] = 0
    return _counted(both)[0]


def _counted(rows: npt.NDArray[Any]) -> tuple[RowNumbers, RowNumbers]:
    """Give each row a number that equal rows share, and how many these are."""
    _, number, count = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
    number = number.ravel()
    return number, count[number]


def between_levels(
    residuals: Residuals,
    code: RowNumbers,
    dealing: Dealing,
    seed: int,
    permutations: int = PERMUTATIONS,
) -> Spread:
    """Test whether residuals differ between levels.

    Parameters
    ----------
    residuals
        Of n images.
    code : ndarray of int, shape (n,)
        Their levels, from 0.
    dealing : Dealing
        Of the same images.
    """
    R = np.hstack([residuals.values, residuals.known])
    square = (residuals.values**2).sum(axis=0)
    spread = square > MOST_SPREAD * len(R)
    if not spread.any():
        return NO_SPREAD
    levels = int(code.max()) + 1
    observed = float(_shares(R, code[None], levels, square)[0])
    random = np.random.default_rng([seed, STREAM])
    drawn = np.concatenate(
        [_shares(R, code[source], levels, square) for source in dealing.deals(random, permutations)]
    )
    mean, variance = float(drawn.mean()), float(drawn.var())
    if variance < 1e-18 or mean >= 1:
        return NO_SPREAD
    # Equal but for rounding counts as equal.
    p = (1 + int(np.sum(drawn >= observed * (1 - 1e-9)))) / (permutations + 1)
    scale, degrees = variance / (2 * mean), 2 * mean**2 / variance
    share = max(0.0, (observed - mean) / (1 - mean))
    return Spread(share, p, scale / (1 - mean), degrees, observed / scale)


def _shares(R: Matrix, codes: RowNumbers, levels: int, square: Matrix) -> Matrix:
    """Share of the squares that lies between levels, mean over columns, shape (B,)."""
    K = R.shape[1] // 2
    between = np.zeros((len(codes), K))
    for level in range(levels):
        sums = (codes == level).astype(np.float64) @ R
        np.add(
            between,
            np.divide(
                sums[:, :K] ** 2, sums[:, K:], out=np.zeros_like(between), where=sums[:, K:] > 0
            ),
            out=between,
        )
    spread = square > MOST_SPREAD * len(R)
    return np.asarray((between[:, spread] / square[spread]).mean(axis=1))


def _noncentrality(value: float, degrees: float, probability: float) -> float:
    """By how much a chi-squared variable is shifted that exceeds `value` with a probability."""

    def above(shift: float) -> float:
        if shift == 0:
            return float(stats.chi2.sf(value, degrees)) - probability
        return float(stats.ncx2.sf(value, degrees, shift)) - probability

    if above(0.0) >= 0:
        return 0.0
    most = max(1.0, value)
    while above(most) < 0:
        most *= 2
    return float(brentq(above, 0.0, most))
