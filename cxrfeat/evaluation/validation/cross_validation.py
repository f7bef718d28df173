"""Every extractor with every head over the same folds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

from cxrfeat.arrays import Groups, Matrix
from cxrfeat.cores import available_cores
from cxrfeat.evaluation.heads.standardised_fold import SharedFold
from cxrfeat.evaluation.study.alignment import Extractor
from cxrfeat.evaluation.study.folds import Fold
from cxrfeat.evaluation.validation.label_shuffling import permuted_auroc, shuffled_labels
from cxrfeat.evaluation.validation.retrained import Retrained, retrain
from cxrfeat.evaluation.validation.tuning import Outcome, Plan, score_fold

R = TypeVar("R")
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


def cross_validate(
    extractors: Sequence[Extractor],
    labels: Matrix,
    groups: Groups,
    folds: Sequence[Fold],
    plan: Plan,
    *,
    jobs: int | None = None,
    progress: Progress | None = None,
    patients: Groups = None,
) -> CrossValidated:
    """Score all of them.

    Folds run in threads, each with its share of the cores for linear algebra: numpy, libsvm and
    xgboost release the interpreter, and no embedding is copied between processes.

    Parameters
    ----------
    labels : ndarray, shape (N, K)
    groups : ndarray of str, shape (N,), or None
        Patients that tuning keeps together.
    jobs : int or None
        Folds at a time; None for one per core.
    patients
        Patients as far as they are known, also where the folds do not keep them together: labels
        are shuffled among them. Where none are known they cannot be: see `permuted`.
    """
    tasks = [(extractor, fold) for extractor in extractors for fold in folds]
    among = groups if patients is None else patients
    shuffled = None if among is None else shuffled_labels(labels, among, plan.seed)
    counter = _Counter(len(tasks), progress)

    def one(
        extractor: Extractor, fold: Fold
    ) -> tuple[dict[str, Outcome], Matrix | None, dict[str, Retrained]]:
        shared = SharedFold(extractor.X[fold.train], extractor.X[fold.test], extractor.widths)
        known = None if groups is None else groups[fold.train]
        outcomes = score_fold(shared, labels[fold.train], known, plan)
        areas = None if shuffled is None else permuted_auroc(shared, fold, shuffled)
        again = retrain(shared, fold, folds, labels, plan, outcomes)
        counter.count(extractor.name, fold.name)
        return outcomes, areas, again

    done = in_threads(one, tasks, jobs)
    outcomes: dict[tuple[str, str], list[Outcome]] = {}
    areas: dict[str, list[Matrix]] = {}
    retrained: dict[tuple[str, str], list[Retrained | None]] = {}
    for (extractor, _), (of_heads, of_permutations, again) in zip(tasks, done, strict=True):
        if of_permutations is not None:
            areas.setdefault(extractor.name, []).append(of_permutations)
        for head, outcome in of_heads.items():
            outcomes.setdefault((extractor.name, head), []).append(outcome)
            retrained.setdefault((extractor.name, head), []).append(again.get(head))
    return CrossValidated(
        outcomes, {name: np.mean(of, axis=0) for name, of in areas.items()}, retrained
    )


def in_threads(
    work: Callable[..., R], tasks: Sequence[tuple[object, ...]], jobs: int | None
) -> list[R]:
    """Do tasks side by side, the cores shared out among them."""
    cores = available_cores()
    jobs = min(jobs or cores, max(1, len(tasks)))
    with threadpool_limits(max(1, cores // jobs)):
        done: list[R] = Parallel(n_jobs=jobs, backend="threading")(
            delayed(work)(*task) for task in tasks
        )
    return done


class _Counter:
    """Counts finished folds from several threads."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._lock = threading.Lock()
        self._done, self._total, self._progress = 0, total, progress

    def count(self, extractor: str, fold: str) -> None:
        with self._lock:
            self._done += 1
            if self._progress is not None:
                self._progress(FoldDone(extractor, fold, self._done, self._total))
