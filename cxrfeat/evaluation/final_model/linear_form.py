"""What a fitted head sees in an embedding: its decision as one linear function, where it is one.

A chain of affine steps that ends in a linear classifier is itself linear in the embedding. Its
weights are found by asking the chain itself: its decision on the origin is what it adds, and on
each unit vector that plus one weight.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA, FactorAnalysis, IncrementalPCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.dummy import DummyClassifier
from sklearn.feature_selection import SelectKBest, SelectPercentile, VarianceThreshold
from sklearn.linear_model import (
    LogisticRegression,
    LogisticRegressionCV,
    Perceptron,
    RidgeClassifier,
    RidgeClassifierCV,
    SGDClassifier,
)
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.svm import LinearSVC

from cxrfeat.arrays import Matrix
from cxrfeat.errors import InputError
from cxrfeat.estimators import BlockScaler, Calibrated, PerLabel, PrincipalComponents, RowByRow

LINEAR = (
    LogisticRegression, LogisticRegressionCV, LinearSVC, LinearDiscriminantAnalysis,
    RidgeClassifier, RidgeClassifierCV, SGDClassifier, Perceptron,
)  # fmt: skip
"""Classifiers whose decision function is linear in what they are given."""

AFFINE = (
    StandardScaler, BlockScaler, RobustScaler, MinMaxScaler, MaxAbsScaler, PCA, IncrementalPCA,
    TruncatedSVD, FactorAnalysis, SelectKBest, SelectPercentile, VarianceThreshold,
    PrincipalComponents,
)  # fmt: skip
"""Steps that are affine functions of what they are given."""


@dataclass(frozen=True)
class Linear:
    """Decisions ``X @ weights + shift + intercept``.

    Attributes
    ----------
    weights : ndarray of float64, shape (D, K)
        A column per class; one that two classes share is there twice, with opposite signs.
    shift : ndarray of float64, shape (K,)
        What the steps before the classifier add, e.g. by subtracting the mean.
    intercept : ndarray of float64, shape (K,)
        The classifier's own.
    """

    weights: Matrix
    shift: Matrix
    intercept: Matrix


@dataclass(frozen=True)
class Score:
    """The number per class that a map explains.

    Attributes
    ----------
    of : callable
        From embeddings of shape (n, D) to shape (n, K), a column per class of the model.
    what : str
        "decision function", or "probability" for heads that have no other.
    calibrated : bool
        Whether the model's probabilities are a further function of it (`Calibrated`).
    """

    of: Callable[[npt.ArrayLike], Matrix]
    what: str
    calibrated: bool


def collapse(estimator: Any, dimension: int) -> Linear | None:
    """Write a fitted head as one linear function of the embedding.

    Parameters
    ----------
    estimator
        A classifier or pipeline, also within `RowByRow`, `Calibrated` or `PerLabel`; below a
        calibration it is the decision function that is written.
    dimension : int
        D, the length of an embedding.

    Returns
    -------
    Linear or None
        None where the decision is not linear, or is not known to be.
    """
    if not all(_is_linear(one) for one in _parts(estimator)):
        return None
    score = score_of(estimator).of
    at_origin = score(np.zeros((1, dimension)))[0]
    own = [_columns(np.ravel(_last(one).intercept_)) for one in _parts(estimator)]
    intercept = own[0] if not _is_per_label(estimator) else np.array([one[1] for one in own])
    intercept = np.broadcast_to(intercept, at_origin.shape)
    return Linear(score(np.eye(dimension)) - at_origin, at_origin - intercept, intercept)


def score_of(estimator: Any) -> Score:
    """Say which number per class is explained: the decision function below any calibration.

    Raises
    ------
    InputError
        A head that does not look at the image.
    """
    parts = _parts(estimator)
    if any(isinstance(_last(one), DummyClassifier) for one in parts):
        raise InputError("head 'dummy' gives every image the same answer: nothing to explain")
    decides = all(hasattr(one, "decision_function") for one in parts)
    each = _decisions if decides else _probabilities

    def of(X: npt.ArrayLike) -> Matrix:
        if _is_per_label(estimator):
            return np.stack([each(one, X)[:, 1] for one in parts], axis=1)
        return each(parts[0], X)

    calibrated = any(isinstance(one, Calibrated) for one in _wrapped(estimator))
    return Score(of, "decision function" if decides else "probability", calibrated)


def _bare(estimator: Any) -> Any:
    return estimator.estimator if isinstance(estimator, RowByRow) else estimator


def _is_per_label(estimator: Any) -> bool:
    return isinstance(_bare(estimator), PerLabel)


def _wrapped(estimator: Any) -> list[Any]:
    bare = _bare(estimator)
    return list(bare.estimators or []) if isinstance(bare, PerLabel) else [bare]


def _parts(estimator: Any) -> list[Any]:
    """Return what decides: one classifier, or one per label; without the calibration."""
    return [one.estimator if isinstance(one, Calibrated) else one for one in _wrapped(estimator)]


def _decisions(estimator: Any, X: npt.ArrayLike) -> Matrix:
    score = np.asarray(estimator.decision_function(X), dtype=np.float64)
    return _columns(score[:, None]) if score.ndim == 1 else score


def _columns(score: Matrix) -> Matrix:
    """Give both of two classes a number where one was given for the second, on the last axis."""
    return np.concatenate([-score, score], axis=-1) if score.shape[-1] == 1 else score


def _probabilities(estimator: Any, X: npt.ArrayLike) -> Matrix:
    return np.asarray(estimator.predict_proba(X), dtype=np.float64)


def _last(estimator: Any) -> Any:
    return _last(estimator.steps[-1][1]) if isinstance(estimator, Pipeline) else estimator


def _is_linear(estimator: Any) -> bool:
    if isinstance(estimator, Pipeline):
        *before, last = (step for _, step in estimator.steps)
        return all(_is_affine(step) for step in before) and _is_linear(last)
    # By exact type: a class derived from one of these may decide otherwise.
    return type(estimator) in LINEAR


def _is_affine(step: Any) -> bool:
    if isinstance(step, Pipeline):
        return all(_is_affine(one) for _, one in step.steps)
    if step is None or step == "passthrough":
        return True
    return type(step) in AFFINE and not getattr(step, "clip", False)
