"""The table of all out-of-fold predictions, read again in blocks of rows."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from cxrfeat.arrays import Matrix
from cxrfeat.evaluation.outcome.predictions_table import PACKED, PREDICTIONS
from cxrfeat.evaluation.study.folds import Fold
from cxrfeat.tables import read_blocks

BLOCK = 2_000
"""Rows held as text at a time: some 4 MB with 14 labels."""

Pair = tuple[str, str]
Columns = Mapping[str, Sequence[str]]


def read_predictions(
    folder: Path,
    classes: Sequence[str],
    ids: Sequence[str],
    folds: Sequence[Fold],
    wanted: Collection[Pair],
) -> tuple[Matrix, dict[Pair, list[Matrix]]]:
    """Read the predictions of some extractors and heads, and the truth.

    Returns
    -------
    truth : ndarray, shape (N, K)
        1 or 0 per class; NaN where unknown, or where no fold tests the image.
    probabilities : dict
        By extractor and head: per fold, of its test rows, shape (n, K).

    Raises
    ------
    InputError
        No such table, or one that is not whole.
    KeyError, ValueError
        A table that is not of these images and folds.
    """
    packed = folder / PACKED
    path = packed if packed.is_file() else folder / PREDICTIONS
    row_of = {id_: row for row, id_ in enumerate(ids)}
    fold_of = {(fold.name, str(fold.repeat)): number for number, fold in enumerate(folds)}
    places = [np.full(len(ids), -1, dtype=np.intp) for _ in folds]
    for place, fold in zip(places, folds, strict=True):
        place[fold.test] = np.arange(len(fold.test))
    truth = np.full((len(ids), len(classes)), np.nan)
    found: dict[Pair, list[Matrix]] = {}
    texts: dict[tuple[str, str], Matrix] = {}
    for block in read_blocks(path, BLOCK):
        for pair, of_fold, part in _runs(block):
            number = fold_of[of_fold]
            if pair not in wanted:
                continue
            if pair not in found:
                found[pair] = [np.full((len(fold.test), len(classes)), np.nan) for fold in folds]
            rows = np.array([row_of[id_] for id_ in block["id"][part]], dtype=np.intp)
            place = places[number][rows]
            if (place < 0).any():
                raise ValueError(f"an image is not tested in {of_fold[0]}")
            for k, name in enumerate(classes):
                cells = block[f"p_{name}"][part]
                found[pair][number][place, k] = [float(cell or "nan") for cell in cells]
            truth[rows] = _truth(block, part, classes, texts)
    if missing := [pair for pair in wanted if pair not in found]:
        raise ValueError(f"no predictions of {' with '.join(missing[0])}")
    return truth, found


def _runs(block: Columns) -> Iterator[tuple[Pair, tuple[str, str], slice]]:
    """Cut a block where the extractor, the head or the fold changes."""
    names = ("extractor", "head", "fold", "repeat")
    keys = list(zip(*(block[name] for name in names), strict=True))
    edges = [place for place, (one, next_) in enumerate(pairwise(keys), 1) if one != next_]
    for start, stop in pairwise([0, *edges, len(keys)]):
        extractor, head, fold, repeat = keys[start]
        yield (extractor, head), (fold, repeat), slice(start, stop)


def _truth(
    block: Columns,
    part: slice,
    classes: Sequence[str],
    texts: dict[tuple[str, str], Matrix],
) -> Matrix:
    """Turn the columns ``label`` and ``unknown`` into 1, 0 and NaN; `texts` keeps what is known."""
    labels = block["label"][part]
    unknown = block["unknown"][part] if "unknown" in block else [""] * len(labels)
    pairs = list(zip(labels, unknown, strict=True))
    for pair in set(pairs).difference(texts):
        held, blank = (set(text.split("|")) if text not in classes else {text} for text in pair)
        texts[pair] = np.array(
            [np.nan if name in blank else float(name in held) for name in classes]
        )
    return np.array([texts[pair] for pair in pairs])
