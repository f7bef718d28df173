"""Embeddings without what an attribute explains of each channel, learned from training rows only.

Taken off are the means of the levels. *Plain*, they also hold what the levels' different shares of
each class do to a channel, so that disease goes with the attribute where the two go together: the
score then falls by as much as it could owe to the attribute at the most. *Given the class*, the
levels' means are estimated beside those of the classes, by least squares, and only the former are
taken off; the labels of test rows are not needed for it. Where the level of an image means nothing
this still costs a little, as the means of small levels are uncertain; the control with an attribute
that means nothing shows how much.

References
----------
Snoek L, Miletić S, Scholte HS. How to control for confounds in decoding analyses of neuroimaging
data. NeuroImage 2019;184:741-760 (inside the folds). Johnson WE, Li C, Rabinovic A. Biostatistics
2007;8:118-127 (beside what is to be kept).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cxrfeat.arrays import Matrix, Matrix32, RowNumbers
from cxrfeat.evaluation.study.folds import Fold


@dataclass(frozen=True)
class Removed:
    """Gives the embeddings of a fold without the part of an attribute.

    Attributes
    ----------
    X : ndarray of float32, shape (N, D)
    code : ndarray of int, shape (N,)
        Levels, from 0.
    labels : ndarray, shape (N, K), or None
        Beside which the means of the levels are estimated; plain means where None.
    """

    X: Matrix32
    code: RowNumbers
    labels: Matrix | None

    def __call__(self, fold: Fold) -> Matrix32:
        """Shape (N, D); rows that are in no part of the fold mean nothing."""
        train = fold.train
        levels = np.eye(int(self.code.max()) + 1)[self.code[train]]
        design = levels if self.labels is None else np.hstack([levels, self._beside(train)])
        # A level that the training rows lack gets 0, which is as good as any.
        weights = np.linalg.pinv(design.T @ design) @ (design.T @ self.X[train])
        effect = weights[: levels.shape[1]]
        there = levels.sum(axis=0)
        effect = np.where(there[:, None] > 0, effect - there @ effect / there.sum(), 0.0)
        left: Matrix32 = self.X - effect.astype(np.float32)[self.code]
        return left

    def _beside(self, train: RowNumbers) -> Matrix:
        assert self.labels is not None
        of = self.labels[train]
        known = np.isfinite(of)
        mean = np.where(known, of, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        return np.where(known, of - mean, 0.0)
