"""Cores that have no task left: a task whose parts do not depend on each other may take them.

Five folds on two cores leave one idle while the last is worked on, and eleven of sixteen all the
time.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from operator import length_hint
from typing import TypeVar

Item = TypeVar("Item")
R = TypeVar("R")

_of_this_task: ContextVar[SpareCores | None] = ContextVar("spare cores", default=None)


class SpareCores:
    """Counts the cores that have no task left, of a place that works on tasks in threads.

    Parameters
    ----------
    cores : int
        That the place has.
    tasks : int
        That it is going to work on.
    """

    def __init__(self, cores: int, tasks: int) -> None:
        self._spare = threading.Semaphore(max(0, cores - tasks))
        self._counting = threading.Lock()
        self._waiting = max(0, tasks - cores)

    @contextmanager
    def task(self) -> Iterator[None]:
        """Work on a task, which may take what is spare; its own core becomes so after the last."""
        before = _of_this_task.set(self)
        try:
            yield
        finally:
            _of_this_task.reset(before)
            with self._counting:
                self._waiting -= 1
                if self._waiting < 0:  # there is none for this core to begin
                    self._spare.release()

    def take(self) -> bool:
        """Take a spare core, if there is one."""
        return self._spare.acquire(blocking=False)

    def give_back(self) -> None:
        """Give back a core that was taken."""
        self._spare.release()


def on_spare_cores(work: Callable[[Item], R], parts: Sequence[Item]) -> list[R]:
    """Give ``work(part)`` for each: here, and on each core that becomes spare meanwhile.

    Parameters
    ----------
    work : callable
        Its results do not depend on where and beside what it runs.
    parts : sequence

    Returns
    -------
    list
        In the order of the parts.
    """
    cores = _of_this_task.get()
    if cores is None or len(parts) < 2:
        return [work(part) for part in parts]
    done: dict[int, R] = {}
    places = iter(range(len(parts)))  # gives out one at a time, whoever asks
    helping: list[_Helper] = []

    # It must not name itself: a circle would keep what the parts hold until the collector comes.
    def work_on_rest() -> None:
        try:
            for place in places:
                done[place] = work(parts[place])
        finally:
            deque(places, maxlen=0)  # after an error nobody begins another one

    try:
        for place in places:
            while length_hint(places) and cores.take():
                helping.append(_Helper(work_on_rest, cores))
            done[place] = work(parts[place])
        for one in helping:
            one.join()
    finally:
        deque(places, maxlen=0)
    for one in helping:
        if one.error is not None:
            raise one.error
    return [done[place] for place in range(len(parts))]


class _Helper(threading.Thread):
    """Works on a core that was taken, and gives it back; keeps its error."""

    def __init__(self, work: Callable[[], None], cores: SpareCores) -> None:
        # A daemon, as the threads of a pool are: an interrupted run does not wait for it.
        super().__init__(daemon=True)
        self._work, self._cores = work, cores
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self.error = error
        finally:
            self._cores.give_back()
