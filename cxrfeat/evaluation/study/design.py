"""The design of a comparison: which patients stay together, and who is tested on whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cxrfeat.errors import InputError, UnknownNameError
from cxrfeat.evaluation.study import folds as folding
from cxrfeat.evaluation.study.alignment import FloatMatrix, Study
from cxrfeat.evaluation.study.folds import Fold, Groups
from cxrfeat.evaluation.statistics.metrics import METRICS, Metric
from cxrfeat.results import Finding

TOO_RARE = "label-too-rare"
NOT_LEARNED = "label-not-learned"
PER_FOLD = 2
"""Positives and negatives that a label needs per fold to be scored at all."""


@dataclass(frozen=True)
class Asked:
    """The options that decide the folds; see `cxrfeat.fit`."""

    cv: int = 5
    repeats: int = 1
    split: bool = False
    leave_out: str | None = None
    groups: str = "auto"
    splits: Path | None = None
    seed: int = 0


@dataclass(frozen=True)
class Design:
    """Folds and patients.

    Attributes
    ----------
    folds : list of Fold
    groups : ndarray of str, shape (N,), or None
        Patients whom folds and tuning keep together.
    patients : ndarray of str, shape (N,), or None
        Patients as far as they are known, also where ``groups="none"``: intervals and controls
        go by them.
    sentence : str
        The folds in words.
    notes : list of str
    """

    folds: list[Fold]
    groups: Groups
    patients: Groups
    sentence: str
    notes: list[str]


def design(study: Study, asked: Asked, outside_from: int | None = None) -> Design:
    """Make the folds, or take them from the data, a file or an outside set.

    Parameters
    ----------
    outside_from
        Where the images of an outside test set begin, if there is one.

    Raises
    ------
    InputError
        Options that contradict each other, folds that cannot be made, or patients on both sides
        of a division that was given, unless ``groups="none"`` says that this is meant.
    """
    if asked.cv < 2:
        raise InputError(f"--cv {asked.cv}: cross-validation needs at least 2 folds")
    if asked.repeats < 1:
        raise InputError(f"--repeats {asked.repeats}: at least 1 is needed")
    given = {
        "--split": asked.split,
        "--splits": asked.splits is not None,
        "--leave-out": asked.leave_out is not None,
        "--test": outside_from is not None,
    }
    if sum(given.values()) > 1:
        both = " and ".join(name for name, is_given in given.items() if is_given)
        raise InputError(f"{both} cannot both decide the folds: give one")
    groups, patients, notes = patients_of(study, asked.groups)
    folds, sentence = _folds(study, asked, groups, outside_from)
    if asked.groups != "none":
        _refuse_patients_on_both_sides(folds, groups)
    return Design(folds, groups, patients, sentence, notes)


def _folds(
    study: Study, asked: Asked, groups: Groups, outside_from: int | None
) -> tuple[list[Fold], str]:
    if outside_from is not None:
        rows = np.arange(len(study))
        fold = Fold("test", 0, rows[:outside_from], rows[outside_from:])
        return [fold], (
            f"outside test set: fitted on {len(fold.train)} images, scored on {len(fold.test)}"
        )
    if asked.splits is not None:
        return folding.read(asked.splits, study.ids)
    if asked.split:
        if "split" not in study.meta:
            raise InputError(
                "--split needs a split column: extract from <split>/<class>/ folders or from a"
                " table with a split column"
            )
        return folding.fixed_split(study.meta["split"])
    if asked.leave_out is not None:
        if asked.leave_out not in study.meta:
            raise UnknownNameError("column", asked.leave_out, study.meta)
        return folding.leave_one_out(study.meta[asked.leave_out], asked.leave_out, groups)
    exclusive = study.kind == "multiclass"
    strata = study.y if exclusive else folding.label_strata(study.labels, groups, asked.cv)
    folds = folding.cross_validation(
        strata,
        groups,
        cv=asked.cv,
        repeats=asked.repeats,
        seed=asked.seed,
        classes=study.classes,
        exclusive=exclusive,
    )
    sentence = f"{asked.cv}-fold cross-validation, stratified"
    sentence += ", patients kept together" if groups is not None else ", by image"
    if asked.repeats > 1:
        sentence += f", {asked.repeats} times"
    return folds, sentence


def patients_of(study: Study, groups: str) -> tuple[Groups, Groups, list[str]]:
    """Return patients whom folds keep together, patients as far as known, and notes.

    Hospitals number their patients each from the beginning, so that equal ids of two sources are
    two patients (columns ``group`` and ``source``); a column that is named is taken as it is.

    Raises
    ------
    UnknownNameError
        A column that is not there.
    """
    if groups == "none":
        known, _ = _patients_by_source(study) if "group" in study.meta else (None, [])
        if known is None:
            return None, None, []
        note = "the patient column is not used (--groups none): patients may cross folds"
        return None, known, [note]
    column = "group" if groups == "auto" else groups
    if column not in study.meta:
        if groups == "auto":
            note = (
                "no patient column: images of one patient may be on both sides of a fold, which"
                " flatters every score; give --group-column to cxrfeat extract if there is one"
            )
            return None, None, [note]
        raise UnknownNameError("group column", groups, [*study.meta, "none"])
    values, notes = _patients_by_source(study) if groups == "auto" else _column(study, column)
    return values, values, notes


def _patients_by_source(study: Study) -> tuple[Groups, list[str]]:
    """Take equal ids of different sources for different patients, where all sources are known."""
    values, notes = _column(study, "group")
    ids, sources = study.meta["group"], study.meta.get("source")
    if values is None or sources is None:
        return values, notes
    with_id = ids != ""
    seen = {(id_, source) for id_, source in zip(ids, sources, strict=True) if id_ and source}
    several = len(seen) - len({id_ for id_, _ in seen})
    if not several:
        return values, notes
    shared = sum(count > 1 for count in Counter(id_ for id_, _ in seen).values())
    said = f"{shared} patient ids occur in several sources"
    if unknown := int(np.sum(with_id & (sources == ""))):
        have = "image has" if unknown == 1 else "images have"
        said += f" and {unknown} {have} none: equal ids were taken for one patient"
        return values, [*notes, said]
    named = values.astype(object)
    named[with_id] = [
        f'"{id_}" of "{source}"' for id_, source in zip(ids[with_id], sources[with_id], strict=True)
    ]
    said += (
        ": each was taken for another patient in each source; where they are the same patients"
        " give --groups group"
    )
    return named.astype(np.str_), [*notes, said]


def _column(study: Study, column: str) -> tuple[Groups, list[str]]:
    values = study.meta[column].astype(object)
    blank = values == ""
    if not blank.any():
        return values.astype(np.str_), []
    # Two images without a patient id must not become one patient.
    values[blank] = [f"(image) {id_}" for id_ in np.array(study.ids, object)[blank]]
    return values.astype(np.str_), [
        f"{int(blank.sum())} images have no {column}: each was taken for a patient of its own"
    ]


def _refuse_patients_on_both_sides(folds: list[Fold], groups: Groups) -> None:
    if groups is None:
        return
    for fold in folds:
        both = np.intersect1d(groups[fold.train], groups[fold.test])
        if len(both):
            raise InputError(
                f"{len(both)} patients are on both sides of '{fold.name}', e.g. '{both[0]}': give"
                " folds that keep patients together, or --groups none to go on and have it said"
            )


REFITS = ("train", "all")
"""On which images the saved model is fitted; see `rows_to_refit`."""


def rows_to_refit(folds: Sequence[Fold], refit: str) -> tuple[npt.NDArray[np.intp], int, str]:
    """Say which images the saved model is fitted on.

    Parameters
    ----------
    refit : "train" or "all"
        Those that some fold learns from, which are all where every image is tested in turn; or
        also those that only test, so that no score on them is one of the saved model.

    Returns
    -------
    rows : ndarray of int
    unseen : int
        Images that test and are not among them.
    sentence : str
    """
    learned = np.unique(np.concatenate([fold.train for fold in folds]))
    tested = np.setdiff1d(np.concatenate([fold.test for fold in folds]), learned)
    if not len(tested):
        return learned, 0, f"all {len(learned)} images of the folds"
    if refit == "train":
        said = (
            f"the {len(learned)} images that the folds learn from; the {len(tested)} that test it"
            " are not among them"
        )
        return learned, len(tested), said
    rows = np.union1d(learned, tested)
    said = (
        f"all {len(rows)} images, the {len(tested)} that test it among them: no score on these is"
        " a score of this model"
    )
    return rows, 0, said


def without_rare_labels(
    study: Study, folds: int, groups: Groups = None
) -> tuple[Study, list[Finding]]:
    """Leave out labels of a multi-label study with too few positives or negatives.

    Needed are `PER_FOLD` images of each per fold and, where patients are kept together, one
    patient of each per fold: all images of a patient are in one fold.

    Parameters
    ----------
    groups : ndarray of str, shape (N,), or None
        Patients whom folds keep together.

    Returns
    -------
    study : Study
    findings : list of Finding
        One per label that is not scored.

    Raises
    ------
    InputError
        No label has enough.
    """
    least = PER_FOLD * folds
    findings, kept = [], []
    for k, name in enumerate(study.classes):
        both = [study.labels[:, k] == value for value in (1, 0)]
        positive, negative = (int(rows.sum()) for rows in both)
        detail = {"label": name, "positive": positive, "negative": negative, "needed": least}
        reason = (
            f"{positive} positive and {negative} negative images, {least} of each are needed for"
            f" {folds} folds"
        )
        if min(positive, negative) >= least:
            patients = [folds if groups is None else len(np.unique(groups[rows])) for rows in both]
            if min(patients) >= folds:
                kept.append(k)
                continue
            detail |= {"patients": patients, "patients_needed": folds}
            reason = (
                f"{patients[0]} patients with positive and {patients[1]} with negative images,"
                f" {folds} of each are needed for {folds} folds"
            )
        findings.append(Finding(TOO_RARE, f"label '{name}' is not scored: {reason}", detail))
    if not kept:
        raise InputError(
            f"no label has {least} positive and {least} negative images"
            f"{'' if groups is None else f', of {folds} patients each,'} for {folds} folds: use"
            " fewer folds (--cv) or add images"
        )
    return _only(study, kept), findings


def without_unlearned_labels(study: Study, folds: Sequence[Fold]) -> tuple[Study, list[Finding]]:
    """Leave out labels of a multi-label study that no fold can learn and then score.

    Such a label may well have images enough, but all positives in the outside set, or in the one
    hospital that is left out.

    Raises
    ------
    InputError
        No label can be learned.
    """
    learned = [learnable(study.labels, fold) & scorable(study.labels, fold) for fold in folds]
    anywhere = np.any(learned, axis=0)
    if not anywhere.any():
        raise InputError(
            "no label has positive and negative images to learn from beside known ones to score:"
            " divide the images otherwise or add images"
        )
    findings = [
        Finding(
            NOT_LEARNED,
            f"label '{name}' is not scored: in no fold the training images have it both positive"
            " and negative, and test images known",
            {"label": name, "folds": [fold.name for fold in folds]},
        )
        for name, kept in zip(study.classes, anywhere, strict=True)
        if not kept
    ]
    return _only(study, np.flatnonzero(anywhere).tolist()), findings


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
        for name, metric in METRICS.items():
            # Whether a score exists is for the truth to decide, so any prediction will do.
            if np.isnan(metric(truth, np.full(truth.shape, 0.75), exclusive)):
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


def _what_lacks(study: Study, tested: npt.NDArray[np.intp], folds: int) -> str:
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


def learnable(labels: FloatMatrix, fold: Fold) -> npt.NDArray[np.bool_]:
    """Whether the training images have each label both positive and negative, shape (L,)."""
    train = labels[fold.train]
    return np.asarray((train == 1).any(axis=0) & (train == 0).any(axis=0))


def scorable(labels: FloatMatrix, fold: Fold) -> npt.NDArray[np.bool_]:
    """Whether each label is known of any test image, shape (L,)."""
    return np.asarray(np.isfinite(labels[fold.test]).any(axis=0))


def _only(study: Study, kept: Sequence[int]) -> Study:
    classes = [study.classes[k] for k in kept]
    return replace(study, classes=classes, labels=study.labels[:, list(kept)])


def without_empty_classes(study: Study) -> Study:
    """Drop classes that no image has, with a note; the others keep their order."""
    present = np.nansum(study.labels, axis=0) > 0
    if present.all():
        return study
    dropped = [name for name, keep in zip(study.classes, present, strict=True) if not keep]
    return replace(
        study,
        classes=[name for name, keep in zip(study.classes, present, strict=True) if keep],
        labels=study.labels[:, present],
        notes=[*study.notes, f"classes without an image were left out: {', '.join(dropped)}"],
    )
