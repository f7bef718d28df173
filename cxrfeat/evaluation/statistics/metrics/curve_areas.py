"""Areas under the ROC and the precision-recall curve, class by class, for many resamples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cxrfeat.arrays import Matrix, Matrix32, RowNumbers, Vector, Vector32
from cxrfeat.evaluation.statistics.metrics.undefined import ratio
from cxrfeat.evaluation.statistics.metrics.weights import Weights


@dataclass(frozen=True)
class Ranked:
    """The images of one class in order of their scores: sorted once, for any number of resamples.

    Between two scores of positives it is only the number of negatives that counts, however many
    scores they have. So images lie in 2 * `steps` + 1 segments: the odd ones are the distinct
    scores that positives have, with the negatives of equal score, the even ones the negatives
    between them.

    Attributes
    ----------
    positives, negatives : ndarray of int
        Rows of known images, lowest score first.
    step : ndarray of int
        Of each positive, from 0.
    segment : ndarray of int
        Of each negative, from 0.
    steps : int
    """

    positives: RowNumbers
    negatives: RowNumbers
    step: RowNumbers
    segment: RowNumbers
    steps: int

    @classmethod
    def by(cls, truth: Vector | Vector32, score: Vector) -> Ranked:
        """Sort images by their scores; those of unknown truth, or without a score, are left out."""
        known = np.flatnonzero(np.isfinite(truth) & np.isfinite(score))
        # Images of equal score fall into one segment, so that their order is of no consequence.
        order = known[np.argsort(score[known])]
        ordered, positive = score[order], truth[order] == 1
        of_score = np.zeros(len(order), dtype=np.intp)
        np.cumsum(ordered[1:] != ordered[:-1], out=of_score[1:])
        holds = np.zeros(int(of_score[-1]) + 1 if len(order) else 0, dtype=np.intp)
        holds[of_score[positive]] = 1
        upto = np.cumsum(holds)
        segment = (2 * upto - holds)[of_score]
        return cls(
            order[positive],
            order[~positive],
            segment[positive] // 2,
            segment[~positive],
            int(upto[-1]) if len(upto) else 0,
        )

    def counted(self, weights: Weights) -> tuple[Matrix, Matrix]:
        """Positives at each step, and negatives up to each segment; columns are resamples.

        Returns
        -------
        positive : ndarray, shape (steps, B)
        upto : ndarray, shape (2 * steps + 1, B)
            Rows 2 i and 2 i + 1: negatives below step i, and with those of its own score.
        """
        negative = weights.in_segments(self.negatives, self.segment, 2 * self.steps + 1)
        positive = weights.in_segments(self.positives, self.step, self.steps)
        return positive, np.cumsum(negative, axis=0, out=negative)

    def auroc(self, weights: Weights) -> Vector:
        """Area under the ROC curve, shape (B,); see `per_class_auroc`."""
        positive, upto = self.counted(weights)
        twice_below = upto[:-1:2] + upto[1::2]
        won = 0.5 * np.einsum("ib,ib->b", positive, twice_below, dtype=np.float64)
        return ratio(won, positive.sum(axis=0, dtype=np.float64) * upto[-1])

    def auprc(self, weights: Weights) -> Vector:
        """Average precision, shape (B,); see `per_class_auprc`."""
        positive, upto = (counts.astype(np.float64, copy=False) for counts in self.counted(weights))
        # The highest score is called first.
        hits = np.cumsum(positive[::-1], axis=0)
        called = hits + (upto[-1] - upto[-3::-2])
        precision = np.divide(hits, np.maximum(called, 1e-300), out=hits)
        precision *= positive[::-1]
        # One after the other, so that a resample has the same bits among any number of others.
        found = np.cumsum(precision, axis=0, out=precision)[-1] if self.steps else upto[0]
        area = ratio(found, positive.sum(axis=0))
        return np.where(upto[-1] > 0, area, np.nan)

    def placements(self) -> tuple[Vector, Vector]:
        """Share of the other side that each image is rightly ordered against, by side.

        Ties count half; the mean over either side is the area. In the order of `positives` and
        `negatives`, of which there is at least one each.
        """
        positive, upto = (
            counts[:, 0]
            for counts in self.counted(Weights.once(len(self.positives) + len(self.negatives)))
        )
        above = np.concatenate([[0.0], np.cumsum(positive)])
        # Positives below each segment, and half of those within it.
        under = np.empty(2 * self.steps + 1)
        under[::2], under[1::2] = above, above[1:] - 0.5 * positive
        below = 0.5 * (upto[:-1:2] + upto[1::2])
        return (
            below[self.step] / len(self.negatives),
            1 - under[self.segment] / len(self.positives),
        )


def per_class_auroc(truth: Matrix | Matrix32, p: Matrix, weights: Matrix | None = None) -> Matrix:
    """One-vs-rest area under the ROC curve of each class, shape (B, K).

    It is the probability that a positive image scores above a negative one, ties counted half.

    Parameters
    ----------
    truth, p : ndarray, shape (n, K)
        NaN where unknown.
    weights : ndarray, shape (B, n), or None
        How often each image counts; once where None.

    References
    ----------
    Hanley JA, McNeil BJ. The meaning and use of the area under a ROC curve. Radiology 1982.
    """
    return _per_class(Ranked.auroc, truth, p, weights)


def per_class_auprc(truth: Matrix, p: Matrix, weights: Matrix | None = None) -> Matrix:
    """Average precision of each class, shape (B, K); its floor is the prevalence.

    The mean of the precision over the positives, each at its own score as threshold, without
    interpolation. Parameters as `per_class_auroc`.

    References
    ----------
    Davis J, Goadrich M. The relationship between precision-recall and ROC curves. ICML 2006.
    """
    return _per_class(Ranked.auprc, truth, p, weights)


def _per_class(
    area: Callable[[Ranked, Weights], Vector],
    truth: Matrix | Matrix32,
    p: Matrix,
    weights: Matrix | None,
) -> Matrix:
    counted = Weights.once(len(truth)) if weights is None else Weights.of_images(weights)
    return np.stack(
        [area(Ranked.by(t, score), counted) for t, score in zip(truth.T, p.T, strict=True)], axis=1
    )
