"""Labels that the other images contradict, and how many of them are so by chance.

Confident learning (Northcutt et al. 2021): out of fold, patients kept together, an image is flagged
where another class has at least the probability that images of that class have on average, and more
than its own has, if that is as high. The averages take care of a head that is too sure or too shy
of a whole class. Of two pretrained extractors both must flag the same class.

Flagged are hard images as well as wrong labels. How many right labels would be flagged is taken
from the images themselves: within a class the log-odds of another class are near a normal
distribution (exactly so where embeddings are, and the head is linear). Its middle is the median,
its spread on the side of the other class is told by the quantile 0.8; both are hardly moved by a
few wrong labels. They say how many lie beyond the limit by chance; the draws behind the p-value
include how well the two quantiles are known.

That is wrong where a class has a part that looks like another class though it is labelled rightly.
No method on labels and embeddings can tell that from wrong labels: a person has to look.

For labels of which any number may hold, each label is a question of its own.

References
----------
Northcutt CG, Jiang L, Chuang IL. Confident learning: estimating uncertainty in dataset labels.
Journal of Artificial Intelligence Research 2021;70:1373-1411.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import stats

from cxrfeat.arrays import Matrix, Matrix32, RowNumbers, Vector

FEWEST = 20
"""Images of a class below which nothing is said of the shape of its log-odds."""
DRAWS = 4000
UPPER = 0.8
"""Quantile that tells the spread on the side of another class."""
Z_UPPER = float(stats.norm.ppf(UPPER))
SMALLEST = 1e-12


@dataclass(frozen=True)
class Question:
    """Classes of which one holds: all of them, or a label and its absence.

    Attributes
    ----------
    names : list of str, length C
    rows : ndarray of int, shape (n,)
        Images with a known answer.
    given : ndarray of int, shape (n,)
        Their class.
    column : int or None
        Of the label that is asked about; None for all classes.
    """

    names: list[str]
    rows: RowNumbers
    given: RowNumbers
    column: int | None = None

    def probabilities(self, p: Matrix) -> Matrix:
        """Of the classes of this question, shape (n, C), from those of all labels."""
        if self.column is None:
            return p[self.rows]
        one = p[self.rows, self.column]
        return np.stack([1 - one, one], axis=1)

    def with_labels(self, labels: Matrix32) -> Question:
        """Ask the same of other labels, known for the same images."""
        if self.column is None:
            return replace(self, given=labels[self.rows].argmax(axis=1))
        return replace(self, given=(labels[self.rows, self.column] == 1).astype(np.intp))


@dataclass(frozen=True)
class Flagged:
    """What the extractors say of the images of a question; arrays of shape (n,).

    Attributes
    ----------
    suggested : ndarray of int
        The class that both (or the only) suggest; -1 for none.
    any_suggested : ndarray of int
        That some extractor suggests.
    margin : ndarray
        Mean probability of the suggested class minus that of the given one.
    expected : float
        Right labels that would be flagged, the smallest of the extractors.
    drawn : ndarray, shape (DRAWS,)
        How many are flagged by chance.
    p : float
        That so many are flagged by chance.
    rows : list
        Per pair of classes: given, suggested, flagged, expected.
    """

    suggested: RowNumbers
    any_suggested: RowNumbers
    margin: Vector
    expected: float
    drawn: Vector
    p: float
    rows: list[list[str | float | int | None]]

    @property
    def count(self) -> int:
        """How many are flagged by all."""
        return int((self.suggested >= 0).sum())


def suggestions(p: Matrix, given: RowNumbers) -> tuple[RowNumbers, Vector]:
    """Which other class each image confidently is, -1 for none; and the limits of the classes.

    Parameters
    ----------
    p : ndarray, shape (n, C)
    given : ndarray of int, shape (n,)

    Returns
    -------
    suggested : ndarray of int, shape (n,)
    limits : ndarray, shape (C,)
        Mean probability of each class among its images; infinite for a class without any.
    """
    limits = np.full(p.shape[1], np.inf)
    for k in range(p.shape[1]):
        if (given == k).any():
            limits[k] = p[given == k, k].mean()
    confident = np.where(p >= limits, p, -1.0)
    best = confident.argmax(axis=1)
    wrong = (confident.max(axis=1) >= 0) & (best != given)
    return np.where(wrong, best, -1), limits


def flag(
    question: Question, probabilities: Sequence[Matrix], random: np.random.Generator
) -> Flagged:
    """Flag images that all extractors contradict, and say how many are so by chance."""
    given, classes = question.given, range(len(question.names))
    each = [suggestions(p, given) for p in probabilities]
    agreed = each[0][0].copy()
    for suggested, _ in each[1:]:
        agreed[suggested != agreed] = -1
    any_ = np.max([suggested for suggested, _ in each], axis=0)
    mean = np.mean(probabilities, axis=0)
    every = np.arange(len(given))
    margin = mean[every, any_] - mean[every, given]
    drawn = np.zeros((len(probabilities), DRAWS))
    expected = np.zeros(len(probabilities))
    rows: list[list[str | float | int | None]] = []
    judged = 0
    for k in classes:
        of_class = np.flatnonzero(given == k)
        if len(of_class) < FEWEST:  # its shape is not known, so that it is not judged
            agreed[of_class] = -1
            continue
        for j in classes:
            if j == k or not (given == j).any():
                continue
            by_chance = []
            for place, (p, (_, limits)) in enumerate(zip(probabilities, each, strict=True)):
                odds, limit = _log_odds(p[of_class, j]), float(_log_odds(limits[j]))
                shape = _Shape.of(odds)
                drawn[place] += shape.draws(limit, random)
                by_chance.append(shape.count * shape.beyond(limit))
            judged += 1
            expected += by_chance
            count = int((agreed[of_class] == j).sum())
            rows.append([question.names[k], question.names[j], count, float(min(by_chance))])
    count = int((agreed >= 0).sum())
    p_value = float("nan")
    if judged:
        p_value = float((1 + (drawn >= count).sum(axis=1).max()) / (1 + DRAWS))
    return Flagged(agreed, any_, margin, float(expected.min()), drawn.max(axis=0), p_value, rows)


def _log_odds(p: npt.ArrayLike) -> Vector:
    kept = np.clip(np.asarray(p, dtype=np.float64), SMALLEST, 1 - SMALLEST)
    return np.asarray(np.log(kept) - np.log1p(-kept))


@dataclass(frozen=True)
class _Shape:
    """The upper half of a normal distribution, by two quantiles of so many images."""

    middle: float
    spread: float
    count: int

    @classmethod
    def of(cls, values: Vector) -> _Shape:
        middle, high = np.quantile(values, [0.5, UPPER])
        return cls(float(middle), max(float(high - middle) / Z_UPPER, 1e-9), len(values))

    def beyond(self, limit: float) -> float:
        """Share beyond a limit."""
        return float(stats.norm.sf((limit - self.middle) / self.spread))

    def draws(self, limit: float, random: np.random.Generator) -> npt.NDArray[np.intp]:
        """How many lie beyond a limit, with other quantiles in each draw.

        Quantiles of normal data are nearly normal, and so is how they move together.
        """
        density = stats.norm.pdf([0.0, Z_UPPER])
        shares = np.array([[0.25, 0.5 * (1 - UPPER)], [0.5 * (1 - UPPER), UPPER * (1 - UPPER)]])
        covariance = shares / np.outer(density, density) / self.count
        off = random.multivariate_normal([0.0, 0.0], covariance, size=DRAWS) * self.spread
        middle = self.middle + off[:, 0]
        spread = self.spread + (off[:, 1] - off[:, 0]) / Z_UPPER
        away = (limit - middle) / np.maximum(spread, 0.1 * self.spread)
        return np.asarray(random.binomial(self.count, stats.norm.sf(away)))


def flipped(
    labels: Matrix32, exclusive: bool, rate: float, random: np.random.Generator
) -> Matrix32:
    """Flip labels: to another class by lot, or of each label as many from 1 to 0 as back."""
    new = labels.copy()
    if exclusive:
        rows = random.permutation(len(labels))[: round(rate * len(labels))]
        given = labels[rows].argmax(axis=1)
        other = (given + random.integers(1, labels.shape[1], len(rows))) % labels.shape[1]
        new[rows] = 0
        new[rows, other] = 1
    else:
        for k in range(labels.shape[1]):
            positive, negative = (np.flatnonzero(labels[:, k] == value) for value in (1, 0))
            count = min(round(rate * len(positive)) or 1, len(negative), len(positive))
            for rows in (positive, negative):
                chosen = random.permutation(rows)[:count]
                new[chosen, k] = 1 - labels[chosen, k]
    return new
