"""The out-of-fold predictions of a run, read again from its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrfeat.arrays import Matrix
from cxrfeat.errors import FileFormatError, InputError
from cxrfeat.evaluation.study.folds import Fold
from cxrfeat.results.data import FORMAT, FORMAT_VERSION, intervals_over
from cxrfeat.tables import read_table


@dataclass(frozen=True)
class SavedRun:
    """What `fit` left in its folder.

    Attributes
    ----------
    results : dict
        ``results.json``.
    ids : list of str, length N
    patients : ndarray of int, shape (N,), or None
        A number for the patient of each image; None where patients are not known.
    folds : list of Fold
    truth : ndarray, shape (N, K)
        1 or 0 per class; NaN where unknown, or where no fold tests the image.
    probabilities : dict
        By extractor and head: per fold, of its test rows, shape (n, K).
    cuts : dict
        By extractor and head: per fold, the probability above which each label is called, shape
        (K,); not used where classes exclude each other.
    """

    results: dict[str, Any]
    ids: list[str]
    patients: npt.NDArray[np.intp] | None
    folds: list[Fold]
    truth: Matrix
    probabilities: dict[tuple[str, str], list[Matrix]]
    cuts: dict[tuple[str, str], list[Matrix]]

    @property
    def exclusive(self) -> bool:
        """Whether exactly one class holds per image."""
        return bool(self.results["kind"] == "multiclass")


def read_run(folder: Path) -> SavedRun:
    """Read ``results.json``, ``splits.json`` and ``predictions.csv``.

    Raises
    ------
    InputError
        Not a folder, or without one of the files.
    FileFormatError
        Files that are damaged, of another version, or of different runs.
    """
    if not folder.is_dir():
        raise InputError(
            f"no run in {folder}: give a folder that cxrfeat fit wrote, e.g. runs/NAME"
        )
    results = read_results(folder / "results.json")
    splits = _json(folder / "splits.json")
    table = read_table(folder / "predictions.csv")
    try:
        ids = [str(id_) for id_ in splits["ids"]]
        folds = [
            Fold(
                str(entry["name"]),
                int(entry["repeat"]),
                np.array(entry["train"], dtype=np.intp),
                np.array(entry["test"], dtype=np.intp),
            )
            for entry in splits["folds"]
        ]
        patients = splits.get("patients")
        truth, probabilities = _predictions(table, results["classes"], ids, folds)
        cuts = _cuts(results)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise FileFormatError(
            f"the files of {folder} do not belong together or are damaged ({error}): run cxrfeat"
            " fit again"
        ) from error
    return SavedRun(
        results,
        ids,
        None if patients is None else np.array(patients, dtype=np.intp),
        folds,
        truth,
        probabilities,
        cuts,
    )


def read_results(path: Path) -> dict[str, Any]:
    """Read a ``results.json``.

    Raises
    ------
    InputError
        It is not there.
    FileFormatError
        It is damaged, of another version, or not ours.
    """
    results = _json(path)
    if (results.get("format"), results.get("format_version")) != (FORMAT, FORMAT_VERSION):
        raise FileFormatError(
            f"{path} is not of format {FORMAT} {FORMAT_VERSION}: make it with this version's"
            " cxrfeat fit"
        )
    return {"intervals": intervals_over(results), **results}


def _json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}): give a folder that cxrfeat fit wrote"
        ) from error
    except ValueError as error:
        raise FileFormatError(f"{path} is damaged: {error}") from error
    if not isinstance(document, dict):
        raise FileFormatError(f"{path} is damaged: not a JSON object")
    return document


AT_LEAST_HALF = float(np.nextafter(0.5, 0))
"""How labels were called before runs said where they call: from a probability of a half on."""


def _cuts(results: Mapping[str, Any]) -> dict[tuple[str, str], list[Matrix]]:
    every = np.full(len(results["classes"]), AT_LEAST_HALF)
    return {
        (score["extractor"], score["head"]): [
            np.array(fold.get("thresholds") or every, dtype=np.float64) for fold in score["folds"]
        ]
        for score in results["ranking"]
    }


def _predictions(
    table: Mapping[str, Sequence[str]],
    classes: Sequence[str],
    ids: Sequence[str],
    folds: Sequence[Fold],
) -> tuple[Matrix, dict[tuple[str, str], list[Matrix]]]:
    row_of = {id_: row for row, id_ in enumerate(ids)}
    place_of = [{row: place for place, row in enumerate(fold.test.tolist())} for fold in folds]
    fold_of = {(fold.name, str(fold.repeat)): number for number, fold in enumerate(folds)}
    rows = np.array([row_of[id_] for id_ in table["id"]], dtype=np.intp)
    numbers = [fold_of[key] for key in zip(table["fold"], table["repeat"], strict=True)]
    p = np.array([[float(cell or "nan") for cell in table[f"p_{name}"]] for name in classes]).T
    truth = np.full((len(ids), len(classes)), np.nan)
    truth[rows] = _truth(table, classes)
    found: dict[tuple[str, str], list[Matrix]] = {}
    pairs = zip(table["extractor"], table["head"], strict=True)
    for pair, row, number, values in zip(pairs, rows.tolist(), numbers, p, strict=True):
        if pair not in found:
            found[pair] = [np.full((len(fold.test), len(classes)), np.nan) for fold in folds]
        found[pair][number][place_of[number][row]] = values
    return truth, found


def _truth(table: Mapping[str, Sequence[str]], classes: Sequence[str]) -> Matrix:
    """Turn the columns ``label`` and ``unknown`` into 1, 0 and NaN, a row per prediction."""
    of_text: dict[tuple[str, str], Matrix] = {}
    labels = table["label"]
    unknown = table.get("unknown", [""] * len(labels))
    for pair in set(zip(labels, unknown, strict=True)):
        held, blank = (set(text.split("|")) if text not in classes else {text} for text in pair)
        of_text[pair] = np.array(
            [np.nan if name in blank else float(name in held) for name in classes]
        )
    return np.stack([of_text[pair] for pair in zip(labels, unknown, strict=True)])
