"""Heads from elsewhere: any scikit-learn classifier, by its import path or as an object."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import FunctionType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from sklearn.base import clone, is_classifier

from cxrfeat.arrays import Matrix
from cxrfeat.errors import InputError
from cxrfeat.estimators import raw_scores
from cxrfeat.evaluation.heads.head import Head, scaled, weight_of
from cxrfeat.evaluation.heads.standardised_fold import SharedFold
from cxrfeat.evaluation.heads.task import Pairs, Setting, Task, label_by_label

LONGEST_NAME = 100
"""Characters of a classifier's parameters that a head goes by; longer ones are digested."""


@dataclass(frozen=True)
class _Imported:
    """An unfitted classifier as the factory and the path of a head.

    Attributes
    ----------
    example
        Cloned for every fit.
    gives : "probabilities" or "decisions"
        Which of the two it has.
    """

    example: Any
    gives: Literal["probabilities", "decisions"]

    def parameters(self, wanted: str) -> list[str]:
        """List the parameters of a name, also those of a pipeline's steps."""
        return [name for name in self.example.get_params() if name.split("__")[-1] == wanted]

    def estimator(
        self, setting: Setting, n: int, seed: int, widths: Sequence[int] = (), n_classes: int = 2, /
    ) -> Any:
        """Make an unfitted classifier with its scaling; a `Factory`."""
        given: dict[str, Any] = dict.fromkeys(self.parameters("random_state"), seed)
        if weight := weight_of(setting):
            given.update(dict.fromkeys(self.parameters("class_weight"), weight))
        return scaled(widths, clone(self.example).set_params(**given))

    def path(
        self,
        fold: SharedFold,
        task: Task,
        pairs: Pairs,
        settings: Sequence[Sequence[Setting]],
        seed: int,
    ) -> list[Matrix]:
        """Fit anew for every pair and label; a `Path`."""
        return label_by_label(self._fitted_anew)(fold, task, pairs, settings, seed)

    def _fitted_anew(
        self,
        fold: SharedFold,
        y: npt.NDArray[np.intp],
        pairs: Pairs,
        settings: Sequence[Setting],
        seed: int,
    ) -> list[Matrix]:
        results = []
        for fit, val in pairs:
            fitted = self.estimator(settings[0], len(fit), seed, fold.widths)
            fitted.fit(fold.raw(fit), y[fit])
            results.append(raw_scores(fitted, self.gives, fold.raw(val))[None])
        return results


def _made_by(function: Callable[[], Any], path: str) -> Any:
    """Call a function of the user's that makes a classifier."""
    try:
        return function()
    except Exception as error:  # whatever the user's own code makes of it
        raise InputError(
            f"head '{path}' is not a scikit-learn classifier, but a function that fails without"
            f" arguments ({error}): give one that returns an unfitted classifier"
        ) from error


def imported(path: str) -> Head:
    """Make a head of a scikit-learn classifier by its import path, with its setting.

    Parameters
    ----------
    path
        ``module:Class`` for a class with its default setting, or ``module:name`` for an unfitted
        classifier, such as a pipeline with a PCA, or for a function that makes one.

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
    if isinstance(kind, FunctionType):
        kind = _made_by(kind, path)
    if not all(hasattr(kind, m) for m in ("fit", "get_params")):
        raise InputError(f"head '{path}' is not a scikit-learn classifier: it has no fit")
    try:
        example = kind() if isinstance(kind, type) else clone(kind)
    except TypeError as error:
        raise InputError(f"head '{path}' needs arguments ({error}): give another") from error
    setting = "default" if isinstance(kind, type) else "own"
    return _made(path, example, f"{name} with its {setting} setting")


def from_object(classifier: Any) -> Head:
    """Make a head of an unfitted scikit-learn classifier, with its setting.

    It goes by its module, class and parameters, as in
    ``sklearn.linear_model._logistic:LogisticRegression(C=0.5)``.

    Raises
    ------
    InputError
        Not a classifier, or the class of one.
    """
    kind = type(classifier)
    if not all(hasattr(classifier, m) for m in ("fit", "get_params")) or kind is type:
        raise InputError(
            f"head {classifier!r} is neither a name nor a scikit-learn classifier: give e.g."
            " LogisticRegression(), or the name logreg"
        )
    said = " ".join(repr(classifier).split())
    if len(said) > LONGEST_NAME:
        parameters = pickle.dumps(classifier)
        said = f"{kind.__name__}({hashlib.sha256(parameters).hexdigest()[:8]})"
    name = f"{kind.__module__}:{said}"
    return _made(name, clone(classifier), f"{kind.__name__} with its own setting")


def _made(name: str, example: Any, what: str) -> Head:
    """Make a head of an unfitted classifier."""
    if not is_classifier(example):
        raise InputError(f"head '{name}' is not a classifier")
    gives: Literal["probabilities", "decisions"]
    if hasattr(example, "predict_proba"):
        gives = "probabilities"
    elif hasattr(example, "decision_function"):
        gives = "decisions"
    else:
        raise InputError(f"head '{name}' gives neither probabilities nor decision scores")

    found = _Imported(example, gives)
    weighs = bool(found.parameters("class_weight"))
    return Head(
        name, what, ({},), found.estimator, found.path, gives, weighs=weighs, own_scaling=True
    )
