"""Every extractor with every head over the same folds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from cxrfeat.arrays import Groups, Matrix, Matrix32
from cxrfeat.evaluation.heads.standardised_fold import SharedFold
from cxrfeat.evaluation.study.folds import Fold
from cxrfeat.evaluation.study.study import Extractor
from cxrfeat.evaluation.validation.label_shuffling import (
    can_be_shuffled,
    permuted_auroc,
    shuffled_labels,
)
from cxrfeat.evaluation.validation.retrained import Retrained, retrain
from cxrfeat.evaluation.validation.side_by_side import Run, in_threads
from cxrfeat.evaluation.validation.tuning import Outcome, Plan, score_fold

Outcomes = Mapping[tuple[str, str], Sequence[Outcome]]


@dataclass(frozen=True)
class FoldDone:
    """Told to the caller after each fold of each extractor."""

    extractor: str
    fold: str
    done: int
    total: int


Progress = Callable[[FoldDone], None]


@dataclass(frozen=True)
class CrossValidated:
    """What came out of all folds.

    Attributes
    ----------
    outcomes : dict of (extractor, head) to list of Outcome
        In the order of the folds.
    permuted : dict of str to ndarray
        Per extractor, the mean AUROC over the folds on shuffled labels, one per permutation; empty
        where no patients are known.
    retrained : dict of (extractor, head) to list of Retrained or None
        In the order of the folds; None for later repeats and where there are too few folds.
    """

    outcomes: dict[tuple[str, str], list[Outcome]]
    permuted: dict[str, Matrix]
    retrained: dict[tuple[str, str], list[Retrained | None]]


@dataclass(frozen=True)
class Common:
    """What the folds of all extractors have in common.

    Attributes
    ----------
    labels : ndarray, shape (N, K)
    groups : ndarray of str, shape (N,), or None
        Patients that tuning keeps together.
    folds : list of Fold
    plan : Plan
    shuffled : ndarray, shape (N, PERMUTATIONS, K), or None
        Labels dealt out anew among patients; None where none is known to have several images.
    """

    labels: Matrix
    groups: Groups
    folds: Sequence[Fold]
    plan: Plan
    shuffled: Matrix32 | None = None


@dataclass(frozen=True)
class FoldScores:
    """One extractor on one fold.

    Attributes
    ----------
    outcomes : dict of str to Outcome
        Per head.
    permuted : ndarray, shape (PERMUTATIONS,), or None
        AUROC on shuffled labels.
    retrained : dict of str to Retrained
        Per head; empty for later repeats and where there are too few folds.
    """

    outcomes: dict[str, Outcome]
    permuted: Matrix | None
    retrained: dict[str, Retrained]


def score_extractor(common: Common, extractor: Extractor, number: int) -> FoldScores:
    """Score one extractor with every head on the fold of a number.

    It depends on its arguments alone, and they and the result can be pickled: it runs anywhere.
    """
    fold, labels = common.folds[number], common.labels
    shared = SharedFold(extractor.X, fold.train, fold.test, extractor.widths)
    known = None if common.groups is None else common.groups[fold.train]
    outcomes = score_fold(shared, labels[fold.train], known, common.plan)
    return FoldScores(
        outcomes,
        None if common.shuffled is None else permuted_auroc(shared, fold, common.shuffled),
        retrain(shared, fold, common.folds, labels, common.plan, outcomes),
    )


def cross_validate(
    extractors: Sequence[Extractor],
    labels: Matrix,
    groups: Groups,
    folds: Sequence[Fold],
    plan: Plan,
    *,
    run: Run | None = None,
    progress: Progress | None = None,
    patients: Groups = None,
) -> CrossValidated:
    """Score all of them.

    Parameters
    ----------
    labels : ndarray, shape (N, K)
    groups : ndarray of str, shape (N,), or None
        Patients that tuning keeps together.
    run : Run or None
        Where the folds are worked on; in threads, one per core, when left out.
    patients
        Patients as far as they are known, also where the folds do not keep them together: labels
        are shuffled among them. Where none has several images they cannot be: see `permuted`.
    """
    among = groups if patients is None else patients
    shuffled = shuffled_labels(labels, among, plan.seed) if can_be_shuffled(among) else None
    common = Common(labels, groups, folds, plan, shuffled)
    tasks = [(extractor, number) for extractor in extractors for number in range(len(folds))]
    done: dict[int, FoldScores] = {}
    for place, scores in (run or in_threads())(partial(score_extractor, common), tasks):
        done[place] = scores
        if progress is not None:
            extractor, number = tasks[place]
            progress(FoldDone(extractor.name, folds[number].name, len(done), len(tasks)))
    return _by_extractor(tasks, [done[place] for place in range(len(tasks))])


def _by_extractor(
    tasks: Sequence[tuple[Extractor, int]], done: Sequence[FoldScores]
) -> CrossValidated:
    outcomes: dict[tuple[str, str], list[Outcome]] = {}
    areas: dict[str, list[Matrix]] = {}
    retrained: dict[tuple[str, str], list[Retrained | None]] = {}
    for (extractor, _), scores in zip(tasks, done, strict=True):
        if scores.permuted is not None:
            areas.setdefault(extractor.name, []).append(scores.permuted)
        for head, outcome in scores.outcomes.items():
            outcomes.setdefault((extractor.name, head), []).append(outcome)
            retrained.setdefault((extractor.name, head), []).append(scores.retrained.get(head))
    return CrossValidated(
        outcomes, {name: np.mean(of, axis=0) for name, of in areas.items()}, retrained
    )
