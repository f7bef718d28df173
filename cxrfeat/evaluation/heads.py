"""The heads: one entry each. A head is a scikit-learn estimator and a fast way along its grid.

The estimator is what a model file holds and the reference for the scores; the path gives the
same scores for many settings and folds at once, from work that they share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from sklearn.base import clone, is_classifier
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from cxrfeat.errors import InputError, UnknownNameError
from cxrfeat.estimators import BlockScaler, BoostedTrees, raw_scores
from cxrfeat.evaluation.boosting import boosting_path
from cxrfeat.evaluation.kernels import knn_path, svm_rbf_path
from cxrfeat.evaluation.linear import lda_path, linear_svm_path, logistic_path
from cxrfeat.evaluation.shared import Rows, SharedFold

Setting = dict[str, Any]
Matrix = npt.NDArray[np.float64]


class Path(Protocol):
    """A fast way along the grid of a head."""

    def __call__(
        self,
        fold: SharedFold,
        y: npt.NDArray[np.intp],
        pairs: Sequence[tuple[Rows, Rows]],
        settings: Sequence[Setting],
        seed: int,
    ) -> list[Matrix]:
        """Score held-out rows for every setting, from a fold's shared work.

        For each pair of rows to fit and rows to score, an array of shape (settings, rows, K).
        """
        ...


class Factory(Protocol):
    """What makes the classifier of a head."""

    def __call__(self, s: Setting, n: int, seed: int, widths: Sequence[int] = (), /) -> Any:
        """Make an unfitted scikit-learn classifier for n training rows, its scaling included.

        `widths` are the dimensions of the extractors that stand side by side, if there are
        several: a classifier that scales its input gives them the same weight.
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
    """

    name: str
    what: str
    grid: tuple[Setting, ...]
    estimator: Factory
    path: Path
    gives: Literal["probabilities", "decisions"] = "probabilities"
    inner: int = 3


def dummy_path(
    fold: SharedFold,
    y: npt.NDArray[np.intp],
    pairs: Sequence[tuple[Rows, Rows]],
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


def _grid(name: str, *values: float) -> tuple[Setting, ...]:
    return tuple({name: value} for value in values)


FLOOR = "dummy"
"""The head that every other has to beat."""

HEADS: dict[str, Head] = {
    head.name: head
    for head in (
        Head(
            "logreg",
            "multinomial logistic regression, L2",
            _grid("C", 1e-4, 1e-3, 1e-2, 1e-1, 1.0),
            lambda s, n, seed, widths=(): _scaled(
                widths, LogisticRegression(C=s["C"], max_iter=5000)
            ),
            logistic_path,
        ),
        Head(
            "linear_svm",
            "linear support vector machine, one against the rest",
            _grid("C", 1e-5, 1e-4, 1e-3, 1e-2, 1e-1),
            lambda s, n, seed, widths=(): _scaled(
                widths, LinearSVC(C=s["C"], dual="auto", max_iter=20_000, random_state=seed)
            ),
            linear_svm_path,
            "decisions",
        ),
        Head(
            "lda",
            "linear discriminant analysis with a shrunk covariance",
            _grid("shrinkage", 0.9, 0.5, 0.2, 0.05, 0.01),
            lambda s, n, seed, widths=(): _scaled(
                widths, LinearDiscriminantAnalysis(solver="lsqr", shrinkage=s["shrinkage"])
            ),
            lda_path,
        ),
        Head(
            "knn",
            "k nearest neighbours by cosine",
            _grid("n_neighbors", 41, 21, 11, 5, 3),
            lambda s, n, seed, widths=(): _scaled(
                widths,
                KNeighborsClassifier(min(s["n_neighbors"], n), metric="cosine", algorithm="brute"),
            ),
            knn_path,
        ),
        Head(
            "svm_rbf",
            "support vector machine with a Gaussian kernel",
            _grid("C", 0.1, 1.0, 10.0, 100.0, 1000.0),
            lambda s, n, seed, widths=(): _scaled(
                widths, SVC(C=s["C"], gamma="scale", cache_size=500)
            ),
            svm_rbf_path,
            "decisions",
        ),
        Head(
            "xgboost",
            "gradient-boosted trees",
            _grid("n_estimators", 10, 25, 50, 75, 100),
            lambda s, n, seed, widths=(): BoostedTrees(s["n_estimators"], seed),
            boosting_path,
            inner=1,
        ),
        Head(
            FLOOR,
            "the share of each class, whatever the image: the floor",
            ({},),
            lambda s, n, seed, widths=(): DummyClassifier(strategy="prior"),
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

    def estimator(setting: Setting, n: int, seed: int, widths: Sequence[int] = (), /) -> Any:
        classifier = clone(example)
        seeds = [n for n in classifier.get_params() if n.split("__")[-1] == "random_state"]
        return _scaled(widths, classifier.set_params(**dict.fromkeys(seeds, seed)))

    def path_of(
        fold: SharedFold,
        y: npt.NDArray[np.intp],
        pairs: Sequence[tuple[Rows, Rows]],
        settings: Sequence[Setting],
        seed: int,
    ) -> list[Matrix]:
        results = []
        for fit, val in pairs:
            fitted = estimator({}, len(fit), seed, fold.widths).fit(fold.raw[fit], y[fit])
            results.append(raw_scores(fitted, gives, fold.raw[val])[None])
        return results

    what = f"{name} with its {'default' if isinstance(kind, type) else 'own'} setting"
    return Head(path, what, ({},), estimator, path_of, gives)
