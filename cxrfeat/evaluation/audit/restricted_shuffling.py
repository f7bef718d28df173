"""What score is left when labels are shuffled among the images of each level of an attribute.

Shuffled so, labels go with the attribute as before and with nothing else in an image. Whatever an
embedding still predicts of them it predicts from the attribute: this is the score that the
attribute alone could give to a classifier on these embeddings. It does not say that the classifier
takes it from there, as disease may be the easier way to the same answer.

The classifier is the light ridge regression of `label_shuffling`, since one decomposition serves
all shuffles; the score on the true labels and on freely shuffled ones is that of the same.

References
----------
Chaibub Neto E, Pratap A, Perumal TM, et al. Using permutations to assess confounding in machine
learning applications for digital health. arXiv:1811.11920, 2018; A permutation approach to assess
confounding in machine learning applications for digital health. KDD 2019:54-64.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from cxrfeat.arrays import Matrix, Matrix32, RowNumbers
from cxrfeat.evaluation.audit.dealing import Dealing, numbered
from cxrfeat.evaluation.audit.subject import Subject
from cxrfeat.evaluation.heads.standardised_fold import SharedFold
from cxrfeat.evaluation.statistics.metrics.undefined import mean_of_known
from cxrfeat.evaluation.study.folds import Fold
from cxrfeat.evaluation.validation.label_shuffling import permuted_auroc
from cxrfeat.evaluation.validation.side_by_side import in_order, in_threads
from cxrfeat.results.data import Interval

SHUFFLES = 20


@dataclass(frozen=True)
class Left:
    """Macro AUROC of ridge regression, mean over the folds.

    Attributes
    ----------
    true : float
        On the labels as they are.
    left : float
        Mean over the shuffles within levels.
    spread : tuple of float
        Smallest and largest of them.
    free : float
        Mean over shuffles among all images.
    """

    true: float
    left: float
    spread: Interval
    free: float

    @property
    def share(self) -> float:
        """Of the score above 0.5, what is left."""
        return (self.left - 0.5) / (self.true - 0.5) if self.true > 0.5 else float("nan")


def shuffled_within(subject: Subject, X: Matrix32, code: RowNumbers) -> Left:
    """Shuffle labels within levels, patient by patient, and score what is still predicted.

    Parameters
    ----------
    X : ndarray of float32, shape (N, D)
    code : ndarray of int, shape (N,)
        Levels, from 0.
    """
    labels, nan = subject.study.labels, float("nan")
    if not subject.design.folds:
        return Left(nan, nan, (nan, nan), nan)
    patient = numbered(subject.design.patients, len(labels))
    # A patient with images of several levels is dealt labels in each of them.
    block = patient * (int(code.max()) + 1) + code
    random = np.random.default_rng(subject.seed)
    within = Dealing.among(block, code, seed=subject.seed)
    free = Dealing.among(patient, np.zeros(len(code), dtype=np.intp), seed=subject.seed)
    sources = [
        np.arange(len(code))[None],
        *within.deals(random, SHUFFLES),
        *free.deals(random, SHUFFLES),
    ]
    dealt = labels[np.concatenate(sources).T]
    folds = [(fold,) for fold in subject.design.folds]
    areas = in_order(in_threads(subject.jobs), partial(_areas, X, dealt), folds)
    mean = np.array([mean_of_known(of_shuffle) for of_shuffle in np.array(areas).T])
    inside = mean[1 : SHUFFLES + 1]
    return Left(
        float(mean[0]), mean_of_known(inside), (float(inside.min()), float(inside.max())),
        mean_of_known(mean[SHUFFLES + 1 :]),
    )  # fmt: skip


def _areas(X: Matrix32, dealt: Matrix32, fold: Fold) -> Matrix:
    return permuted_auroc(SharedFold(X, fold.train, fold.test), fold, dealt)
