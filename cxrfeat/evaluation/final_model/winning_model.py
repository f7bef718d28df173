"""The winner of a comparison, fitted once more, with what is known of its training images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cxrfeat.arrays import Groups, Matrix
from cxrfeat.estimators import RowByRow
from cxrfeat.evaluation.final_model import refit as refitting
from cxrfeat.evaluation.final_model.training_distance import Reference, reference
from cxrfeat.evaluation.heads.task import Setting
from cxrfeat.evaluation.study.design import Design, rows_to_refit
from cxrfeat.evaluation.study.study import Extractor, Study
from cxrfeat.evaluation.validation.tuning import Plan


@dataclass(frozen=True)
class WinningModel:
    """A head fitted on the images that it is to know.

    Attributes
    ----------
    estimator : RowByRow
    extractor : Extractor
        Whose embeddings it takes.
    classes : list of str
        Those that it can answer.
    unknown : list of str
        Those that only test: none of their images is among its own.
    settings : list of dict
        One, or one per label.
    thresholds : dict of str to float
        Per class the probability above which it is called.
    labels : ndarray, shape (n, K)
        Of its training images.
    patients : ndarray of str, shape (n,), or None
        Of the same.
    fitted_on : str
        Which images these are, in words.
    unseen : int
        Images that test it and are not among them.
    reference : Reference or None
        What new images are compared with.
    probe : dict of str to ndarray
        What it makes of the mean embedding of each class.
    """

    estimator: RowByRow
    extractor: Extractor
    classes: list[str]
    unknown: list[str]
    settings: list[Setting]
    thresholds: dict[str, float]
    labels: Matrix
    patients: Groups
    fitted_on: str
    unseen: int
    reference: Reference | None
    probe: Mapping[str, Any]

    @property
    def images_per_class(self) -> dict[str, int]:
        """How many of its training images each class has."""
        count = np.nansum(self.labels, axis=0)
        return {name: int(images) for name, images in zip(self.classes, count, strict=True)}


def fit_winner(
    study: Study, design: Design, plan: Plan, extractor: str, head: str, refit: str
) -> WinningModel:
    """Tune and fit a head on the embeddings of an extractor.

    Parameters
    ----------
    extractor, head : str
        Names of one of the study's and one of the plan's.
    refit : "train" or "all"
        On which images; see `rows_to_refit`.
    """
    rows, unseen, fitted_on = rows_to_refit(design.folds, refit)
    of_winner = next(one for one in study.extractors if one.name == extractor)
    winning = next(one for one in plan.heads if one.name == head)
    X, labels = of_winner.X[rows], study.labels[rows].astype(np.float64)
    # A class whose images only test is none that the model can answer.
    taught = np.full(labels.shape[1], True)
    if plan.exclusive:
        taught = np.nansum(labels, axis=0) > 0
    labels = labels[:, taught]
    classes = [name for name, known in zip(study.classes, taught, strict=True) if known]
    patients = None if design.groups is None else design.groups[rows]
    estimator, tuned = refitting.refit(winning, X, labels, patients, plan, of_winner.widths)
    of_class = labels.argmax(axis=1) if plan.exclusive else np.zeros(len(rows), int)
    above = refitting.thresholds(tuned, plan, len(classes))
    return WinningModel(
        estimator=estimator,
        extractor=of_winner,
        classes=classes,
        unknown=[name for name, known in zip(study.classes, taught, strict=True) if not known],
        settings=[one.setting for one in tuned],
        thresholds=dict(zip(classes, above, strict=True)),
        labels=labels,
        patients=patients,
        fitted_on=fitted_on,
        unseen=unseen,
        reference=reference(X, of_class, patients, plan.seed),
        probe=refitting.probe(estimator, X, labels),
    )
