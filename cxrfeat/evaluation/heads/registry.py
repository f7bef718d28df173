"""The heads: one entry each. A head is a scikit-learn estimator and a fast way along its grid.

The estimator is what a model file holds and the reference for the scores; the path gives the
same scores for many settings and folds at once, from work that they share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from sklearn.base import clone, is_classifier
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from cxrfeat.arrays import Matrix, Matrix32, RowNumbers
from cxrfeat.errors import InputError, UnknownNameError
from cxrfeat.estimators import BlockScaler, BoostedTrees, raw_scores
from cxrfeat.evaluation.heads.boosting import boosting_path
from cxrfeat.evaluation.heads.kernels import knn_path, svm_rbf_path
from cxrfeat.evaluation.heads.linear import lda_path, linear_svm_path, logistic_path
from cxrfeat.evaluation.heads.standardised_fold import SharedFold, gaussian_width

Setting = dict[str, Any]


class Path(Protocol):
    """A fast way along the grid of a head."""

    def __call__(
        self,
        fold: SharedFold,
        y: npt.NDArray[np.intp],
        pairs: Sequence[tuple[RowNumbers, RowNumbers]],
        settings: Sequence[Setting],
        seed: int,
    ) -> list[Matrix]:
        """Score held-out rows for every setting, from a fold's shared work.

        For each pair of rows to fit and rows to score, an array of shape (settings, rows, K).
        """
        ...


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
    """

    name: str
    what: str
    grid: tuple[Setting, ...]
    estimator: Factory
    path: Path
    gives: Literal["probabilities", "decisions"] = "probabilities"
    inner: int = 3
    weighs: bool = False


def dummy_path(
    fold: SharedFold,
    y: npt.NDArray[np.intp],
    pairs: Sequence[tuple[RowNumbers, RowNumbers]],
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


def _scaled(widths: Sequence[int], classifier: Any) -> Any:
    blocks = [BlockScaler(list(widths))] if len(widths) > 1 else []
    return make_pipeline(StandardScaler(), *blocks, classifier)


def fit_estimator(estimator: Any, X: Matrix32, known: RowNumbers, y: npt.NDArray[np.intp]) -> Any:
    """Fit what a head's factory made: scaled by all rows, taught on those of known label.

    A scale needs no label. The paths scale a fold once, by all its training rows, whichever of
    them know this or that label; scaled by the known rows alone, the classifier that is saved
    would be another than the one that was scored.

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
    if not isinstance(estimator, Pipeline):
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


def _weight(setting: Setting) -> str | None:
    return setting.get("class_weight")


def _priors(setting: Setting, n_classes: int) -> list[float] | None:
    """Discriminant analysis has no weights: equal priors do the same to its classes."""
    return [1 / n_classes] * n_classes if _weight(setting) else None


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
            lambda s, n, seed, widths=(), k=2: _scaled(
                widths, LogisticRegression(C=s["C"], max_iter=5000, class_weight=_weight(s))
            ),
            logistic_path,
            weighs=True,
        ),
        Head(
            "linear_svm",
            "linear support vector machine, one against the rest",
            _grid("C", 1e-5, 1e-4, 1e-3, 1e-2, 1e-1),
            lambda s, n, seed, widths=(), k=2: _scaled(
                widths,
                LinearSVC(
                    C=s["C"],
                    dual="auto",
                    max_iter=20_000,
                    random_state=seed,
                    class_weight=_weight(s),
                ),
            ),
            linear_svm_path,
            "decisions",
            weighs=True,
        ),
        Head(
            "lda",
            "linear discriminant analysis with a shrunk covariance",
            _grid("shrinkage", 0.9, 0.5, 0.2, 0.05, 0.01),
            lambda s, n, seed, widths=(), k=2: _scaled(
                widths,
                LinearDiscriminantAnalysis(
                    solver="lsqr", shrinkage=s["shrinkage"], priors=_priors(s, k)
                ),
            ),
            lda_path,
            weighs=True,
        ),
        Head(
            "knn",
            "k nearest neighbours by cosine",
            _grid("n_neighbors", 41, 21, 11, 5, 3),
            lambda s, n, seed, widths=(), k=2: _scaled(
                widths,
                KNeighborsClassifier(min(s["n_neighbors"], n), metric="cosine", algorithm="brute"),
            ),
            knn_path,
        ),
        Head(
            "svm_rbf",
            "support vector machine with a Gaussian kernel",
            _grid("C", 0.1, 1.0, 10.0, 100.0, 1000.0),
            lambda s, n, seed, widths=(), k=2: _scaled(
                widths, SVC(C=s["C"], gamma="scale", cache_size=500, class_weight=_weight(s))
            ),
            svm_rbf_path,
            "decisions",
            weighs=True,
        ),
        Head(
            "xgboost",
            "gradient-boosted trees",
            _grid("n_estimators", 10, 25, 50, 75, 100),
            lambda s, n, seed, widths=(), k=2: BoostedTrees(s["n_estimators"], seed, _weight(s)),
            boosting_path,
            inner=1,
            weighs=True,
        ),
        Head(
            FLOOR,
            "the share of each class, whatever the image: the floor",
            ({},),
            lambda s, n, seed, widths=(), k=2: DummyClassifier(strategy="prior"),
            dummy_path,
        ),
    )
}


def named(names: Sequence[str] | None) -> list[Head]:
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
    return [_named(name) for name in dict.fromkeys(names)]


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


def _named(name: str) -> Head:
    if name in HEADS:
        return HEADS[name]
    if ":" in name:
        return imported(name)
    raise UnknownNameError(
        "head", name, HEADS, "Any classifier of scikit-learn goes by module:Class."
    )


def imported(path: str) -> Head:
    """Make a head of a scikit-learn classifier by its import path, with its setting.

    Parameters
    ----------
    path
        ``module:Class`` for a class with its default setting, or ``module:name`` for an unfitted
        classifier, such as a pipeline with a PCA.

    Raises
    ------
    InputError
        No such module or name, or not a classifier.
    """
    module, _, name = path.partition(":")
    try:
        kind = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"head '{path}' cannot be imported ({error}): give module:Class, e.g."
            " sklearn.ensemble:ExtraTreesClassifier; a module of your own has to be on PYTHONPATH"
        ) from error
    if not all(hasattr(kind, m) for m in ("fit", "get_params")):
        raise InputError(f"head '{path}' is not a scikit-learn classifier: it has no fit")
    try:
        example = kind() if isinstance(kind, type) else clone(kind)
    except TypeError as error:
        raise InputError(f"head '{path}' needs arguments ({error}): give another") from error
    if not is_classifier(example):
        raise InputError(f"head '{path}' is not a classifier")
    gives: Literal["probabilities", "decisions"]
    if hasattr(example, "predict_proba"):
        gives = "probabilities"
    elif hasattr(example, "decision_function"):
        gives = "decisions"
    else:
        raise InputError(f"head '{path}' gives neither probabilities nor decision scores")

    def parameters(wanted: str) -> list[str]:
        return [name for name in example.get_params() if name.split("__")[-1] == wanted]

    def estimator(
        setting: Setting, n: int, seed: int, widths: Sequence[int] = (), n_classes: int = 2, /
    ) -> Any:
        given: dict[str, Any] = dict.fromkeys(parameters("random_state"), seed)
        if weight := _weight(setting):
            given.update(dict.fromkeys(parameters("class_weight"), weight))
        return _scaled(widths, clone(example).set_params(**given))

    def path_of(
        fold: SharedFold,
        y: npt.NDArray[np.intp],
        pairs: Sequence[tuple[RowNumbers, RowNumbers]],
        settings: Sequence[Setting],
        seed: int,
    ) -> list[Matrix]:
        results = []
        for fit, val in pairs:
            unfitted = estimator(settings[0], len(fit), seed, fold.widths)
            fitted = fit_estimator(unfitted, fold.raw[fold.train], fit, y)
            results.append(raw_scores(fitted, gives, fold.raw[val])[None])
        return results

    what = f"{name} with its {'default' if isinstance(kind, type) else 'own'} setting"
    weighs = bool(parameters("class_weight"))
    return Head(path, what, ({},), estimator, path_of, gives, weighs=weighs)
