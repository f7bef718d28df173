"""Where folds are worked on: the machines of a Ray cluster."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits

from cxrfeat.cluster.parcels import Parcel, Sender, unpack
from cxrfeat.cluster.pool import Deadly, Pool, Said
from cxrfeat.cluster.session import connected
from cxrfeat.cluster.shares import Share
from cxrfeat.errors import ClusterError
from cxrfeat.evaluation.validation.side_by_side import Run

LOCAL_OBJECT_BYTES = 2 << 30
"""Shared memory of a local Ray, which holds every extractor's embeddings once."""

R = TypeVar("R")


@dataclass(frozen=True)
class NumberedTask:
    """A task and its place among all; `work` is the same parcel in all of them."""

    place: int
    work: Parcel
    task: Parcel


@dataclass(frozen=True)
class Outcome:
    """What a task gave, or the error that it raised."""

    place: int
    result: Any = None
    error: Exception | None = None


class TaskWorker:
    """Does tasks in a process of its own, one at a time.

    Parameters
    ----------
    threads : int
        Of linear algebra; the last bits of a large product depend on them.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._turn = threading.Lock()
        self._work: tuple[bytes, Callable[..., Any]] | None = None

    def open(self, how: None) -> Said[None]:
        """There is nothing to open."""
        return Said()

    def work(self, items: list[NumberedTask]) -> Said[list[Outcome]]:
        """Do some tasks."""
        with self._turn, threadpool_limits(self._threads):
            return Said([self._outcome(item) for item in items])

    def _outcome(self, item: NumberedTask) -> Outcome:
        try:
            if self._work is None or self._work[0] != item.work.data:
                self._work = item.work.data, unpack(item.work)
            return Outcome(item.place, self._work[1](*unpack(item.task)))
        except Exception as error:  # is raised where the tasks come from
            return Outcome(item.place, error=error)


@contextmanager
def on_ray(address: str | None = None, *, threads: int = 1) -> Iterator[Run]:
    """Give a place to work on the machines of a cluster: a worker for every `threads` cores.

    Parameters
    ----------
    address : str, optional
        As `cluster.session.connected` takes it; default: a local Ray is started.
    threads : int
        Of linear algebra for each task. The bits are those of threads of one process with as many.

    Raises
    ------
    MissingExtraError, InputError, ClusterError
        As `cluster.session.connected` says; or, from the place, a task that ends its process every
        time, e.g. because it takes more memory than there is.
    """
    with connected(address, object_bytes=LOCAL_OBJECT_BYTES) as ray:
        pool: Pool[NumberedTask] = Pool(ray, TaskWorker, (threads,), Share(threads, 0), at_once=1)
        sender = Sender(ray.put)

        def run(
            work: Callable[..., R], tasks: Sequence[tuple[Any, ...]]
        ) -> Iterator[tuple[int, R]]:
            if not tasks:
                return
            common = sender.pack(work)
            packed = deque(
                NumberedTask(place, common, sender.pack(task)) for place, task in enumerate(tasks)
            )
            for events in pool.run(_Waiting(packed)):
                for event in events:
                    if isinstance(event, Deadly):
                        raise ClusterError(
                            f"task {event.item.place + 1} of {len(tasks)} ends its process every "
                            "time, perhaps for want of memory: use machines with more of it"
                        )
                    for outcome in event.value:
                        if outcome.error is not None:
                            raise outcome.error
                        yield outcome.place, outcome.result

        try:
            yield run
        finally:
            pool.close()


class _Waiting:
    """Tasks that nobody does yet."""

    def __init__(self, tasks: deque[NumberedTask]) -> None:
        self._tasks = tasks

    def left(self) -> int:
        return len(self._tasks)

    def take(self, node: str) -> list[NumberedTask]:
        return [self._tasks.popleft()]
