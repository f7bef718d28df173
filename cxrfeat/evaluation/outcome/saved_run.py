"""The out-of-fold predictions of a run, read again from its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrfeat.arrays import Matrix
from cxrfeat.errors import FileFormatError, InputError
from cxrfeat.evaluation.outcome.saved_predictions import read_predictions
from cxrfeat.evaluation.study.folds import Fold
from cxrfeat.results.data import FORMAT, FORMAT_VERSION, intervals_over


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


def read_run(folder: Path, *, shown_only: bool = False) -> SavedRun:
    """Read ``results.json``, ``splits.json`` and ``predictions.csv``, or ``predictions.csv.gz``.

    Parameters
    ----------
    folder
        That `fit` wrote.
    shown_only
        Whether the predictions that a page shows are enough: those of the best head of each
        extractor, and of the winner.

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
        cuts = _cuts(results)
        wanted = _shown(results) if shown_only else list(cuts)
        truth, probabilities = read_predictions(folder, results["classes"], ids, folds, wanted)
    except InputError:
        raise
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


def _shown(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    """List the extractors with the heads that a page shows."""
    entries = [*results["reports"], results["winner"]]
    return list(dict.fromkeys((entry["extractor"], entry["head"]) for entry in entries))


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
