"""The heads: one entry each. What a head consists of says `cxrfeat.evaluation.heads.head`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC, LinearSVC

from cxrfeat.arrays import Matrix
from cxrfeat.errors import InputError, UnknownNameError
from cxrfeat.estimators import BoostedTrees
from cxrfeat.evaluation.heads.boosting import LARGE, boosted_trees, boosting_path
from cxrfeat.evaluation.heads.head import Head, scaled, weight_of
from cxrfeat.evaluation.heads.imported import imported
from cxrfeat.evaluation.heads.kernels import knn_path, svm_rbf_path
from cxrfeat.evaluation.heads.linear import lda_path, linear_svm_path, logistic_path
from cxrfeat.evaluation.heads.standardised_fold import SharedFold
from cxrfeat.evaluation.heads.task import Pairs, Setting, label_by_label


@label_by_label
def dummy_path(
    fold: SharedFold,
    y: npt.NDArray[np.intp],
    pairs: Pairs,
    settings: Sequence[Setting],
    seed: int,
) -> list[Matrix]:
    """Give the share of each class in the training rows, whatever the image."""
    n_classes = int(y.max()) + 1
    share = [np.bincount(y[fit], minlength=n_classes) / len(fit) for fit, _ in pairs]
    return [
        np.tile(row, (len(settings), len(val), 1))
        for row, (_, val) in zip(share, pairs, strict=True)
    ]


def _logreg(
    s: Setting, n: int, seed: int, widths: Sequence[int] = (), n_classes: int = 2, /
) -> Any:
    return scaled(widths, LogisticRegression(C=s["C"], max_iter=5000, class_weight=weight_of(s)))


def _linear_svm(
    s: Setting, n: int, seed: int, widths: Sequence[int] = (), n_classes: int = 2, /
) -> Any:
    weight = weight_of(s)
    machine = LinearSVC(
        C=s["C"], dual="auto", max_iter=20_000, random_state=seed, class_weight=weight
    )
    return scaled(widths, machine)


def _lda(s: Setting, n: int, seed: int, widths: Sequence[int] = (), n_classes: int = 2, /) -> Any:
    # Discriminant analysis has no weights: equal priors do the same to its classes.
    priors = [1 / n_classes] * n_classes if weight_of(s) else None
    analysis = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=s["shrinkage"], priors=priors)
    return scaled(widths, analysis)


def _knn(s: Setting, n: int, seed: int, widths: Sequence[int] = (), n_classes: int = 2, /) -> Any:
    nearest = min(s["n_neighbors"], n)
    return scaled(widths, KNeighborsClassifier(nearest, metric="cosine", algorithm="brute"))


def _svm_rbf(
    s: Setting, n: int, seed: int, widths: Sequence[int] = (), n_classes: int = 2, /
) -> Any:
    machine = SVC(C=s["C"], gamma="scale", cache_size=500, class_weight=weight_of(s))
    return scaled(widths, machine)


def _xgboost(
    s: Setting, n: int, seed: int, widths: Sequence[int] = (), n_classes: int = 2, /
) -> Any:
    return BoostedTrees(s["n_estimators"], seed, weight_of(s))


def _dummy(s: Setting, n: int, seed: int, widths: Sequence[int] = (), n_classes: int = 2, /) -> Any:
    return DummyClassifier(strategy="prior")


def _grid(name: str, *values: float) -> tuple[Setting, ...]:
    return tuple({name: value} for value in values)


WEIGHTS = ("balanced",)
"""How classes can be weighed, as scikit-learn names it."""

FLOOR = "dummy"
"""The head that every other has to beat."""

HEADS: dict[str, Head] = {
    head.name: head
    for head in (
        Head(
            "logreg",
            "multinomial logistic regression, L2",
            _grid("C", 1e-4, 1e-3, 1e-2, 1e-1, 1.0),
            _logreg,
            logistic_path,
            weighs=True,
        ),
        Head(
            "linear_svm",
            "linear support vector machine, one against the rest",
            _grid("C", 1e-5, 1e-4, 1e-3, 1e-2, 1e-1),
            _linear_svm,
            linear_svm_path,
            "decisions",
            weighs=True,
        ),
        Head(
            "lda",
            "linear discriminant analysis with a shrunk covariance",
            _grid("shrinkage", 0.9, 0.5, 0.2, 0.05, 0.01),
            _lda,
            lda_path,
            weighs=True,
        ),
        Head(
            "knn",
            "k nearest neighbours by cosine",
            _grid("n_neighbors", 41, 21, 11, 5, 3),
            _knn,
            knn_path,
        ),
        Head(
            "svm_rbf",
            "support vector machine with a Gaussian kernel",
            _grid("C", 0.1, 1.0, 10.0, 100.0, 1000.0),
            _svm_rbf,
            svm_rbf_path,
            "decisions",
            weighs=True,
        ),
        Head(
            "xgboost",
            "gradient-boosted trees",
            _grid("n_estimators", 10, 25, 50, 75, 100),
            _xgboost,
            boosting_path,
            inner=1,
            weighs=True,
            fit_large=boosted_trees,
            large=LARGE,
        ),
        Head(
            FLOOR,
            "the share of each class, whatever the image: the floor",
            ({},),
            _dummy,
            dummy_path,
        ),
    )
}


def find_heads(names: Sequence[str] | None) -> list[Head]:
    """Look heads up by name or import path (``module:Class``); all named ones for None.

    Raises
    ------
    UnknownNameError
        Names the nearest valid ones.
    InputError
        An import path that leads to no classifier.
    """
    if names is None:
        return list(HEADS.values())
    return [_find(name) for name in dict.fromkeys(names)]


def weighted(heads: Sequence[Head], class_weight: str | None) -> tuple[list[Head], list[str]]:
    """Let heads weigh classes: in every setting, and so in tuning, scoring and the saved model.

    Parameters
    ----------
    class_weight : "balanced" or None
        Every class has the same total weight in the training rows; None leaves heads as they are.

    Returns
    -------
    heads : list of Head
    notes : list of str
        Which of the named ones cannot.

    Raises
    ------
    UnknownNameError
        Another weighting.
    InputError
        An imported head without the parameter, or no head that can.
    """
    if class_weight is None:
        return list(heads), []
    if class_weight not in WEIGHTS:
        raise UnknownNameError("class weighting", class_weight, WEIGHTS)
    unable = [head.name for head in heads if not head.weighs]
    for name in unable:
        if name not in HEADS:
            raise InputError(
                f"head '{name}' has no parameter class_weight: leave it out, or --class-weight"
            )
    if len(unable) == len(heads):
        raise InputError(
            f"none of the heads {', '.join(unable)} can weigh classes: add logreg, linear_svm,"
            " lda, svm_rbf or xgboost, or leave --class-weight out"
        )
    said = [name for name in unable if name != FLOOR]
    notes = [f"{', '.join(said)} cannot weigh classes and is fitted without --class-weight"]
    return [
        replace(head, grid=tuple({**s, "class_weight": class_weight} for s in head.grid))
        if head.weighs
        else head
        for head in heads
    ], notes if said else []


def _find(name: str) -> Head:
    if name in HEADS:
        return HEADS[name]
    if ":" in name:
        return imported(name)
    raise UnknownNameError(
        "head", name, HEADS, "Any classifier of scikit-learn goes by module:Class."
    )
