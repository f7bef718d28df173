"""Predictions beside the truth: sorted and decided once, counted as often as is asked."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cxrfeat.arrays import Matrix, RowNumbers
from cxrfeat.evaluation.statistics.metrics.curve_areas import Ranked
from cxrfeat.evaluation.statistics.metrics.decisions import (
    CUT,
    Counts,
    Decisions,
    counts,
    decide,
)
from cxrfeat.evaluation.statistics.metrics.undefined import known_truth
from cxrfeat.evaluation.statistics.metrics.weights import Weights


class Predictions:
    """Predictions and truth of the same images.

    What was not predicted is left out: rows of multi-class, single labels of multi-label.

    Parameters
    ----------
    truth : ndarray, shape (n, K)
        1 or 0, NaN where unknown.
    p : ndarray, shape (n, K)
        NaN where there is none.
    exclusive : bool
        Whether exactly one class holds per image.
    thresholds : ndarray, shape (K,), or float
        Above which labels are called.
    """

    def __init__(
        self, truth: Matrix, p: Matrix, exclusive: bool, thresholds: Matrix | float = CUT
    ) -> None:
        known = np.isfinite(p)
        self.kept: RowNumbers | None = None
        if exclusive and not known.all():
            self.kept = np.flatnonzero(known.all(axis=1))
            truth, p = truth[self.kept], p[self.kept]
        elif not known.all():
            truth, p = known_truth(truth, p), np.nan_to_num(p)
        self.truth, self.p, self.exclusive, self.thresholds = truth, p, exclusive, thresholds

    @cached_property
    def ranked(self) -> list[Ranked]:
        """The images of each class in order of their scores."""
        return [Ranked.by(t, score) for t, score in zip(self.truth.T, self.p.T, strict=True)]

    @cached_property
    def called(self) -> Decisions:
        """Which classes hold, as decided, shape (n, K)."""
        return decide(self.p, self.exclusive, self.thresholds)

    def counted(self, weights: Weights) -> Counted:
        """Count each image as often as `weights` say."""
        return Counted(self, weights if self.kept is None else weights.of(self.kept))


@dataclass(frozen=True)
class Counted:
    """Predictions whose images count differently often in each of B resamples."""

    of: Predictions
    weights: Weights

    @cached_property
    def counts(self) -> Counts:
        """Right and wrong decisions."""
        return counts(self.of.truth, self.of.called, self.weights)

    @cached_property
    def class_auroc(self) -> Matrix:
        """One-vs-rest area under the ROC curve of each class, shape (B, K)."""
        return np.stack([one.auroc(self.weights) for one in self.of.ranked], axis=1)

    @cached_property
    def class_auprc(self) -> Matrix:
        """Average precision of each class, shape (B, K)."""
        return np.stack([one.auprc(self.weights) for one in self.of.ranked], axis=1)
