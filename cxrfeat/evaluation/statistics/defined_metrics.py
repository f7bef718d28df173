"""Which metrics the folds of a study define: said before any work."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cxrfeat.arrays import RowNumbers
from cxrfeat.errors import InputError
from cxrfeat.evaluation.statistics.metrics import Metric, all_scores
from cxrfeat.evaluation.study.folds import Fold
from cxrfeat.evaluation.study.study import Study


def check_defined(study: Study, folds: Sequence[Fold], primary: Metric) -> list[str]:
    """Say before any work what the folds cannot teach, or leave undefined.

    Returns
    -------
    list of str
        A note on metrics that the test images of some folds leave undefined.

    Raises
    ------
    InputError
        Training images of one class, or a primary metric that no fold defines, such as AUROC on
        test images of one class.
    """
    exclusive = study.kind == "multiclass"
    if exclusive:
        _refuse_one_class_to_learn(study, folds)
    undefined: dict[str, list[str]] = {}
    for fold in folds:
        truth = study.labels[fold.test].astype(np.float64)
        # Whether a score exists is for the truth to decide, so any prediction will do.
        for name, score in all_scores(truth, np.full(truth.shape, 0.75), exclusive).items():
            if np.isnan(score):
                undefined.setdefault(name, []).append(fold.name)
    nowhere = [name for name, where in undefined.items() if len(where) == len(folds)]
    if primary.name in nowhere:
        tested = np.unique(np.concatenate([fold.test for fold in folds]))
        raise InputError(
            f"{primary.title} is not defined: {_what_lacks(study, tested, len(folds))}; add images"
            + (" of another class" if exclusive else " with and without the label")
            + (", or give --metric accuracy" if "accuracy" not in nowhere else "")
        )
    return [
        f"not defined on the test images of {', '.join(where[:3])}"
        f"{', ...' if len(where) > 3 else ''}: {', '.join(names)}"
        for where, names in _by_folds(undefined)
    ]


def _refuse_one_class_to_learn(study: Study, folds: Sequence[Fold]) -> None:
    for fold in folds:
        present = np.unique(study.y[fold.train])
        if len(present) < 2:
            raise InputError(
                f"the {len(fold.train)} training images of '{fold.name}' are all of one class"
                f" ('{study.classes[int(present[0])]}'): there is nothing to learn; add images of"
                " another class"
            )


def _what_lacks(study: Study, tested: RowNumbers, folds: int) -> str:
    present = [name for k, name in enumerate(study.classes) if (study.labels[tested, k] == 1).any()]
    where = f"the {len(tested)} test images" + (" of every fold" if folds > 1 else "")
    if study.kind == "multiclass":
        named = f" ('{present[0]}')" if len(present) == 1 else ""
        return f"{where} are all of one class{named}"
    return f"{where} have no label both positive and negative"


def _by_folds(undefined: dict[str, list[str]]) -> list[tuple[list[str], list[str]]]:
    """Metrics that are undefined on the same folds, together."""
    together: dict[tuple[str, ...], list[str]] = {}
    for name, where in undefined.items():
        together.setdefault(tuple(where), []).append(name)
    return [(list(where), names) for where, names in together.items()]
