"""Where folds are worked on: what a place to do so keeps to, and the local one, threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.pool import ThreadPool
from typing import Any, Protocol, TypeVar

from threadpoolctl import threadpool_limits

from cxrfeat.cores import available_cores
from cxrfeat.errors import TaskDiedError
from cxrfeat.spare_cores import SpareCores

R = TypeVar("R")


class Run(Protocol):
    """Does independent tasks side by side: in threads, in processes or on other machines."""

    def __call__(
        self, work: Callable[..., R], tasks: Sequence[tuple[Any, ...]]
    ) -> Iterator[tuple[int, R]]:
        """Give ``work(*task)`` for every task, each exactly once, in any order.

        - What is yielded is the task's place among `tasks` and its result, as soon as it is there:
          progress is counted by the caller, in its own thread.
        - `work`, the tasks and the results can be pickled. `work` has no side effect and draws no
          random number that its arguments do not decide, so that a task may also be done twice.
        - Large arrays are the same objects in all tasks (an extractor) or stand in `work` (labels,
          folds): a place without common memory sends each of them once, not once a task. They are
          read only.
          What follows one another had better have them in common.
        - An error of a task is raised here, as it was; what has not begun is then left. A task that
          ends its process, each time, raises `TaskDiedError` where that process is not this one.
        - Tasks share out the cores: a task's linear algebra takes as many threads as it is let,
          and the last bits of a large product depend on how many these are. With equal numbers of
          threads, every place gives the same bits.
        """
        ...


@contextmanager
def naming(name: Callable[[int], str]) -> Iterator[None]:
    """Call a task that ends its process by what it is, not by its place."""
    try:
        yield
    except TaskDiedError as died:
        raise TaskDiedError(name(died.place), died.place) from None


def threads_of_each(jobs: int | None = None) -> int:
    """Threads of linear algebra for each of so many tasks at a time; None is one per core.

    They depend on nothing else, so that a run that goes on has as many as before, wherever it goes
    on: the last bits of a large product depend on them.
    """
    cores = available_cores()
    return max(1, cores // (jobs or cores))


def in_threads(jobs: int | None = None, threads: int | None = None) -> Run:
    """Work in threads of this process, each with its share of the cores for linear algebra.

    numpy, libsvm and xgboost release the interpreter, and no embedding is copied.

    Parameters
    ----------
    jobs : int or None
        Tasks at a time; None for one per core.
    threads : int or None
        Of linear algebra for each task; its share of the cores when left out.
    """

    def run(work: Callable[..., R], tasks: Sequence[tuple[Any, ...]]) -> Iterator[tuple[int, R]]:
        if not tasks:
            return
        cores = jobs or available_cores()
        spare, at_once = SpareCores(cores, len(tasks)), min(cores, len(tasks))

        def numbered(of: tuple[int, tuple[Any, ...]]) -> tuple[int, R]:
            with spare.task():
                return of[0], work(*of[1])

        # Left early, by an error or an interruption, the pool does not wait for what is running.
        with threadpool_limits(threads or threads_of_each(jobs)), ThreadPool(at_once) as pool:
            yield from pool.imap_unordered(numbered, enumerate(tasks))

    return run


def in_order(run: Run | None, work: Callable[..., R], tasks: Sequence[tuple[Any, ...]]) -> list[R]:
    """Give what `work` makes of every task, in the order of the tasks; in threads without a run."""
    done = dict((run or in_threads())(work, tasks))
    return [done[place] for place in range(len(tasks))]
