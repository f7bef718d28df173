"""Which labels and classes can be learned and scored; the others are left out, and this is said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from cxrfeat.arrays import Groups, Matrix32
from cxrfeat.errors import InputError
from cxrfeat.evaluation.study.folds import Fold
from cxrfeat.evaluation.study.study import Study
from cxrfeat.results import Finding

TOO_RARE = "label-too-rare"


NOT_LEARNED = "label-not-learned"


MEND = "merge it with another or drop it (--map), take fewer folds (--cv), or add images"

PER_FOLD = 2
"""Positives and negatives that a label needs per fold to be scored at all."""


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
    number = None if groups is None else np.unique(groups, return_inverse=True)[1]
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
            patients = [
                folds if number is None else int(np.count_nonzero(np.bincount(number[rows])))
                for rows in both
            ]
            if min(patients) >= folds:
                kept.append(k)
                continue
            detail |= {"patients": patients, "patients_needed": folds}
            reason = (
                f"{patients[0]} patients with positive and {patients[1]} with negative images,"
                f" {folds} of each are needed for {folds} folds"
            )
        findings.append(
            Finding(TOO_RARE, f"label '{name}' is not scored: {reason}; {MEND}", detail)
        )
    if not kept:
        raise InputError(
            f"no label has {least} positive and {least} negative images"
            f"{'' if groups is None else f', of {folds} patients each,'} for {folds} folds: use"
            " fewer folds (--cv) or add images (cxrfeat help classes)"
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
            f" and negative, and test images known; {MEND}",
            {"label": name, "folds": [fold.name for fold in folds]},
        )
        for name, kept in zip(study.classes, anywhere, strict=True)
        if not kept
    ]
    return _only(study, np.flatnonzero(anywhere).tolist()), findings


def learnable(labels: Matrix32, fold: Fold) -> npt.NDArray[np.bool_]:
    """Whether the training images have each label both positive and negative, shape (L,)."""
    train = labels[fold.train]
    return np.asarray((train == 1).any(axis=0) & (train == 0).any(axis=0))


def scorable(labels: Matrix32, fold: Fold) -> npt.NDArray[np.bool_]:
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
