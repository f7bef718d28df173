"""Attributes whose truth is known, in the user's own data: what the test does with them.

*Random* attributes have the levels and counts of one of the data's own, dealt out anew among all
patients: they mean nothing and must not be found.

*Planted* ones have two levels and are tied to one class with a strength s between 0 and 1: each
patient's level says whether the class holds with probability s and is drawn otherwise, so that s is
its correlation with the class. They are made visible, too: along a random direction the embeddings
of one level are shifted by as much as the means of the images with and without the class are apart,
as a mark burned into a corner might do. The head then learns from these embeddings on the same
folds. At strength 0 the mark is as clear but means nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cxrfeat.arrays import Matrix, Matrix32, RowNumbers
from cxrfeat.evaluation.audit.dealing import numbered
from cxrfeat.evaluation.audit.partial_confounder import confounder_tests, within_class
from cxrfeat.evaluation.audit.predictions import Predicted, predict
from cxrfeat.evaluation.audit.subject import Subject

STRENGTHS = (0.0, 0.2, 0.4, 0.6, 0.8)
PLANTS = 2
"""Attributes of each strength."""
IMAGES = 800
"""Images that attributes are planted in, at most."""
PERMUTATIONS = 499


def at_random(code: RowNumbers, patient: RowNumbers, random: np.random.Generator) -> RowNumbers:
    """Deal levels out anew among all patients; every patient gets one.

    Parameters
    ----------
    code : ndarray of int, shape (n,)
        From 0, -1 where unknown; the first image's is taken for the patient's.
    patient : ndarray of int, shape (n,)
        From 0.
    """
    first = np.unique(patient, return_index=True)[1]
    return random.permutation(code[first])[patient]


def wanted(subject: Subject) -> npt.NDArray[np.bool_]:
    """Which images have the class that attributes are tied to: the one nearest to a half."""
    holds = subject.study.labels == 1
    return np.asarray(holds[:, int(np.abs(holds.mean(axis=0) - 0.5).argmin())])


def tied(subject: Subject, strength: float, random: np.random.Generator) -> RowNumbers:
    """Draw an attribute of two levels, 0 and 1, that goes with one class."""
    patient = numbered(subject.design.patients, len(subject.study))
    holds = wanted(subject)[np.unique(patient, return_index=True)[1]]
    drawn = random.random(len(holds)) < holds.mean()
    level = np.where(random.random(len(holds)) < strength, holds, drawn)
    return level.astype(np.intp)[patient]


def marked(
    X: Matrix32, code: RowNumbers, holds: npt.NDArray[np.bool_], random: np.random.Generator
) -> Matrix32:
    """Shift the embeddings of level 1 along a random direction, as far as a class is apart."""
    scale = X.std(axis=0, dtype=np.float64)
    means: Matrix = X[holds].mean(axis=0, dtype=np.float64) - X[~holds].mean(
        axis=0, dtype=np.float64
    )
    apart = np.divide(means, scale, out=np.zeros_like(scale), where=scale > 0)
    direction = random.normal(size=X.shape[1])
    direction *= float(np.linalg.norm(apart)) / float(np.linalg.norm(direction))
    return np.asarray(X + np.outer(code, direction * scale), dtype=np.float32)


def found_at_strengths(
    subject: Subject, X: Matrix32, level: float, plants: int = PLANTS
) -> dict[float, float]:
    """Plant attributes of every strength; the share of each that is found at a level."""
    labels = subject.study.labels.astype(np.float64)
    found = {}
    for place, strength in enumerate(STRENGTHS):
        p = []
        for number in range(plants):
            random = np.random.default_rng([subject.seed, place, number])
            code = tied(subject, strength, random)
            predicted = predict(subject, marked(X, code, wanted(subject), random))
            residuals = within_class(predicted, labels, subject.exclusive)
            p.append(confounder_tests(subject, residuals, code, PERMUTATIONS, seed=number).p)
        found[strength] = float(np.mean(np.array(p) <= level))
    return found


def found_at_random(
    subject: Subject, predicted: Predicted, codes: Sequence[RowNumbers], level: float, count: int
) -> int:
    """Count how many of `count` attributes that mean nothing are found at a level.

    Parameters
    ----------
    predicted : Predicted
        From the embeddings as they are.
    codes : sequence of ndarray of int, shape (N,)
        Attributes whose levels are dealt out anew, in turn; -1 where unknown.
    """
    labels = subject.study.labels.astype(np.float64)
    residuals = within_class(predicted, labels, subject.exclusive)
    patient = numbered(subject.design.patients, len(labels))
    random = np.random.default_rng([subject.seed, 1])
    found = 0
    for number in range(count):
        code = at_random(codes[number % len(codes)], patient, random)
        found += confounder_tests(subject, residuals, code, PERMUTATIONS, seed=number).p <= level
    return found
