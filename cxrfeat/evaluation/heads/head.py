"""What a head is: a scikit-learn estimator and a fast way along its grid.

The estimator is what a model file holds and the reference for the scores; the path gives the
same scores for many settings and folds at once, from work that they share. All parts of a head can
be pickled, so that folds can be scored in other processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from cxrfeat.arrays import Matrix32, RowNumbers
from cxrfeat.estimators import BlockScaler, block_factors, gaussian_width
from cxrfeat.evaluation.heads.standardised_fold import SharedFold
from cxrfeat.evaluation.heads.task import Path, Setting, Task

LARGE = 10_000
"""Training rows beyond which a head's own solver fits what is saved, where it has one."""


class Factory(Protocol):
    """What makes the classifier of a head."""

    def __call__(
        self, s: Setting, n: int, seed: int, widths: Sequence[int] = (), n_classes: int = 2, /
    ) -> Any:
        """Make an unfitted scikit-learn classifier for n training rows, its scaling included.

        `widths` are the dimensions of the extractors that stand side by side, if there are
        several: a classifier that scales its input gives them the same weight. `n_classes` are
        told apart.
        """
        ...


class FitLarge(Protocol):
    """What fits a head on many rows, with the solver of its path."""

    def __call__(
        self, fold: SharedFold, task: Task, settings: Sequence[Setting], seed: int
    ) -> list[Any]:
        """Fit on all training rows of a fold.

        Parameters
        ----------
        settings
            One for classes, one for each label.

        Returns
        -------
        list
            A fitted scikit-learn classifier for each setting, its scaling included: of the classes
            0 to K - 1, or of 0 and 1.
        """
        ...


@dataclass(frozen=True)
class Head:
    """One way from embeddings to probabilities.

    Attributes
    ----------
    name : str
    what : str
        For people, in a few words.
    grid : tuple of dict
        The settings tried inside the training folds, the simplest first.
    estimator : Factory
        What is saved; the path gives the scores of the same.
    path : Path
    gives : "probabilities" or "decisions"
        What the path returns; decisions are Platt-scaled on held-out rows.
    inner : int
        Of the three inner folds, how many it is tuned on where there are many images; the gains
        by which heads are chosen are then those of the fewest that any head of a run has.
    weighs : bool
        Whether estimator and path read ``class_weight`` in a setting: None or ``"balanced"``.
    own_scaling : bool
        Whether the path fits the estimator with its scaling, on the rows to learn from alone; the
        others are scaled once for the fold.
    fit_large : FitLarge or None
        Fits what is saved where there are more than `large` training rows, with the path's own
        solver; None leaves it to the estimator.
    large : int
    """

    name: str
    what: str
    grid: tuple[Setting, ...]
    estimator: Factory
    path: Path
    gives: Literal["probabilities", "decisions"] = "probabilities"
    inner: int = 3
    weighs: bool = False
    own_scaling: bool = False
    fit_large: FitLarge | None = None
    large: int = LARGE


def scaled(widths: Sequence[int], *steps: Any) -> Pipeline:
    """Put the scaling of channels, and of extractors side by side, before a classifier."""
    blocks = [BlockScaler(list(widths))] if len(widths) > 1 else []
    return make_pipeline(StandardScaler(), *blocks, *steps)


def fill_scaling(estimator: Pipeline, fold: SharedFold) -> None:
    """Make the scaling of an unfitted pipeline of `scaled` that of a fold, its last step aside."""
    mean, scale = fold.scaling
    if len(fold.widths) > 1:
        scale = scale * block_factors(fold.widths)
    scaler = estimator[0]
    scaler.mean_, scaler.scale_, scaler.var_ = mean, scale, scale**2
    scaler.n_features_in_ = len(mean)
    scaler.n_samples_seen_ = fold.n_train


def fit_estimator(
    head: Head, estimator: Any, X: Matrix32, known: RowNumbers, y: npt.NDArray[np.intp]
) -> Any:
    """Fit what a head's factory made as its path does: what is saved is what was scored.

    A scale needs no label. So the paths scale a fold once, by all its training rows, whichever of
    them know this or that label, and learn from the known ones; scaled by these alone, the saved
    classifier would be another than the scored one. A head with a scaling of its own is fitted on
    the known rows in both places.

    Parameters
    ----------
    estimator
        Unfitted.
    X : ndarray of float32, shape (n, D)
        All training rows.
    known : ndarray of int
        Those to learn from.
    y : ndarray of int, shape (n,)

    Returns
    -------
    The estimator, fitted.
    """
    if head.own_scaling or not isinstance(estimator, Pipeline):
        return estimator.fit(X[known], y[known])
    *steps, (_, classifier) = estimator.steps
    Z: Any = X
    for _, step in steps:
        Z = step.fit(Z).transform(Z)
    if isinstance(classifier, SVC) and classifier.gamma == "scale" and len(known) < len(X):
        # The width of the kernel is a scale, too.
        classifier.set_params(gamma=gaussian_width(Z))
    classifier.fit(Z[known], y[known])
    return estimator


def weight_of(setting: Setting) -> str | None:
    """How a setting weighs the classes."""
    return setting.get("class_weight")
