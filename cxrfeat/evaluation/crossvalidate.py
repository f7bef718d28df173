"""Every extractor with every head over the same folds."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

from cxrfeat.evaluation.align import Extractor
from cxrfeat.evaluation.folds import Fold, Groups
from cxrfeat.evaluation.heads import Head
from cxrfeat.evaluation.metrics import Metric
from cxrfeat.evaluation.tuning import Outcome, score_fold


@dataclass(frozen=True)
class FoldDone:
    """Told to the caller after each fold of each extractor."""

    extractor: str
    fold: str
    done: int
    total: int


Progress = Callable[[FoldDone], None]


def cross_validate(
    extractors: Sequence[Extractor],
    y: npt.NDArray[np.intp],
    groups: Groups,
    folds: Sequence[Fold],
    heads: Sequence[Head],
    metric: Metric,
    *,
    seed: int,
    jobs: int | None,
    progress: Progress | None = None,
) -> dict[tuple[str, str], list[Outcome]]:
    """Score all of them; the outcomes of an extractor and head are in the order of `folds`.

    Folds run in threads, each with its share of the cores for linear algebra: numpy, libsvm and
    xgboost release the interpreter, and no embedding is copied between processes.

    Parameters
    ----------
    jobs : int or None
        Folds at a time; None for one per core.
    """
    cores = available_cores()
    tasks = [(extractor, fold) for extractor in extractors for fold in folds]
    jobs = min(jobs or cores, len(tasks))
    count, lock = 0, threading.Lock()

    def one(extractor: Extractor, fold: Fold) -> dict[str, Outcome]:
        nonlocal count
        outcome = score_fold(extractor.X, y, groups, fold.train, fold.test, heads, metric, seed)
        with lock:
            count += 1
            if progress is not None:
                progress(FoldDone(extractor.name, fold.name, count, len(tasks)))
        return outcome

    with threadpool_limits(max(1, cores // jobs)):
        done = Parallel(n_jobs=jobs, backend="threading")(delayed(one)(*task) for task in tasks)
    results: dict[tuple[str, str], list[Outcome]] = {}
    for (extractor, _), outcomes in zip(tasks, done, strict=True):
        for head, outcome in outcomes.items():
            results.setdefault((extractor.name, head), []).append(outcome)
    return results


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
