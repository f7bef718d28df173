"""Extractors by themselves: scored with heads chosen inside the folds, and compared in pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from cxrfeat.arrays import Groups
from cxrfeat.evaluation.heads.registry import FLOOR
from cxrfeat.evaluation.outcome.fold_scores import fold_row, metric_names
from cxrfeat.evaluation.outcome.out_of_fold import OutOfFold
from cxrfeat.evaluation.outcome.score_intervals import (
    contributions,
    retrained_of,
    score_interval,
)
from cxrfeat.evaluation.statistics.extractor_comparison import (
    Evidence,
    adjusted_over_all,
    compare,
    on_fixed_test_set,
)
from cxrfeat.evaluation.statistics.metrics.undefined import mean_of_known, sd_of_known
from cxrfeat.evaluation.validation.side_by_side import Run, in_order
from cxrfeat.evaluation.validation.tuning import Outcome
from cxrfeat.results import Comparison, ExtractorScore


def chosen(found: OutOfFold, extractor: str) -> tuple[list[str], list[Outcome]]:
    """For each fold the head with the largest gain on held-out training rows."""
    candidates = {
        head: of_folds
        for (name, head), of_folds in found.outcomes.items()
        if name == extractor and head != FLOOR
    } or {FLOOR: found.outcomes[extractor, FLOOR]}
    heads, outcomes = [], []
    for number in range(len(found.folds)):
        gains = {
            head: np.nan_to_num(of_folds[number].gain, nan=-np.inf)
            for head, of_folds in candidates.items()
        }
        head = max(gains, key=lambda name: gains[name])
        heads.append(head)
        outcomes.append(candidates[head][number])
    return heads, outcomes


def nested_means(found: OutOfFold, extractor: str) -> dict[str, float]:
    """Mean of every metric over the folds, with the head chosen inside each fold.

    What the best of many heads scored on the folds that made it the best is flattered; this
    is what choosing and fitting together score.
    """
    _, outcomes = chosen(found, extractor)
    rows = [
        fold_row(found, fold, outcome)["metrics"]
        for fold, outcome in zip(found.folds, outcomes, strict=True)
    ]
    return {name: mean_of_known(np.array([row[name] for row in rows])) for name in metric_names()}


def score_extractors(
    found: OutOfFold, run: Run | None = None
) -> tuple[list[ExtractorScore], dict[str, Evidence]]:
    """Score extractors with heads chosen inside the folds; with what compares them.

    Parameters
    ----------
    run : Run or None
        Where they are scored; in threads, one per core, when left out.
    """
    names = [extractor.name for extractor in found.study.extractors]
    done = in_order(run, partial(_score, found), [(name,) for name in names])
    evidence = {score.extractor: of_patients for score, of_patients in done}
    scores = [score for score, _ in done]
    scores.sort(key=lambda score: -found.sign * np.nan_to_num(score.mean, nan=-np.inf))
    return scores, evidence


def _score(found: OutOfFold, extractor: str) -> tuple[ExtractorScore, Evidence]:
    metric = found.metric
    heads, outcomes = chosen(found, extractor)
    p, cuts = [one.probability for one in outcomes], [one.cuts for one in outcomes]
    values = np.array(
        [
            metric(found.truth[fold.test], of_fold, found.exclusive, above)
            for fold, of_fold, above in zip(found.folds, p, cuts, strict=True)
        ]
    )
    drawn = found.resamples.scores(metric, found.truth, found.folds, p, found.exclusive, cuts)
    again = retrained_of(found, extractor, heads)
    score = ExtractorScore(
        extractor,
        found.control(extractor),
        mean_of_known(values),
        sd_of_known(values),
        score_interval(found, metric, values, outcomes, again),
        heads,
        values.tolist(),
    )
    return score, Evidence(drawn, contributions(found, metric, outcomes))


def compare_extractors(
    found: OutOfFold,
    scores: Sequence[ExtractorScore],
    evidence: Mapping[str, Evidence],
    patients: Groups,
    rope: float,
) -> list[Comparison]:
    """Compare every pair; on one fixed test set also by the tests that are made for that.

    Parameters
    ----------
    scores, evidence
        From `score_extractors`.
    patients : ndarray of str, shape (N,), or None
        As far as they are known.
    rope : float
        Half-width of the region of practical equivalence.
    """
    tested = np.unique(np.concatenate([fold.test for fold in found.folds]))
    pairs = compare(scores, evidence, found.folds, found.metric, rope=rope, images=len(tested))
    # DeLong's and McNemar's tests take images for independent.
    if len(found.folds) > 1 or patients is None or len(np.unique(patients[tested])) < len(tested):
        return pairs
    return adjusted_over_all([_with_fixed_tests(found, pair) for pair in pairs])


def _with_fixed_tests(found: OutOfFold, pair: Comparison) -> Comparison:
    first, second = (chosen(found, name)[1][0].probability for name in (pair.first, pair.second))
    tests, p = on_fixed_test_set(
        found.truth[found.folds[0].test], first, second, found.study.classes, found.exclusive
    )
    return replace(pair, delong=tests, mcnemar=p)
