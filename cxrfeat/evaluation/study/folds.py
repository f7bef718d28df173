"""Who is trained on and who is scored: one set of folds for every extractor and head."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from cxrfeat.arrays import Groups, RowNumbers
from cxrfeat.errors import FileFormatError, InputError


@dataclass(frozen=True)
class Fold:
    """One division of the images: positions into the ids that were given.

    Attributes
    ----------
    name : str
        E.g. ``"fold 1"``, ``"val"``, or the source that was left out.
    repeat : int
        Which of the repeated divisions it belongs to, from 0.
    train, test : ndarray of int
        Rows, without a common one.
    """

    name: str
    repeat: int
    train: RowNumbers
    test: RowNumbers


def cross_validation(
    y: npt.NDArray[np.intp],
    groups: Groups,
    *,
    cv: int,
    repeats: int,
    seed: int,
    classes: Sequence[str],
    exclusive: bool = True,
    unit: str = "",
) -> list[Fold]:
    """Repeated stratified folds in which a patient is only ever on one side.

    Parameters
    ----------
    y : ndarray of int, shape (N,)
        The stratum of each image; the class, for multi-class labels.
    groups : ndarray of str, shape (N,), or None
        The patient of each image.
    classes
        Names of the strata, for messages.
    exclusive
        Whether the strata are classes, of which each needs enough images.
    unit
        What the groups are, for messages; patients when left out.

    Raises
    ------
    InputError
        ``cv`` below 2, one class, one patient, or a class with fewer images or patients than
        folds.
    """
    if cv < 2:
        raise InputError(f"--cv {cv}: cross-validation needs at least 2 folds")
    if repeats < 1:
        raise InputError(f"--repeats {repeats}: at least 1 is needed")
    present = np.unique(y)
    if exclusive and len(present) < 2:
        raise InputError(
            f"all images that have a label are of one class ('{classes[int(present[0])]}'): there"
            " is nothing to tell apart; add images of another class (cells that are empty or say"
            " none, nan, null, todo or unknown are no labels): cxrfeat help classes"
        )
    if groups is not None and len(np.unique(groups)) < 2:
        raise InputError(
            f"all images are of one patient ('{groups[0]}'): patients cannot be kept apart;"
            " check the group column"
            if unit in ("", "patients")
            else "all images are copies of each other: they cannot be kept together"
        )
    unit = unit or ("images" if groups is None else "patients")
    for k in present if exclusive else ():
        members = int(np.sum(y == k)) if groups is None else len(np.unique(groups[y == k]))
        if members < cv:
            raise InputError(
                f"class '{classes[int(k)]}' has {members} {unit}, fewer than the {cv} folds:"
                f" use --cv {max(members, 2)} or add images (cxrfeat help classes)"
            )
    folds = []
    for repeat in range(repeats):
        for number, (train, test) in enumerate(stratified(y, groups, cv, seed + repeat)):
            folds.append(Fold(f"fold {number + 1}", repeat, train, test))
    return folds


def stratified(
    y: npt.NDArray[np.intp], groups: Groups, n_splits: int, seed: int
) -> list[tuple[RowNumbers, RowNumbers]]:
    """Stratified (and patient-grouped) train and test rows, seeded."""
    blank = np.zeros(len(y), dtype=np.uint8)
    if groups is None:
        plain = StratifiedKFold(n_splits, shuffle=True, random_state=seed)
        return list(plain.split(blank, y))
    # Numbers in the order of the names give the same folds, and are sorted sooner.
    numbers = np.unique(groups, return_inverse=True)[1]
    grouped = _PatientFolds(n_splits, shuffle=True, random_state=seed)
    return list(grouped.split(blank, y, numbers))


class _PatientFolds(StratifiedGroupKFold):
    """scikit-learn's folds, where all folds that a patient may go to are weighed at once.

    The folds are the same to the bit; 30,000 patients take less than a second, and not five.
    """

    def _find_best_fold(
        self,
        y_counts_per_fold: npt.NDArray[np.float64],
        y_cnt: npt.NDArray[np.intp],
        group_y_counts: npt.NDArray[np.float64],
    ) -> int:
        n_folds = len(y_counts_per_fold)
        counts = np.repeat(y_counts_per_fold[None], n_folds, axis=0)
        each = np.arange(n_folds)
        counts[each, each] += group_y_counts
        share = counts / y_cnt
        share -= np.add.reduce(share, axis=1, keepdims=True) / n_folds
        spread = np.sqrt(np.add.reduce(share * share, axis=1) / n_folds)
        uneven = (np.add.reduce(spread, axis=1) / spread.shape[1]).tolist()
        images = np.add.reduce(y_counts_per_fold, axis=1).tolist()
        best = 0
        for fold in range(1, n_folds):
            alike = abs(uneven[fold] - uneven[best]) <= 1e-8 + 1e-5 * abs(uneven[best])
            if uneven[fold] < uneven[best] or (alike and images[fold] < images[best]):
                best = fold
        return best


def inner_folds(
    y: npt.NDArray[np.intp], groups: Groups, seed: int, n_splits: int = 3
) -> list[tuple[RowNumbers, RowNumbers]]:
    """Folds of a training set for tuning; fewer where a class is too small, none below 2.

    Folds in which a class is missing from the part that is fitted are left out.
    """
    smallest = min(
        int(np.sum(y == k)) if groups is None else len(np.unique(groups[y == k]))
        for k in np.unique(y)
    )
    n_splits = min(n_splits, smallest)
    if n_splits < 2:
        return []
    present = len(np.unique(y))
    return [
        (fit, val)
        for fit, val in stratified(y, groups, n_splits, seed)
        if len(np.unique(y[fit])) == present and len(val)
    ]


def label_strata(labels: npt.NDArray[np.float32], groups: Groups, cv: int) -> npt.NDArray[np.intp]:
    """Give every image of a multi-label study one stratum: its rarest label, or none.

    Labels with fewer images or patients than folds make no stratum of their own, so that every
    stratum can be divided.

    Returns
    -------
    ndarray of int, shape (N,)
        0 for none, else 1 + the column of the label.
    """
    positive = labels == 1
    strata = np.zeros(len(labels), dtype=np.intp)
    for k in np.argsort(-positive.sum(axis=0), kind="stable"):
        strata[positive[:, k]] = k + 1
    patient = (
        np.arange(len(labels)) if groups is None else np.unique(groups, return_inverse=True)[1]
    )
    for stratum in np.unique(strata):
        rows = strata == stratum
        members = int(np.count_nonzero(np.bincount(patient[rows])))
        if members < cv:
            strata[rows] = 0
    none = np.flatnonzero(strata == 0)
    if 0 < len(none) < cv:
        values, sizes = np.unique(strata[strata > 0], return_counts=True)
        strata[none] = values[sizes.argmax()] if len(values) else 0
    return strata


def leave_one_out(
    values: npt.NDArray[np.str_], column: str, patients: Groups
) -> tuple[list[Fold], str]:
    """Test on each value of a column in turn, e.g. each hospital, having learned on the others.

    Images of a patient who is tested are not trained on, wherever they come from.
    """
    sources = [str(value) for value in np.unique(values)]
    if len(sources) < 2:
        raise InputError(
            f"column '{column}' has one value ('{sources[0]}'): leaving it out leaves nothing"
        )
    folds, moved = [], 0
    for source in sources:
        test = np.flatnonzero(values == source)
        train = np.flatnonzero(values != source)
        if patients is not None:
            apart = ~np.isin(patients[train], patients[test])
            moved += int((~apart).sum())
            train = train[apart]
        if not len(train):
            raise InputError(f"leaving out '{source}' leaves no patient to train on")
        folds.append(Fold(source or "(empty)", 0, train, test))
    sentence = f"each {column} left out in turn ({', '.join(sources)})"
    if moved:
        sentence += f"; {moved} images of patients who are also in the tested {column} not used"
    return folds, sentence


TRAIN = ("train", "training")
VALIDATION = ("val", "valid", "validation")
TEST = ("test", "testing")


def fixed_split(split: npt.NDArray[np.str_]) -> tuple[list[Fold], str]:
    """Take the data's own division from its ``split`` column.

    Without a test part, ``train`` is fitted and ``val`` scored. With one, ``train`` and ``val``
    are fitted together (tuning uses folds of its own) and ``test`` scored.

    Returns
    -------
    folds : list of one Fold
    sentence : str
        What was taken for what.
    """
    lower = np.char.lower(split)
    parts = {
        name: np.flatnonzero(np.isin(lower, names))
        for name, names in (("train", TRAIN), ("val", VALIDATION), ("test", TEST))
    }
    scored = "test" if len(parts["test"]) else "val"
    if not len(parts["train"]) or not len(parts[scored]):
        found = ", ".join(sorted({str(value) or "(empty)" for value in split}))
        raise InputError(
            f"--split needs the parts train and val or test in the split column, found: {found}"
        )
    train, fitted = parts["train"], "train"
    if scored == "test" and len(parts["val"]):
        train, fitted = np.sort(np.concatenate([train, parts["val"]])), "train and val"
    ignored = len(split) - len(train) - len(parts[scored])
    sentence = f"fixed split: fitted on {fitted} ({len(train)} images), scored on {scored}"
    sentence += f" ({len(parts[scored])} images)"
    if ignored:
        sentence += f"; {ignored} images of no part left out"
    return [Fold(scored, 0, train, parts[scored])], sentence


FORMAT = "cxrfeat-splits"


def to_json(
    folds: Sequence[Fold], ids: Sequence[str], scheme: dict[str, Any], patients: Groups = None
) -> str:
    """Write folds so that they can be used again: positions into the list of ids they carry.

    Patients are written as numbers, so that images of one patient can be told to be so without
    saying whose they are.
    """
    numbers = None if patients is None else np.unique(patients, return_inverse=True)[1].tolist()
    document = {
        "format": FORMAT,
        "format_version": 1,
        "scheme": scheme,
        "ids": list(ids),
        "patients": numbers,
        "folds": [
            {
                "name": fold.name,
                "repeat": fold.repeat,
                "train": fold.train.tolist(),
                "test": fold.test.tolist(),
            }
            for fold in folds
        ],
    }
    return json.dumps(document, ensure_ascii=False) + "\n"


def read(path: Path, ids: Sequence[str]) -> tuple[list[Fold], str]:
    """Read saved folds and find their images among `ids`.

    Images that the file does not name are in no fold. A fold that names an image which is not
    at hand is refused, because its scores would not be comparable.

    Raises
    ------
    FileFormatError
        Not a splits file, or a damaged one.
    InputError
        Folds over other images.
    """
    document = _document(path)
    where = {id_: row for row, id_ in enumerate(ids)}
    missing = [id_ for id_ in document["ids"] if id_ not in where]
    if missing:
        raise InputError(
            f"{path} is over other images: {len(missing)} of its {len(document['ids'])} ids are"
            f" not in these embeddings, e.g. '{missing[0]}'; leave --splits out to make new folds"
        )
    rows = np.array([where[id_] for id_ in document["ids"]], dtype=np.intp)
    folds = []
    for entry in document["folds"]:
        train, test = rows[entry["train"]], rows[entry["test"]]
        if not len(train) or not len(test) or np.intersect1d(train, test).size:
            raise FileFormatError(
                f"{path}: fold '{entry['name']}' has an empty side or an image on both sides"
            )
        folds.append(Fold(str(entry["name"]), int(entry["repeat"]), train, test))
    unused = len(ids) - len(document["ids"])
    return folds, f"folds of {path}" + (f"; {unused} images are in none of them" if unused else "")


def _document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        ids, folds = document["ids"], document["folds"]
        if document["format"] != FORMAT or document["format_version"] != 1 or not folds:
            raise ValueError("another format")
        for entry in folds:
            positions = np.array(entry["train"] + entry["test"])
            if positions.min() < 0 or positions.max() >= len(ids):
                raise ValueError("a position beyond the ids")
            entry["name"], entry["repeat"]
        return dict(document)
    except OSError as error:
        raise InputError(f"--splits {path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise FileFormatError(
            f"{path} is not a splits file of cxrfeat, or is damaged ({error})"
        ) from error
