"""The winner of a comparison as a model file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cxrfeat import model
from cxrfeat.errors import InputError
from cxrfeat.evaluation.final_model.winning_model import WinningModel, fit_winner
from cxrfeat.evaluation.heads.head import Head
from cxrfeat.evaluation.outcome.compared_study import ComparedStudy
from cxrfeat.evaluation.statistics import calling
from cxrfeat.version import __version__

LARGE = 100_000_000
"""Bytes of a model file above which a note says what is in it."""


@dataclass(frozen=True)
class SavedWinner:
    """What a run says about its model.

    Attributes
    ----------
    facts : dict
        ``extractor``, ``head``, ``why``, ``settings``, ``thresholds``, ``fitted_on``, and
        ``not_saved``, the reason, where there is no model file.
    notes : list of str
    """

    facts: dict[str, Any]
    notes: list[str]


def save_winner(path: Path, compared: ComparedStudy, refit: str) -> SavedWinner:
    """Fit the winner once more and write it.

    Parameters
    ----------
    refit : "train" or "all"
        On which images; see `cxrfeat.evaluation.study.design.rows_to_refit`.
    """
    best, study, plan = compared.winner, compared.study, compared.plan
    fitted = fit_winner(study, compared.design, plan, best.extractor, best.head, refit)
    facts = {
        "extractor": best.extractor,
        "head": best.head,
        "why": compared.why_winner,
        "settings": fitted.settings,
        "thresholds": fitted.thresholds,
        "fitted_on": fitted.fitted_on,
    }
    saved = model.Model(
        estimator=fitted.estimator,
        head=best.head,
        classes=fitted.classes,
        kind=study.kind,
        extractor=best.extractor,
        spec=fitted.extractor.spec,
        fingerprint=fitted.extractor.fingerprint,
        dimension=int(fitted.extractor.X.shape[1]),
        thresholds=fitted.thresholds,
        training=_training(fitted, compared),
        versions={**model.installed_versions(), "cxrfeat": __version__},
        reference=None if fitted.reference is None else fitted.reference.plain(),
        probe=fitted.probe,
    )
    try:
        model.save(path, saved)
    except InputError as error:
        # A classifier from elsewhere may not be storable; that is no reason to lose the scores.
        reason = f"the winner was not saved: {error}"
        return SavedWinner({**facts, "not_saved": reason}, [reason])
    notes = [
        f"the model does not know '{name}': it was fitted on no image of it"
        for name in fitted.unknown
    ]
    size = path.stat().st_size
    if size > LARGE:
        notes.append(
            f"{path.name} has {size / 1e9:.1f} GB: '{best.head}' keeps embeddings of its training"
            " images, which are data of patients"
        )
    if refit == "all" and len(compared.design.folds) == 1:
        notes.append(f"the saved model was fitted on {fitted.fitted_on}")
    return SavedWinner(facts, notes)


def cannot_be_saved(heads: Sequence[Head]) -> list[str]:
    """Say of heads from elsewhere which of them no model file could hold, and why."""
    said = []
    for head in heads:
        if ":" not in head.name:
            continue
        reason = model.why_unsavable(head.estimator(head.grid[0], 1, 0))
        if reason:
            said.append(
                f"head '{head.name}' cannot be saved ({reason}): it is scored, but a run that it"
                " wins has no model for cxrfeat predict"
            )
    return said


def _training(fitted: WinningModel, compared: ComparedStudy) -> dict[str, Any]:
    """Say where a model comes from, as plain data."""
    plan = compared.plan
    return {
        "images": len(fitted.labels),
        "patients": None if fitted.patients is None else len(np.unique(fitted.patients)),
        "images_per_class": fitted.images_per_class,
        "fitted_on": fitted.fitted_on,
        "why": compared.why_winner,
        "test_images_unseen": fitted.unseen,
        "settings": fitted.settings,
        "decisions": calling.in_words(plan.threshold, plan.exclusive, plan.specificity),
        **({"specificity_of_thresholds": plan.specificity} if plan.exclusive else {}),
        "folds": compared.design.sentence,
        "scores": _finite(compared.winner_nested),
        "scores_as_ranked": _finite(compared.winner.mean),
    }


def _finite(scores: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 6) for name, value in scores.items() if np.isfinite(value)}
