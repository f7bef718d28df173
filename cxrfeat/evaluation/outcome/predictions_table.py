"""The table of all out-of-fold predictions, written block by block.

112,120 images, 14 labels, three extractors and seven heads are 2.4 million rows and 33 million
probabilities: the text is made column by column, for one fold of one extractor and head at a time.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from types import SimpleNamespace

import numpy as np

from cxrfeat.arrays import Matrix
from cxrfeat.evaluation.outcome.label_texts import label_texts
from cxrfeat.evaluation.outcome.out_of_fold import OutOfFold
from cxrfeat.evaluation.statistics.metrics import decide

PREDICTIONS = "predictions.csv"
PACKED = f"{PREDICTIONS}.gz"
LARGE = 500_000
"""Rows beyond which the table is packed: about 100 MB of text with 14 labels."""


def predictions_name(found: OutOfFold) -> str:
    """Name the file of the table: `PREDICTIONS`, or `PACKED` where it is large."""
    rows = len(found.outcomes) * sum(len(fold.test) for fold in found.folds)
    return PACKED if rows > LARGE else PREDICTIONS


def predictions_csv(found: OutOfFold) -> Iterator[str]:
    """Write every image out of fold, for all pairs of extractor and head.

    Yields
    ------
    str
        The header, then the rows of one fold of one pair at a time.
    """
    classes = found.study.classes
    header = ["id", "extractor", "head", "repeat", "fold", "label", "predicted"]
    header += [] if found.exclusive else ["unknown"]
    yield ",".join(_cells([*header, *(f"p_{name}" for name in classes)])) + "\n"
    ids = np.array(_cells(found.study.ids), dtype=object)
    labels = np.array(_cells(label_texts(classes, found.truth == 1)), dtype=object)
    unknown = np.array(_cells(label_texts(classes, np.isnan(found.truth))), dtype=object)
    for (extractor, head), of_folds in found.outcomes.items():
        for fold, outcome in zip(found.folds, of_folds, strict=True):
            where = _cells([extractor, head, str(fold.repeat), fold.name])
            called = decide(np.nan_to_num(outcome.probability), found.exclusive, outcome.cuts)
            columns = [
                ids[fold.test],
                [",".join(where)] * len(fold.test),
                labels[fold.test],
                _cells(label_texts(classes, called)),
                *([] if found.exclusive else [unknown[fold.test]]),
                _numbers(outcome.probability),
            ]
            yield "".join(f"{','.join(row)}\n" for row in zip(*columns, strict=True))


def _cells(values: Iterable[str]) -> list[str]:
    """Write texts as cells of a CSV file, quoted where they have to be."""
    written: list[str] = []
    # A second, blank cell: alone on its line, a blank cell would be quoted.
    csv.writer(SimpleNamespace(write=written.append), lineterminator="\n").writerows(
        (value, "") for value in values
    )
    return [line.removesuffix(",\n") for line in written]


def _numbers(p: Matrix) -> list[str]:
    """Write rows of probabilities to six digits, blank where there is none."""
    form = ",".join(["%.6g"] * p.shape[1])
    finite = np.isfinite(p)
    if finite.all():
        return [form % tuple(row) for row in p.tolist()]
    known = np.where(finite, p, np.nan).tolist()
    return [(form % tuple(row)).replace("nan", "") for row in known]
