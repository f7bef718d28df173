"""The table of all out-of-fold predictions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cxrfeat.evaluation.outcome.out_of_fold import OutOfFold
from cxrfeat.evaluation.statistics.metrics import decide


def predictions_table(found: OutOfFold) -> tuple[list[str], list[list[object]]]:
    """Header and rows of ``predictions.csv``: every image out of fold, for all pairs."""
    classes = found.study.classes
    header = ["id", "extractor", "head", "repeat", "fold", "label", "predicted"]
    header += [] if found.exclusive else ["unknown"]
    header += [f"p_{name}" for name in classes]
    unknown = np.isnan(found.truth)
    rows: list[list[object]] = []
    for (extractor, head), of_folds in found.outcomes.items():
        for fold, outcome in zip(found.folds, of_folds, strict=True):
            called = decide(np.nan_to_num(outcome.probability), found.exclusive, outcome.cuts)
            for row, decision, p in zip(fold.test, called, outcome.probability, strict=True):
                rows.append(
                    [
                        found.study.ids[row], extractor, head, fold.repeat, fold.name,
                        _joined(classes, found.truth[row] == 1), _joined(classes, decision),
                        *([] if found.exclusive else [_joined(classes, unknown[row])]),
                        *(f"{value:.6g}" if np.isfinite(value) else "" for value in p),
                    ]
                )  # fmt: skip
    return header, rows


def _joined(classes: Sequence[str], held: npt.NDArray[np.bool_]) -> str:
    return "|".join(name for name, one in zip(classes, held, strict=True) if one)
