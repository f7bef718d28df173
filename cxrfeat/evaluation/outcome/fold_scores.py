"""Scores fold by fold, and the ranking of extractors and heads by them."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from cxrfeat.arrays import Matrix
from cxrfeat.evaluation.outcome.out_of_fold import OutOfFold
from cxrfeat.evaluation.outcome.score_intervals import retrained_of, score_interval
from cxrfeat.evaluation.statistics.metrics import METRICS, Weights, all_scores
from cxrfeat.evaluation.statistics.metrics.decisions import counts
from cxrfeat.evaluation.statistics.metrics.undefined import known_truth, mean_of_known, sd_of_known
from cxrfeat.evaluation.study.folds import Fold
from cxrfeat.evaluation.validation.side_by_side import Run, in_order
from cxrfeat.evaluation.validation.tuning import Outcome
from cxrfeat.results import Score

AT_SPECIFICITY = "sensitivity_at_specificity"
"""The metric whose threshold comes from the training rows; beside those of the registry."""


def metric_names() -> list[str]:
    """Names of all metrics of a fold, in the order of the tables."""
    return [*METRICS, AT_SPECIFICITY]


def rank(found: OutOfFold, run: Run | None = None) -> list[Score]:
    """Score every extractor and head fold by fold; the best mean first.

    Parameters
    ----------
    run : Run or None
        Where they are scored; in threads, one per core, when left out.
    """
    scores = in_order(run, partial(_score, found), list(found.outcomes))

    def place(score: Score) -> tuple[float, str, str]:
        value = score.mean[found.metric.name]
        first = -found.sign * value if np.isfinite(value) else np.inf
        return first, score.extractor, score.head

    return sorted(scores, key=place)


def _score(found: OutOfFold, extractor: str, head: str) -> Score:
    of_folds = found.outcomes[extractor, head]
    gained = [of_heads.get(head, float("nan")) for of_heads in found.gained[extractor]]
    rows = [
        _fold_row(found, fold, outcome, gain)
        for fold, outcome, gain in zip(found.folds, of_folds, gained, strict=True)
    ]
    table = {name: np.array([row["metrics"][name] for row in rows]) for name in metric_names()}
    again = retrained_of(found, extractor, [head] * len(found.folds))
    return Score(
        extractor=extractor,
        head=head,
        control=found.control(extractor),
        mean={name: mean_of_known(values) for name, values in table.items()},
        sd={name: sd_of_known(values) for name, values in table.items()},
        interval=score_interval(found, found.metric, table[found.metric.name], of_folds, again),
        folds=rows,
    )


def fold_metrics(found: OutOfFold, fold: Fold, outcome: Outcome) -> dict[str, float]:
    """Score one fold in every metric."""
    truth = found.truth[fold.test]
    metrics = all_scores(truth, outcome.probability, found.exclusive, outcome.cuts)
    called = outcome.probability > outcome.thresholds
    decided = counts(where_called(truth, outcome), called, Weights.once(len(truth)))
    metrics[AT_SPECIFICITY] = mean_of_known(decided.sensitivity[0])
    return metrics


def _fold_row(found: OutOfFold, fold: Fold, outcome: Outcome, gain: float) -> dict[str, Any]:
    """Say of one fold what `results.json` holds."""
    return {
        "name": fold.name,
        "repeat": fold.repeat,
        "train": len(fold.train),
        "test": len(fold.test),
        "tuned": [{"setting": one.setting, "tried": one.tried} for one in outcome.tuned],
        "gain": gain,
        "thresholds": [] if found.exclusive else outcome.cuts.tolist(),
        "metrics": fold_metrics(found, fold, outcome),
    }


def where_called(truth: Matrix, outcome: Outcome) -> Matrix:
    """Truth of shape (n, K), NaN also where there is no probability or no threshold for it."""
    return known_truth(known_truth(truth, outcome.probability), outcome.thresholds)
