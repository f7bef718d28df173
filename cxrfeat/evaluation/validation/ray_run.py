"""Where folds are worked on: the machines of a Ray cluster."""

from __future__ import annotations

import pickle
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits

from cxrfeat.cluster.parcels import Parcel, Sender, fetched, unpack
from cxrfeat.cluster.pool import Deadly, Pool, Said
from cxrfeat.cluster.session import connected
from cxrfeat.cluster.shares import Node, node_of, share_of_task
from cxrfeat.errors import ClusterError, CxrfeatError, SpecMismatchError, TaskDiedError
from cxrfeat.evaluation.validation.keys import digest_of_module, environment

LOCAL_OBJECT_BYTES = 2 << 30
"""Shared memory of a local Ray, for the embeddings in use; Ray moves what is more to the disk."""

PROCESSOR = "blas"
"""What `environment` calls the linear algebra and the kind of processor that it computes for."""

R = TypeVar("R")


@dataclass(frozen=True)
class NumberedTask:
    """A task and its place among all.

    Attributes
    ----------
    place : int
    work
        Where in the object store the parcel is of what is to be done, the same in all tasks.
    task : Parcel
        The arguments.
    """

    place: int
    work: Any
    task: Parcel


@dataclass(frozen=True)
class Outcome:
    """What a task gave, or the error that it raised.

    Attributes
    ----------
    place : int
    result : bytes
        Pickled, so that it is no part of the object store where it is used.
    error : Exception or None
    """

    place: int
    result: bytes = b""
    error: Exception | None = None


class TaskWorker:
    """Does tasks in a process of its own, one after the other.

    Parameters
    ----------
    threads : int
        Of linear algebra; the last bits of a large product depend on them.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._work: tuple[Any, Callable[..., Any]] | None = None

    def open(self, how: Sequence[str]) -> Said[Mapping[str, Any]]:
        """Tell what computes here, some modules included."""
        return Said(_computing(how))

    def work(self, items: list[NumberedTask]) -> Said[list[Outcome]]:
        """Do some tasks."""
        return Said([self._outcome(item) for item in items])

    def _outcome(self, item: NumberedTask) -> Outcome:
        try:
            work, task = self._unpacked(item)
            # Only now: a library that comes with the work has its own threads, and is limited, too.
            with threadpool_limits(self._threads):
                return Outcome(item.place, pickle.dumps(work(*task)))
        except Exception as error:  # is raised where the tasks come from
            if not isinstance(error, CxrfeatError):
                error.add_note("".join(traceback.format_exception(error)))
            return Outcome(item.place, error=error)

    def _unpacked(self, item: NumberedTask) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        if self._work is None or self._work[0] != item.work:
            self._work = item.work, unpack(fetched(item.work))
        return self._work[1], unpack(item.task)


class RayRun:
    """Does tasks on the machines of a cluster, see `side_by_side.Run`.

    Workers start with the first task.

    Parameters
    ----------
    ray : module
        Connected.
    pool : Pool
        Of `TaskWorker`.
    workers : int
        How many there is room for.
    modules : sequence of str
        That each machine needs as they are here.

    Attributes
    ----------
    workers : int
        Tasks at a time.
    """

    def __init__(
        self, ray: Any, pool: Pool[NumberedTask], workers: int, modules: Sequence[str]
    ) -> None:
        self._ray = ray
        self._pool = pool
        self._modules = modules
        self._ours: Mapping[str, Any] = {}
        self._strangers: list[str] = []
        self.workers = workers

    @property
    def notes(self) -> list[str]:
        """What its user should know about how it ran."""
        lost = self._pool.lost
        said = f"{lost} Ray worker(s) were lost and replaced, and their tasks done again"
        return [*self._strangers, *([said] if lost else [])]

    def __call__(
        self, work: Callable[..., R], tasks: Sequence[tuple[Any, ...]]
    ) -> Iterator[tuple[int, R]]:
        """Give what `work` makes of every task.

        Raises
        ------
        SpecMismatchError
            A machine with another cxrfeat, or other packages or heads; it is named.
        ClusterError
            No machine is of our kind, or none is left.
        TaskDiedError
            A task ends its process three times; what had begun beside it has been given before.
        """
        if not tasks:
            return
        if not self._ours:
            self._ours = _computing(self._modules)
            self._pool.open(self._modules, self._is_of_our_kind)
        common = self._ray.put(Sender(self._ray.put).pack(work))
        waiting = _Waiting(common, tasks, Sender(self._ray.put))
        died = None
        for events in self._pool.run(waiting):
            for event in events:
                if isinstance(event, Deadly):
                    died = event.item.place
                    waiting.stop()
                    continue
                for outcome in event.value:
                    if outcome.error is not None:
                        raise outcome.error
                    yield outcome.place, pickle.loads(outcome.result)
        if died is not None:
            raise TaskDiedError(f"task {died + 1} of {len(tasks)}", died)

    def _is_of_our_kind(self, node: Node, theirs: Mapping[str, Any]) -> bool:
        _require_our_packages(node, self._ours, theirs)
        if set(theirs[PROCESSOR]) <= set(self._ours[PROCESSOR]):
            return True
        self._strangers.append(
            f"{node.host} was not used: its linear algebra ({', '.join(theirs[PROCESSOR])}) rounds"
            " differently from that of this machine"
        )
        return False


@contextmanager
def on_ray(
    address: str | None = None,
    *,
    threads: int = 1,
    memory: float = 0.0,
    dearest: str = "a task",
    modules: Sequence[str] = (),
) -> Iterator[RayRun]:
    """Give a place to work on the machines of a cluster, with a worker for every `threads` CPUs.

    A machine of another kind than this one, whose linear algebra rounds differently, is not used.

    Parameters
    ----------
    address : str, optional
        As `cluster.session.connected` takes it; default: a local Ray is started.
    threads : int
        Of linear algebra for each task. The bits are those of threads of one process with as many,
        also where a machine has fewer CPUs.
    memory : float
        Bytes that a task takes beside its embeddings: a machine gets as many workers as it has
        memory for.
    dearest : str
        The task that takes as much, for people.
    modules : sequence of str
        Of heads from elsewhere, which each machine needs as they are here.

    Raises
    ------
    MissingExtraError, InputError, ClusterError
        As `cluster.session.connected` says; or no machine has room for a task.
    """
    with connected(address, object_bytes=LOCAL_OBJECT_BYTES) as ray:
        nodes = [node_of(told) for told in ray.nodes() if told["Alive"]]
        share = share_of_task(nodes, threads, memory)
        workers = sum(share.workers_on(node) for node in nodes)
        if not workers:
            raise ClusterError(
                f"{dearest} takes about {memory / 1e9:.1f} GB of memory and no machine of the Ray"
                f" cluster has more than {max(node.memory for node in nodes) / 1e9:.1f} GB to give:"
                " leave that head out (--head), or use machines with more memory"
            )
        pool: Pool[NumberedTask] = Pool(ray, TaskWorker, (threads,), share, at_once=1)
        try:
            yield RayRun(ray, pool, workers, modules)
        finally:
            pool.close()


def _computing(modules: Sequence[str]) -> dict[str, Any]:
    return {**environment(), **{name: digest_of_module(name) for name in modules}}


def _require_our_packages(node: Node, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    difference = [
        f"{name}: {ours[name]} here, {theirs.get(name) or 'none'} there"
        for name in ours
        if name != PROCESSOR and theirs.get(name) != ours[name]
    ]
    if difference:
        raise SpecMismatchError(
            f"{node.host} has another cxrfeat, or other packages or heads, than this machine:"
            " install the same on each",
            difference,
        )


class _Waiting:
    """Tasks that nobody does yet; each is packed when it is given away."""

    def __init__(self, work: Any, tasks: Sequence[tuple[Any, ...]], sender: Sender) -> None:
        self._work = work
        self._tasks = deque(enumerate(tasks))
        self._sender = sender

    def left(self) -> int:
        return len(self._tasks)

    def stop(self) -> None:
        """Give away nothing more."""
        self._tasks.clear()

    def take(self, node: str) -> list[NumberedTask]:
        place, task = self._tasks.popleft()
        return [NumberedTask(place, self._work, self._sender.pack(task))]
