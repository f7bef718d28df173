"""Heads on the largest principal components of the embeddings: ``pca+HEAD``, ``pca100+HEAD``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from cxrfeat.arrays import Matrix, RowNumbers
from cxrfeat.estimators import BLOCK, PrincipalComponents
from cxrfeat.evaluation.heads.head import Head, fill_scaling, scaled
from cxrfeat.evaluation.heads.standardised_fold import SharedFold
from cxrfeat.evaluation.heads.task import Pairs, Setting, Task

COMPONENTS = 64
"""Components that a head gets where its name says no number."""

_NAME = re.compile(r"pca(\d*)\+(.+)")
_SETTING = "n_components"


def split_name(name: str) -> tuple[int, str]:
    """Split ``pca100+logreg`` into 100 and ``logreg``; 0 components for a head on all channels."""
    found = _NAME.fullmatch(name)
    return (int(found[1] or COMPONENTS), found[2]) if found else (0, name)


@dataclass(frozen=True)
class _OnComponents:
    """A head behind a decomposition, as the factory, path and solver of another.

    The decomposition is one of the rows to fit on alone, inside the inner folds, too; no label has
    a part in it, so that labels that know other rows share it. Embeddings are scaled before it,
    and its components again by the head.
    """

    head: Head
    n_components: int

    def estimator(
        self, setting: Setting, n: int, seed: int, widths: Sequence[int] = (), n_classes: int = 2, /
    ) -> Any:
        """Make an unfitted classifier with its scaling and decomposition; a `Factory`."""
        last = self.head.estimator(_own(setting), n, seed, (), n_classes)
        # One that brings its own scaling fits it on the rows that it learns from: it is one step.
        steps = [last] if self.head.own_scaling else _steps(last)
        return scaled(widths, PrincipalComponents(self.n_components), *steps)

    def path(
        self,
        fold: SharedFold,
        task: Task,
        pairs: Pairs,
        settings: Sequence[Sequence[Setting]],
        seed: int,
    ) -> list[Matrix]:
        """Decompose the rows to fit on of each pair anew; a `Path`."""
        own = [[_own(setting) for setting in of_label] for of_label in settings]
        scores = []
        for fit, val in pairs:
            _, projected = self._projected(fold, fit)
            scores += self.head.path(projected, task, [(fit, val)], own, seed)
        return scores

    def fit_large(
        self, fold: SharedFold, task: Task, settings: Sequence[Setting], seed: int
    ) -> list[Any]:
        """Fit with the solver of the head; a `FitLarge`."""
        assert self.head.fit_large is not None
        components, projected = self._projected(fold, fold.train)
        own = [_own(setting) for setting in settings]
        fitted = []
        for last in self.head.fit_large(projected, task, own, seed):
            estimator = scaled(fold.widths, components, *_steps(last))
            fill_scaling(estimator, fold)
            fitted.append(estimator)
        return fitted

    def _projected(
        self, fold: SharedFold, fit: RowNumbers
    ) -> tuple[PrincipalComponents, SharedFold]:
        components = PrincipalComponents(self.n_components).fit(fold.X[fit])
        rows = np.empty((len(fold.rows), len(components.components_)), np.float32)
        for start in range(0, len(rows), BLOCK):
            block = slice(start, start + BLOCK)
            rows[block] = components.transform(fold.X[block])
        return components, SharedFold(rows, fold.train, fold.test)


def on_components(head: Head, n_components: int, name: str) -> Head:
    """Put a decomposition before a head; its settings name the number of components.

    There are fewer components where there are fewer rows to fit on, or fewer channels.
    """
    both = _OnComponents(head, n_components)
    return replace(
        head,
        name=name,
        what=f"{head.what}, on the {n_components} largest principal components",
        grid=tuple({_SETTING: n_components, **setting} for setting in head.grid),
        estimator=both.estimator,
        path=both.path,
        fit_large=None if head.fit_large is None else both.fit_large,
        own_scaling=False,
    )


def stated(heads: Sequence[Head], n_train: int) -> list[str]:
    """Say how many components heads get, for the notes of a run."""
    numbers = {name: n for name in (head.name for head in heads) if (n := split_name(name)[0])}
    return [
        f"{name}: on the {min(n, n_train)} largest principal components of the training images of"
        " each fold (fewer where embeddings have fewer numbers)"
        for name, n in numbers.items()
    ]


def _own(setting: Setting) -> Setting:
    return {name: value for name, value in setting.items() if name != _SETTING}


def _steps(estimator: Any) -> list[Any]:
    return [step for _, step in estimator.steps] if isinstance(estimator, Pipeline) else [estimator]
