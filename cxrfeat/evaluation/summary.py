"""From out-of-fold probabilities to tables: ranking, class reports, predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from cxrfeat.evaluation.align import Study
from cxrfeat.evaluation.folds import Fold
from cxrfeat.evaluation.metrics import METRICS, confusion, per_class_report
from cxrfeat.evaluation.tuning import Outcome
from cxrfeat.results import ClassReport, HeadReport, Score

Outcomes = Mapping[tuple[str, str], Sequence[Outcome]]

FLOOR = "dummy"
"""The head that every other has to beat."""


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


def ranking(study: Study, folds: Sequence[Fold], outcomes: Outcomes, metric: str) -> list[Score]:
    """Score every extractor and head fold by fold; the best mean of `metric` first."""
    control = {extractor.name: extractor.control for extractor in study.extractors}
    scores = []
    for (extractor, head), of_folds in outcomes.items():
        rows: list[dict[str, Any]] = []
        for fold, outcome in zip(folds, of_folds, strict=True):
            truth = study.y[fold.test]
            rows.append(
                {
                    "name": fold.name,
                    "repeat": fold.repeat,
                    "setting": outcome.tuned.setting,
                    "tried": outcome.tuned.tried,
                    "metrics": {
                        name: score(truth, outcome.probability) for name, score in METRICS.items()
                    },
                }
            )
        table = {name: np.array([row["metrics"][name] for row in rows]) for name in METRICS}
        scores.append(
            Score(
                extractor=extractor,
                head=head,
                control=control[extractor],
                mean={name: float(values.mean()) for name, values in table.items()},
                sd={
                    name: float(values.std(ddof=1)) if len(values) > 1 else float("nan")
                    for name, values in table.items()
                },
                folds=rows,
            )
        )
    return sorted(scores, key=lambda score: -np.nan_to_num(score.mean[metric], nan=-np.inf))


def winner(ranked: Sequence[Score]) -> Score:
    """Choose the best that is neither the floor nor a control; of what there is, where all are."""
    learned = [score for score in ranked if score.head != FLOOR]
    return next(iter([s for s in learned if not s.control] or learned or ranked))


def reports(
    study: Study, folds: Sequence[Fold], outcomes: Outcomes, ranked: Sequence[Score]
) -> list[HeadReport]:
    """Report the best head of each extractor, class by class, over the first repeat's folds."""
    best: dict[str, Score] = {}
    for score in sorted(ranked, key=lambda score: score.head == FLOOR):
        best.setdefault(score.extractor, score)
    found = []
    for score in (score for score in ranked if best[score.extractor] is score):
        n_classes = len(study.classes)
        table = np.zeros((n_classes, n_classes), dtype=np.intp)
        for fold, outcome in zip(folds, outcomes[score.extractor, score.head], strict=True):
            if fold.repeat == 0:
                table += confusion(
                    study.y[fold.test], outcome.probability.argmax(axis=1), n_classes
                )
        numbers = per_class_report(table)
        found.append(
            HeadReport(
                extractor=score.extractor,
                head=score.head,
                control=score.control,
                classes=[
                    ClassReport(
                        name,
                        float(numbers["precision"][k]),
                        float(numbers["recall"][k]),
                        float(numbers["f1"][k]),
                        int(numbers["support"][k]),
                    )
                    for k, name in enumerate(study.classes)
                ],
                confusion=table.tolist(),
            )
        )
    return found


def predictions(
    study: Study, folds: Sequence[Fold], outcomes: Outcomes
) -> tuple[list[str], list[list[object]]]:
    """Header and rows of ``predictions.csv``: every image out of fold, for all pairs."""
    header = ["id", "extractor", "head", "repeat", "fold", "label", "predicted"]
    header += [f"p_{name}" for name in study.classes]
    rows: list[list[object]] = []
    for (extractor, head), of_folds in outcomes.items():
        for fold, outcome in zip(folds, of_folds, strict=True):
            predicted = outcome.probability.argmax(axis=1)
            for row, best, p in zip(fold.test, predicted, outcome.probability, strict=True):
                rows.append(
                    [
                        study.ids[row], extractor, head, fold.repeat, fold.name,
                        study.classes[study.y[row]], study.classes[best],
                        *(f"{value:.6g}" for value in p),
                    ]
                )  # fmt: skip
    return header, rows
