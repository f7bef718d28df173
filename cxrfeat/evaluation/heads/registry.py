"""The heads: one entry each. What a head consists of says `cxrfeat.evaluation.heads.head`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.dummy import DummyClassifier

from cxrfeat.arrays import Matrix
from cxrfeat.errors import InputError, UnknownNameError
from cxrfeat.estimators import BoostedTrees, GaussianLandmarks
from cxrfeat.evaluation.heads.boosting import boosted_trees, boosting_path
from cxrfeat.evaluation.heads.head import Head, weight_of
from cxrfeat.evaluation.heads.imported import from_object, imported
from cxrfeat.evaluation.heads.kernel_estimators import (
    fit_knn,
    fit_svm_rbf_nystroem,
    knn,
    svm_rbf,
    svm_rbf_nystroem,
)
from cxrfeat.evaluation.heads.kernels import knn_path, svm_rbf_nystroem_path, svm_rbf_path
from cxrfeat.evaluation.heads.linear import lda_path, linear_svm_path, logistic_path
from cxrfeat.evaluation.heads.linear_estimators import (
    fit_lda,
    fit_linear_svm,
    fit_logistic,
    lda,
    linear_svm,
    logistic_regression,
)
from cxrfeat.evaluation.heads.principal import on_components, split_name, stated
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

APPROXIMATE = "svm_rbf_nystroem"
"""What stands for ``svm_rbf`` where there are too many training rows for it."""

EXACT = 6000
"""Training rows up to which ``svm_rbf`` is exact; its time and memory grow with their square."""

HEADS: dict[str, Head] = {
    head.name: head
    for head in (
        Head(
            "logreg",
            "multinomial logistic regression, L2",
            _grid("C", 1e-4, 1e-3, 1e-2, 1e-1, 1.0),
            logistic_regression,
            logistic_path,
            weighs=True,
            fit_large=fit_logistic,
        ),
        Head(
            "linear_svm",
            "linear support vector machine, one against the rest",
            _grid("C", 1e-5, 1e-4, 1e-3, 1e-2, 1e-1),
            linear_svm,
            linear_svm_path,
            "decisions",
            weighs=True,
            fit_large=fit_linear_svm,
        ),
        Head(
            "lda",
            "linear discriminant analysis with a shrunk covariance",
            _grid("shrinkage", 0.9, 0.5, 0.2, 0.05, 0.01),
            lda,
            lda_path,
            weighs=True,
            fit_large=fit_lda,
        ),
        Head(
            "knn",
            "k nearest neighbours by cosine",
            _grid("n_neighbors", 41, 21, 11, 5, 3),
            knn,
            knn_path,
            fit_large=fit_knn,
        ),
        Head(
            "svm_rbf",
            "support vector machine with a Gaussian kernel",
            _grid("C", 0.1, 1.0, 10.0, 100.0, 1000.0),
            svm_rbf,
            svm_rbf_path,
            "decisions",
            weighs=True,
        ),
        Head(
            APPROXIMATE,
            "support vector machine with a Gaussian kernel, approximated on random training images",
            _grid("C", 0.01, 0.03, 0.1, 0.3, 1.0),
            svm_rbf_nystroem,
            svm_rbf_nystroem_path,
            "decisions",
            inner=2,
            weighs=True,
            fit_large=fit_svm_rbf_nystroem,
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
            large=0,
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


def find_heads(names: Sequence[Any] | None) -> list[Head]:
    """Look heads up by name or import path (``module:Class``), either also behind ``pca+``.

    An unfitted classifier is a head as it is.

    For None all named ones, but for the approximation of another: see `for_size`.

    Raises
    ------
    UnknownNameError
        Names the nearest valid ones.
    InputError
        An import path that leads to no classifier, or an object that is none.
    """
    if names is None:
        return [head for head in HEADS.values() if head.name != APPROXIMATE]
    found = [_find(one) if isinstance(one, str) else from_object(one) for one in names]
    return list({head.name: head for head in found}.values())


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


def for_size(heads: Sequence[Head], n_train: int) -> tuple[list[Head], list[str]]:
    """Put heads that can be run in the place of those that cannot with so many images.

    Parameters
    ----------
    n_train : int
        Training rows of the largest fold.

    Returns
    -------
    heads : list of Head
    notes : list of str
        What was approximated.
    """
    components = stated(heads, n_train)
    if n_train <= EXACT or not any(split_name(head.name)[1] == "svm_rbf" for head in heads):
        return list(heads), components
    fitting: dict[str, Head] = {}
    for head in heads:
        if split_name(head.name)[1] == "svm_rbf":
            name = head.name.removesuffix("svm_rbf") + APPROXIMATE
            (head,), _ = weighted([_find(name)], weight_of(head.grid[0]))
        fitting.setdefault(head.name, head)
    note = (
        f"svm_rbf: {n_train:,} training images are more than {EXACT:,}; it is approximated on"
        f" {GaussianLandmarks().n_landmarks:,} of them, drawn at random ({APPROXIMATE})"
    )
    return list(fitting.values()), [*components, note]


def _find(name: str) -> Head:
    if name in HEADS:
        return HEADS[name]
    n_components, base = split_name(name)
    if n_components and base != FLOOR:
        return on_components(_find(base), n_components, name)
    if ":" in name:
        return imported(name)
    raise UnknownNameError(
        "head",
        name,
        HEADS,
        "Any classifier of scikit-learn goes by module:Class, and pca+NAME is NAME on principal"
        " components.",
    )
