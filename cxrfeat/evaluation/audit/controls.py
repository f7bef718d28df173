"""How far controls come that see no lungs, or that nothing has trained.

Each control is a matrix that takes the place of the embeddings: same folds, same head. Chance is
the better of two scores that need no picture: that of the majority (the share of each class in the
training images), and, by metrics that score decisions, that of the full image's own predictions
dealt out anew among the test images. So AUROC has 0.5, accuracy the share of the largest class,
AUPRC the prevalence, the log-loss what the shares cost. With ``full`` and ``control`` measured from
chance, and from a perfect score:

- share of the score above chance that a control reaches: (control - chance) / (full - chance);
- what the full image adds of what the control leaves: (full - control) / (perfect - control).

Both have intervals by the delta method, out of the same two parts as every interval of a score
(`cxrfeat.evaluation.statistics.intervals`): the tested patients' contributions to the very
combination of the two scores, and what moves it when a fold is left out of what was learned from.
The best control is the best on these images, so that its share is a little flattered: an audit
that errs does so against the study.

What it can say: that something outside the lungs, or something that no training was needed for,
tells the classes apart here as well as the images do, so that the score alone proves nothing. It
cannot say that the extractor's score comes from there: an image may hold both. And what stays in
the frame may be anatomy, e.g. the neck and the shoulders.

References
----------
The frame as a control: Maguolo G, Nanni L. A critic evaluation of methods for COVID-19 automatic
detection from X-ray images. Inf Fusion 2021;76:1-7. Shortcuts: DeGrave AJ, Janizek JD, Lee SI. AI
for radiographic COVID-19 detection selects shortcuts over signal. Nat Mach Intell 2021;3:610-619.
The delta method: Efron B, Tibshirani RJ. An introduction to the bootstrap. 1993, chapter 21.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from cxrfeat.arrays import Matrix, Matrix32, Vector
from cxrfeat.evaluation.audit.subject import Subject, score
from cxrfeat.evaluation.heads.registry import FLOOR, HEADS
from cxrfeat.evaluation.outcome.compared_study import ComparedStudy
from cxrfeat.evaluation.outcome.extractor_scores import chosen
from cxrfeat.evaluation.outcome.score_intervals import contributions, retrained_of
from cxrfeat.evaluation.statistics.extractor_comparison import Evidence, compare
from cxrfeat.evaluation.statistics.intervals import (
    FEWEST,
    Variance,
    limits,
    over_patients,
    over_training,
)
from cxrfeat.evaluation.statistics.metrics import Metric
from cxrfeat.evaluation.statistics.paired_tests import holm
from cxrfeat.results import Comparison, ExtractorScore
from cxrfeat.results.audit import Figure
from cxrfeat.results.data import Interval

NO_LUNGS, EDGES, WHOLE, NOTHING = "no lungs", "edges of the lungs", "the whole image", "nothing"
"""What a control sees of the lungs."""

LEVEL, POWER = 0.05, 0.8
HALF = 0.5
"""A control that reached this share of the score above chance has to be one that would have been
found; otherwise "not found" would mean nothing, and the answer is "could not be tested"."""

ROPE = 0.01
SHUFFLES = 100
PERFECT = {"log_loss": 0.0, "brier": 0.0}
"""Perfect scores; 1 for all other metrics."""


@dataclass(frozen=True)
class Control:
    """What takes the place of the embeddings.

    Attributes
    ----------
    name : str
        E.g. ``"outer frame through vgg16"``.
    sees : str
        `NO_LUNGS`, `EDGES` or `WHOLE`.
    X : ndarray of float32, shape (N, D)
    seconds : float
        That making it took, scoring not included.
    """

    name: str
    sees: str
    X: Matrix32
    seconds: float = 0.0


@dataclass(frozen=True)
class Rung:
    """A control, or the full image, with its score and what that varies by.

    Attributes
    ----------
    name, sees : str
    score : ExtractorScore
    evidence : Evidence
    contributions : ndarray, shape (patients,) or (blocks,)
        Of the tested patients to the mean over the folds.
    without : ndarray, shape (F, F), or None
        The score of a fold of the first repeat, learned without each other fold.
    share : ndarray, shape (F, F), or None
        Of the training images of a fold, those of the other.
    patients : int
        Tested ones of the rarer class.
    seconds : float
        In all.
    """

    name: str
    sees: str
    score: ExtractorScore
    evidence: Evidence
    contributions: Vector
    without: Matrix | None
    share: Matrix | None
    patients: int
    seconds: float


@dataclass(frozen=True)
class Ladder:
    """All rungs of one extractor.

    Attributes
    ----------
    extractor : str
    full : Rung
    rungs : list of Rung
        The controls, in the order in which they are shown; the majority first.
    chance : float
    metric : Metric
    first_repeat : list of int
        Numbers of the folds that have a `Rung.without`.
    against_full : list of Comparison
        Of the full image with each rung, `Comparison.p_holm` over all of them.
    """

    extractor: str
    full: Rung
    rungs: list[Rung]
    chance: float
    metric: Metric
    first_repeat: list[int]
    against_full: list[Comparison]

    @property
    def sign(self) -> float:
        """1 where larger is better, else -1."""
        return 1.0 if self.metric.larger_is_better else -1.0

    @property
    def perfect(self) -> float:
        """The best score that there is."""
        return PERFECT.get(self.metric.name, 1.0)

    @property
    def blind(self) -> list[Rung]:
        """The controls that see no lungs."""
        return [rung for rung in self.rungs if rung.sees == NO_LUNGS]

    @property
    def informed(self) -> list[Rung]:
        """Every control but the majority."""
        return [rung for rung in self.rungs if rung.sees != NOTHING]

    def best(self, rungs: Sequence[Rung]) -> Rung:
        """Return the one with the best score."""
        return max(rungs, key=lambda rung: np.nan_to_num(self.sign * rung.score.mean, nan=-np.inf))

    def variance(self, *parts: tuple[float, Rung]) -> Variance:
        """Variance of a weighted sum of scores, over tested and training patients together."""
        of_patients = np.sum([weight * rung.contributions for weight, rung in parts], axis=0)
        variance = over_patients(of_patients)
        share = parts[0][1].share
        without = [weight * one.without for weight, one in parts if one.without is not None]
        if share is None or len(without) < len(parts):
            return variance
        values = np.sum(
            [w * np.array(rung.score.values)[self.first_repeat] for w, rung in parts], axis=0
        )
        training = over_training(values, np.sum(without, axis=0), share)
        return variance if training is None else variance + training

    def above_chance(self, rung: Rung, tests: int) -> bool:
        """Whether a score is above chance, when so many controls are asked (Bonferroni)."""
        low, high = limits(
            rung.score.mean, self.variance((1.0, rung)), self.metric.name, rung.patients,
            1 - LEVEL / tests,
        )  # fmt: skip
        return low > self.chance if self.metric.larger_is_better else high < self.chance

    def share_reached(self, rung: Rung) -> Figure:
        """Return which share of the score above chance a control reaches."""
        room = self.full.score.mean - self.chance
        if not self.sign * room > 0:
            return Figure("", float("nan"))
        share = (rung.score.mean - self.chance) / room
        variance = self.variance((1.0, rung), (-share, self.full))
        return Figure("", share, _around(share, variance, room))

    def added(self, rung: Rung) -> Figure:
        """Return what the full image adds of what a control leaves to a perfect score."""
        room = self.perfect - rung.score.mean
        if not self.sign * room > 0:
            return Figure("", float("nan"))
        added = (self.full.score.mean - rung.score.mean) / room
        variance = self.variance((1.0, self.full), (added - 1, rung))
        low, high = _around(added, variance, room)
        return Figure("", added, (low, min(high, 1.0)))  # nothing scores more than perfect

    def detectable(self, rungs: Sequence[Rung]) -> float:
        """Share that the least certain of some controls would be found at, with 80 % power."""
        room = abs(self.full.score.mean - self.chance)
        if not room > 0:
            return float("nan")
        reaches = []
        for rung in rungs:
            variance = self.variance((1.0, rung))
            level = 1 - LEVEL / len(rungs) / 2
            t = [float(stats.t.ppf(q, max(variance.degrees, 1.0))) for q in (level, POWER)]
            reaches.append(sum(t) * float(np.sqrt(variance.value)))
        return max(reaches) / room


def climb(
    subject: Subject, extractor: str, controls: Sequence[Control], full_seconds: float = 0.0
) -> Ladder:
    """Score the controls of an extractor, and the extractor, on the same folds by the same head.

    Parameters
    ----------
    extractor : str
        Name of one of the study's.
    controls : sequence of Control
        Of the subject's images, in its order.
    """
    X = subject.extractor(extractor).X
    full, compared = _rung(subject, extractor, WHOLE, X, full_seconds)
    floor = replace(subject, head=HEADS[FLOOR])
    nothing = np.zeros((len(subject.study), 1), np.float32)
    rungs = [
        _rung(floor, "majority", NOTHING, nothing, 0.0)[0],
        *(_rung(subject, one.name, one.sees, one.X, one.seconds)[0] for one in controls),
    ]
    against = [_compared(subject, full, rung) for rung in rungs]
    adjusted = holm([pair.p for pair in against])
    return Ladder(
        extractor=extractor,
        full=full,
        rungs=rungs,
        chance=_chance(subject, compared, rungs[0].score.mean),
        metric=subject.metric,
        first_repeat=compared.out_of_fold.first_repeat,
        against_full=[replace(pair, p_holm=p) for pair, p in zip(against, adjusted, strict=True)],
    )


def _rung(
    subject: Subject, name: str, sees: str, X: Matrix32, seconds: float
) -> tuple[Rung, ComparedStudy]:
    started = time.perf_counter()
    compared = score(subject, {name: X})
    (of_rung,) = compared.extractors
    found = compared.out_of_fold
    heads, outcomes = chosen(found, name)
    again = retrained_of(found, name, heads)
    first = [again[number] for number in found.first_repeat]
    known = [one for one in first if one is not None]
    whole = len(known) == len(first) >= FEWEST
    rung = Rung(
        name=name,
        sees=sees,
        score=of_rung,
        evidence=compared.evidence[name],
        contributions=contributions(found, subject.metric, outcomes),
        without=np.stack([one.metrics[subject.metric.name] for one in known]) if whole else None,
        share=np.stack([one.share for one in known]) if whole else None,
        patients=min(found.rarer_side),
        seconds=seconds + time.perf_counter() - started,
    )
    return rung, compared


def _chance(subject: Subject, compared: ComparedStudy, majority: float) -> float:
    """Return the better of the majority's score and that of predictions dealt out anew."""
    metric = subject.metric
    if not metric.decides:
        return majority
    found = compared.out_of_fold
    (name,) = (one.name for one in compared.study.extractors)
    _, outcomes = chosen(found, name)
    random = np.random.default_rng(subject.seed)
    dealt = []
    for fold, outcome in zip(found.folds, outcomes, strict=True):
        truth = found.truth[fold.test]
        for _ in range(max(1, SHUFFLES // len(found.folds))):
            p = outcome.probability[random.permutation(len(truth))]
            dealt.append(metric(truth, p, found.exclusive, outcome.cuts))
    shuffled = float(np.nanmean(dealt))
    return max(majority, shuffled) if metric.larger_is_better else min(majority, shuffled)


def _compared(subject: Subject, full: Rung, rung: Rung) -> Comparison:
    evidence = {full.score.extractor: full.evidence, rung.score.extractor: rung.evidence}
    (pair,) = compare(
        [full.score, rung.score], evidence, subject.design.folds, subject.metric,
        rope=ROPE, images=len(subject.study),
    )  # fmt: skip
    return pair


def _around(value: float, variance: Variance, room: float) -> Interval:
    t = float(stats.t.ppf(1 - LEVEL / 2, max(variance.degrees, 1.0)))
    reach = t * float(np.sqrt(variance.value)) / abs(room)
    return value - reach, value + reach
