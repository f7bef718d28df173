"""The linear heads as scikit-learn knows them: unfitted, and filled with what the paths find.

scikit-learn's own `fit` takes minutes a label where there are 100,000 rows. The paths find the same
weights for all labels at once; what is saved then is scikit-learn's estimator with these in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from cxrfeat.arrays import RowNumbers
from cxrfeat.evaluation.heads.head import Factory, fill_scaling, scaled, weight_of
from cxrfeat.evaluation.heads.linear import (
    Planes,
    Settings,
    lda_planes,
    linear_svm_planes,
    logistic_planes,
)
from cxrfeat.evaluation.heads.standardised_fold import SharedFold
from cxrfeat.evaluation.heads.task import Labels, Setting, Task


def logistic_regression(
    s: Setting, n: int, seed: int, widths: Sequence[int] = (), n_classes: int = 2, /
) -> Any:
    """Make the estimator of head ``logreg``."""
    return scaled(widths, LogisticRegression(C=s["C"], max_iter=5000, class_weight=weight_of(s)))


def linear_svm(
    s: Setting, n: int, seed: int, widths: Sequence[int] = (), n_classes: int = 2, /
) -> Any:
    """Make the estimator of head ``linear_svm``."""
    weight = weight_of(s)
    machine = LinearSVC(
        C=s["C"], dual="auto", max_iter=20_000, random_state=seed, class_weight=weight
    )
    return scaled(widths, machine)


def lda(s: Setting, n: int, seed: int, widths: Sequence[int] = (), n_classes: int = 2, /) -> Any:
    """Make the estimator of head ``lda``."""
    # Discriminant analysis has no weights: equal priors do the same to its classes.
    priors = [1 / n_classes] * n_classes if weight_of(s) else None
    analysis = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=s["shrinkage"], priors=priors)
    return scaled(widths, analysis)


def fit_logistic(fold: SharedFold, task: Task, settings: Sequence[Setting], seed: int) -> list[Any]:
    """Fit head ``logreg`` on many rows; a `FitLarge`."""
    return _filled(logistic_regression, logistic_planes, fold, task, settings, seed)


def fit_linear_svm(
    fold: SharedFold, task: Task, settings: Sequence[Setting], seed: int
) -> list[Any]:
    """Fit head ``linear_svm`` on many rows; a `FitLarge`."""
    return _filled(linear_svm, linear_svm_planes, fold, task, settings, seed)


def fit_lda(fold: SharedFold, task: Task, settings: Sequence[Setting], seed: int) -> list[Any]:
    """Fit head ``lda`` on many rows; a `FitLarge`."""
    estimators = _filled(lda, lda_planes, fold, task, settings, seed)
    for number, estimator in enumerate(estimators):
        analysis = estimator[-1]
        y = task.values[:, number] if isinstance(task, Labels) else task.y
        count = np.array([np.sum(y == k) for k in analysis.classes_])
        prior = count / count.sum() if analysis.priors is None else analysis.priors
        analysis.priors_ = np.asarray(prior, dtype=np.float64)
    return estimators


def _filled(
    factory: Factory,
    planes_of: Callable[[SharedFold, Task, Sequence[RowNumbers], Settings], Planes],
    fold: SharedFold,
    task: Task,
    settings: Sequence[Setting],
    seed: int,
) -> list[Any]:
    """Make one estimator, or one per label, with the weights that all training rows give."""
    (W,) = planes_of(fold, task, [fold.train], [[setting] for setting in settings])
    weights = fold.turned_back(W[0, :-1]).T.astype(np.float64)
    intercept = W[0, -1].astype(np.float64)
    n_classes = 2 if isinstance(task, Labels) else task.n_classes
    own = np.split(np.arange(len(weights)), len(settings))
    estimators = []
    for setting, columns in zip(settings, own, strict=True):
        estimator = factory(setting, fold.n_train, seed, fold.widths, n_classes)
        fill_scaling(estimator, fold)
        classifier = estimator[-1]
        classifier.classes_ = np.arange(n_classes)
        classifier.n_features_in_ = fold.dimension
        classifier.coef_, classifier.intercept_ = weights[columns], intercept[columns]
        estimators.append(estimator)
    return estimators
