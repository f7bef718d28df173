"""The design of a comparison: which patients stay together, and who is tested on whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from cxrfeat.arrays import Groups
from cxrfeat.errors import InputError, UnknownNameError
from cxrfeat.evaluation.study import folds as folding
from cxrfeat.evaluation.study import scorable_labels
from cxrfeat.evaluation.study.folds import Fold
from cxrfeat.evaluation.study.study import Study
from cxrfeat.results import Finding


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
        Patients, or copies of images, that folds and tuning keep together.
    patients : ndarray of str, shape (N,), or None
        Patients as far as they are known, also where ``groups="none"``: intervals and controls
        go by them.
    sentence : str
        The folds in words.
    notes : list of str
    findings : list of Finding
        Labels that are not scored, and why.
    """

    folds: list[Fold]
    groups: Groups
    patients: Groups
    sentence: str
    notes: list[str]
    findings: list[Finding] = field(default_factory=list)

    @property
    def unit(self) -> str:
        """What folds keep together, in words."""
        if self.groups is None:
            return "images"
        return "groups of copies" if self.patients is None else "patients"


Copied = npt.NDArray[np.intp] | None
"""Which images are copies of each other: one number for each group, shape (N,)."""


def plan_comparison(
    study: Study, asked: Asked, outside_from: int | None = None, copied: Copied = None
) -> tuple[Study, Design]:
    """Make the folds, or take them from elsewhere, of the labels that can be learned and scored.

    Parameters
    ----------
    copied
        Images that no fold may divide, beside those of one patient.

    Returns
    -------
    study : Study
        Without the labels and classes that cannot.
    design : Design
        Says which these are.

    Raises
    ------
    InputError
        No label that can be scored; and whatever `make_folds` raises.
    """
    if study.kind == "multiclass":
        study = scorable_labels.without_empty_classes(study)
        return study, make_folds(study, asked, outside_from, copied)
    given = asked.split or asked.splits or asked.leave_out or outside_from is not None
    together = _together(patients_of(study, asked.groups)[0], copied)
    study, rare = scorable_labels.without_rare_labels(study, 1 if given else asked.cv, together)
    design = make_folds(study, asked, outside_from, copied)
    study, unlearned = scorable_labels.without_unlearned_labels(study, design.folds)
    return study, replace(design, findings=[*rare, *unlearned])


def make_folds(
    study: Study, asked: Asked, outside_from: int | None = None, copied: Copied = None
) -> Design:
    """Make the folds, or take them from the data, a file or an outside set.

    Parameters
    ----------
    outside_from
        Where the images of an outside test set begin, if there is one.
    copied
        Images that are to be on one side of every fold: folds are drawn so; where the division is
        given, those on the training side are not used.

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
    together = _together(groups, copied)
    if any(given.values()):
        folds, sentence = _given_folds(study, asked, groups, outside_from)
        if copied is not None:
            folds, unused = _without_copies(folds, copied)
            if unused:
                sentence += f"; {unused} training images that are copies of tested ones not used"
    else:
        unit = Design([], together, patients, "", []).unit
        folds = _drawn_folds(study, asked, together, unit)
        sentence = _drawn(asked, groups, copied)
    if asked.groups != "none":
        _refuse_patients_on_both_sides(folds, groups)
    return Design(folds, together, patients, sentence, notes)


def _together(groups: Groups, copied: Copied) -> Groups:
    """Join patients who share copies of an image, and images without patients that are copies."""
    if copied is None:
        return groups
    if groups is None:
        return copied.astype(np.str_)
    names, patient = np.unique(groups, return_inverse=True)
    first = len(names)  # of the groups of copies, behind the patients
    ends, size = (patient, first + copied), first + int(copied.max()) + 1
    linked = coo_matrix((np.ones(len(patient)), ends), shape=(size, size))
    joined = connected_components(linked, directed=False)[1][patient]
    return joined.astype(np.str_)


def _without_copies(folds: Sequence[Fold], copied: npt.NDArray[np.intp]) -> tuple[list[Fold], int]:
    """Leave copies of tested images out of the training side; how many these are in all."""
    found, unused = [], 0
    for fold in folds:
        apart = ~np.isin(copied[fold.train], copied[fold.test])
        if not apart.any():
            raise InputError(
                f"all training images of '{fold.name}' are copies of tested ones: give other folds"
            )
        unused += int((~apart).sum())
        found.append(replace(fold, train=fold.train[apart]))
    return found, unused


def _given_folds(
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
    assert asked.leave_out is not None
    if asked.leave_out not in study.meta:
        raise UnknownNameError("column", asked.leave_out, study.meta)
    return folding.leave_one_out(study.meta[asked.leave_out], asked.leave_out, groups)


def _drawn_folds(study: Study, asked: Asked, groups: Groups, unit: str) -> list[Fold]:
    exclusive = study.kind == "multiclass"
    strata = study.y if exclusive else folding.label_strata(study.labels, groups, asked.cv)
    return folding.cross_validation(
        strata,
        groups,
        cv=asked.cv,
        repeats=asked.repeats,
        seed=asked.seed,
        classes=study.classes,
        exclusive=exclusive,
        unit=unit,
    )


def _drawn(asked: Asked, groups: Groups, copied: Copied) -> str:
    sentence = f"{asked.cv}-fold cross-validation, stratified"
    kept = ["patients"] * (groups is not None) + ["copies"] * (copied is not None)
    sentence += f", {' and '.join(kept)} kept together" if kept else ", by image"
    if asked.repeats > 1:
        sentence += f", {asked.repeats} times"
    return sentence


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
                " (cxrfeat help patients)"
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
