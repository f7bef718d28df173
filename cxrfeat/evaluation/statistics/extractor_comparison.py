"""Every pair of extractors, in numbers and in a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from scipy import stats

from cxrfeat.arrays import Matrix
from cxrfeat.evaluation.statistics.intervals import over_patients
from cxrfeat.evaluation.statistics.metrics import Metric
from cxrfeat.evaluation.statistics.paired_tests import (
    bayesian_correlated_t,
    corrected_t,
    delong,
    holm,
    mcnemar,
    size_ratio,
)
from cxrfeat.evaluation.statistics.patient_bootstrap import interval
from cxrfeat.evaluation.study.folds import Fold
from cxrfeat.results import Comparison, ExtractorScore

LEVEL = 0.05
SURE = 0.95


@dataclass(frozen=True)
class Evidence:
    """What tells two extractors apart on the same test patients.

    Attributes
    ----------
    drawn : ndarray, shape (resamples,)
        The primary metric in each draw of the patients.
    contributions : ndarray, shape (patients,) or (blocks,)
        From `TestPatients`.
    """

    drawn: Matrix
    contributions: Matrix


def compare(
    scores: Sequence[ExtractorScore],
    evidence: Mapping[str, Evidence],
    folds: Sequence[Fold],
    metric: Metric,
    *,
    rope: float,
    images: int,
) -> list[Comparison]:
    """Compare every pair, the better one first, with Holm's adjustment over the pairs.

    Parameters
    ----------
    scores
        With a value per fold, the best first.
    evidence
        Per extractor, of the same patients.
    rope
        Half-width of the region of practical equivalence.
    """
    pairs = list(combinations(scores, 2))
    found = [_numbers(a, b, evidence, folds, metric, rope) for a, b in pairs]
    adjusted = holm([numbers["p"] for numbers in found])
    comparisons = []
    for (a, b), numbers, p_holm in zip(pairs, found, adjusted, strict=True):
        verdict = _verdict(p_holm, numbers)
        comparisons.append(
            Comparison(
                first=a.extractor,
                second=b.extractor,
                metric=metric.name,
                p_holm=p_holm,
                verdict=verdict,
                sentence=_sentence(a, b, metric, numbers, verdict, rope, images),
                **numbers,
            )
        )
    return comparisons


def hardly_decidable(folds: Sequence[Fold], extractors: int, mend: str) -> list[str]:
    """Say that two folds can hardly tell extractors apart, and what can.

    The test then has one degree of freedom: its statistic has to exceed 12.7, where that of five
    folds has to exceed 2.8.
    """
    if len(folds) != 2 or extractors < 2:
        return []
    ratio = size_ratio([len(fold.train) for fold in folds], [len(fold.test) for fold in folds])
    # Of two numbers the standard deviation is their gap by the root of two.
    times = float(stats.t.ppf(1 - LEVEL / 2, 1)) * np.sqrt((1 / 2 + ratio) / 2)
    return [
        "2 folds leave the paired test one degree of freedom: it finds a difference only where the"
        f" mean over the folds is more than {times:.0f} times the gap between the two, so that"
        f" pairs of extractors will hardly be decided; {mend}"
    ]


def _numbers(
    a: ExtractorScore,
    b: ExtractorScore,
    evidence: Mapping[str, Evidence],
    folds: Sequence[Fold],
    metric: Metric,
    rope: float,
) -> dict[str, Any]:
    sign = 1.0 if metric.larger_is_better else -1.0
    first, second = evidence[a.extractor], evidence[b.extractor]
    resampled = sign * (first.drawn - second.drawn)
    of_folds = sign * (np.array(a.values) - np.array(b.values))
    defined = np.isfinite(of_folds)
    if defined.sum() < 2:
        contributions = first.contributions - second.contributions
        return {
            **_on_one_test_set(float(np.nanmean(of_folds)), contributions, rope),
            "bootstrap": interval(resampled),
        }
    ratio = size_ratio(
        [len(fold.train) for fold, keep in zip(folds, defined, strict=True) if keep],
        [len(fold.test) for fold, keep in zip(folds, defined, strict=True) if keep],
    )
    test = corrected_t(of_folds[defined], ratio)
    worse, same, better = bayesian_correlated_t(of_folds[defined], ratio, rope)
    return {
        "difference": test.difference,
        "interval": (test.low, test.high),
        "bootstrap": interval(resampled),
        "p": test.p,
        "worse": worse,
        "same": same,
        "better": better,
        "detectable": test.detectable,
    }


def _on_one_test_set(difference: float, contributions: Matrix, rope: float) -> dict[str, Any]:
    """One fold has no spread over folds; the test patients' is all there is.

    Student's t on the patients' contributions to the difference: unlike a share of draws, which
    cannot be less than one of them, its tail goes on, so that a clear difference stands the
    adjustment over any number of pairs.
    """
    variance = over_patients(contributions)
    error, degrees = float(np.sqrt(variance.value)), variance.degrees
    reach, power = (float(stats.t.ppf(level, degrees)) for level in (0.975, 0.8))
    if error > 0:
        p = 2 * float(stats.t.sf(abs(difference) / error, degrees))
        worse = float(stats.t.cdf((-rope - difference) / error, degrees))
        better = float(stats.t.sf((rope - difference) / error, degrees))
    else:  # every patient alike: no spread to judge a difference by
        p = 1.0 if difference == 0 else 0.0
        worse, better = float(difference < -rope), float(difference > rope)
    return {
        "difference": difference,
        "interval": (difference - reach * error, difference + reach * error),
        "p": p,
        "worse": worse,
        "same": max(0.0, 1.0 - worse - better),
        "better": better,
        "detectable": (reach + power) * error,
    }


def _verdict(p_holm: float, numbers: Mapping[str, Any]) -> str:
    if p_holm < LEVEL:
        return "better"
    return "same" if numbers["same"] >= SURE else "undecided"


def _sentence(
    a: ExtractorScore,
    b: ExtractorScore,
    metric: Metric,
    numbers: Mapping[str, Any],
    verdict: str,
    rope: float,
    images: int,
) -> str:
    title = metric.title.removeprefix("macro ")
    low, high = numbers["interval"]
    gap = f"{numbers['difference']:.3f} {title} (95 % interval {low:.3f} to {high:.3f})"
    first, second = _named(a), _named(b)
    if verdict == "better":
        said = f"{first} over {second} by {gap}: better"
        if numbers["better"] >= 0.5:
            return f"{said}, probability {numbers['better']:.2f}"
        return (
            f"{said}, but by less than the {rope:g} that matters (probability of more:"
            f" {numbers['better']:.2f})"
        )
    if verdict == "same":
        return (
            f"{first} and {second}, {gap} apart: practically the same (within {rope:g}),"
            f" probability {numbers['same']:.2f}"
        )
    return (
        f"{first} and {second}, {gap} apart: cannot be told apart on {images} images; the"
        f" difference it could have seen is {numbers['detectable']:.3f}"
    )


def _named(score: ExtractorScore) -> str:
    return f"{score.extractor} (control)" if score.control else score.extractor


def on_fixed_test_set(
    truth: Matrix, first: Matrix, second: Matrix, classes: Sequence[str], exclusive: bool
) -> tuple[list[dict[str, Any]], float | None]:
    """DeLong's test per class and McNemar's, for a test set with one image per patient.

    Parameters
    ----------
    truth, first, second : ndarray, shape (m, K)
        Truth, and the probabilities of the two.

    Returns
    -------
    delong : list of dict
        Per class with at least two images of each kind.
    mcnemar : float or None
        p-value; multi-class only.
    """
    tests = []
    for k, name in enumerate(classes):
        known = np.isfinite(truth[:, k]) & np.isfinite(first[:, k]) & np.isfinite(second[:, k])
        positive = truth[known, k] == 1
        if min(positive.sum(), (~positive).sum()) < 2:
            continue
        found = delong(positive, first[known, k], second[known, k])
        tests.append(
            {
                "class": name,
                "first": found.first,
                "second": found.second,
                "difference": found.difference,
                "standard_error": found.standard_error,
                "z": found.z,
                "p": found.p,
            }
        )
    if not exclusive:
        return tests, None
    y = truth.argmax(axis=1)
    return tests, mcnemar(first.argmax(axis=1) == y, second.argmax(axis=1) == y)


def adjusted_over_all(pairs: Sequence[Comparison]) -> list[Comparison]:
    """Give every DeLong test a ``p_holm``: one family of all classes and pairs of a run."""
    tests = [test for pair in pairs for test in pair.delong]
    adjusted = iter(holm([test["p"] for test in tests]))
    return [
        replace(pair, delong=[test | {"p_holm": next(adjusted)} for test in pair.delong])
        for pair in pairs
    ]
