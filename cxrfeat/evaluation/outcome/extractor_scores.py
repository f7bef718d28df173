"""Extractors by themselves: scored with heads chosen inside the folds, and compared in pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from cxrfeat.arrays import Groups, Matrix
from cxrfeat.evaluation.heads.registry import FLOOR
from cxrfeat.evaluation.outcome.fold_scores import fold_metrics, metric_names
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
        gained = found.gained[extractor][number]
        head = max(candidates, key=lambda name: np.nan_to_num(gained.get(name, 0.0), nan=-np.inf))
        heads.append(head)
        outcomes.append(candidates[head][number])
    return heads, outcomes


def chosen_heads(found: OutOfFold) -> dict[str, str]:
    """Give the head of each extractor; the best extractor by heads chosen inside the folds first.

    Reports, learning curves and the saved model are of these heads.
    """
    names = [extractor.name for extractor in found.study.extractors]
    mean = {name: mean_of_known(_values(found, chosen(found, name)[1])) for name in names}
    return {name: head_of(found, name) for name in sorted(names, key=_place(found, mean))}


def _place(found: OutOfFold, mean: Mapping[str, float]) -> Callable[[str], float]:
    return lambda name: -found.sign * np.nan_to_num(mean[name], nan=-found.sign * np.inf)


def mean_gains(found: OutOfFold, extractor: str) -> dict[str, float]:
    """Mean over the folds of what each head gains on held-out training rows; the floor has none.

    NaN where no rows could be held out.
    """
    names = [head for name, head in found.outcomes if name == extractor and head != FLOOR]
    of_folds = found.gained[extractor]
    return {
        head: mean_of_known(np.array([of_heads.get(head, np.nan) for of_heads in of_folds]))
        for head in names
    }


def head_of(found: OutOfFold, extractor: str) -> str:
    """Choose the head that is reported on and saved: by training rows, as inside each fold.

    The one with the largest mean gain, the first among equals; the floor where there is no other.
    """
    gained = mean_gains(found, extractor) or {FLOOR: 0.0}
    return max(gained, key=lambda head: np.nan_to_num(gained[head], nan=-np.inf))


def winner(found: OutOfFold, heads: Mapping[str, str]) -> tuple[str, str]:
    """Say which extractor with which head is called best, everywhere.

    The extractor that leads with heads chosen inside the folds and is no control, of controls
    where all are; its head is that of `head_of`. No score of a head on the test rows takes part:
    the best of many scores on the same folds is flattered.

    Parameters
    ----------
    heads
        From `chosen_heads`.
    """
    best = next((name for name in heads if not found.control(name)), next(iter(heads)))
    return best, heads[best]


def why_winner(found: OutOfFold, heads: Mapping[str, str]) -> str:
    """Say in words why the winner is called best."""
    extractor, head = winner(found, heads)
    value = nested_means(found, extractor)[found.metric.name]
    leads = [f"{extractor} leads the extractors", f"{found.metric.title} {value:.3f}"]
    if len(heads) == 1:
        leads[0] = f"{extractor} is the only extractor"
    else:
        if next(iter(heads)) != extractor:
            leads[0] += " with pretrained weights"
        others = [name for name in heads if name != extractor and not found.control(name)]
        equal = [n for n in others if nested_means(found, n)[found.metric.name] == value]
        if equal:
            leads[0] = f"{extractor} is the first of equals, with {', '.join(equal)}"
    gained = {name: found.sign * gain for name, gain in mean_gains(found, extractor).items()}
    said = f"{leads[0]} ({leads[1]}, heads chosen inside the folds)"
    if len(gained) < 2:
        return f"{said}; {head} is its only head"
    if not np.isfinite(gained[head]):
        return f"{said}; {head} is the first of its heads, no training images could be held out"
    second = max(
        (name for name in gained if name != head),
        key=lambda name: np.nan_to_num(found.sign * gained[name], nan=-np.inf),
    )
    if gained[second] == gained[head]:
        return (
            f"{said}; of its heads {head} is the first of those that do best on held-out training"
            f" images ({gained[head]:.3f}, as {second})"
        )
    digits = 3 if abs(gained[second] - gained[head]) > 1e-3 else 6
    return (
        f"{said}; of its heads {head} does best on held-out training images"
        f" ({gained[head]:.{digits}f}, next {second} {gained[second]:.{digits}f})"
    )


def nested_means(found: OutOfFold, extractor: str) -> dict[str, float]:
    """Mean of every metric over the folds, with the head chosen inside each fold.

    What the best of many heads scored on the folds that made it the best is flattered; this
    is what choosing and fitting together score.
    """
    _, outcomes = chosen(found, extractor)
    rows = [
        fold_metrics(found, fold, outcome)
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
    mean = {score.extractor: score.mean for score, _ in done}
    place = _place(found, mean)
    return sorted((score for score, _ in done), key=lambda one: place(one.extractor)), evidence


def _score(found: OutOfFold, extractor: str) -> tuple[ExtractorScore, Evidence]:
    metric = found.metric
    heads, outcomes = chosen(found, extractor)
    p, cuts = [one.probability for one in outcomes], [one.cuts for one in outcomes]
    values = _values(found, outcomes)
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


def _values(found: OutOfFold, outcomes: Sequence[Outcome]) -> Matrix:
    """Score each fold in the primary metric, shape (folds,)."""
    return np.array(
        [
            found.metric(found.truth[fold.test], one.probability, found.exclusive, one.cuts)
            for fold, one in zip(found.folds, outcomes, strict=True)
        ]
    )


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
