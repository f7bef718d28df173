"""Read ahead in threads, in order, and never more than a bounded number of items."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from cxrfeat.cores import available_cores

Key = TypeVar("Key")
Item = TypeVar("Item")

SHORT_WORK = 48
"""How far ahead to read where an item is small and takes a moment: a header, a hash."""

TOGETHER = 16
"""Such items that a thread takes at a time: to hand one over takes as long as to read it."""


def read_in_order(
    keys: Iterable[Key], read: Callable[[Key], Item], workers: int, ahead: int
) -> Iterator[Item]:
    """Yield ``read(key)`` for every key, in the order of `keys`.

    Parameters
    ----------
    keys : iterable
    read : callable
        Called in `workers` threads; image decoding releases the interpreter lock.
    workers : int
        Number of threads.
    ahead : int
        Items read beyond the one that is waited for: what bounds the memory.
    """
    with ThreadPoolExecutor(workers, thread_name_prefix="read") as pool:
        waiting: deque[Future[Item]] = deque()
        upcoming = iter(keys)
        try:
            for key in upcoming:
                waiting.append(pool.submit(read, key))
                if len(waiting) > ahead + workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:  # the consumer stopped early: do not read what nobody waits for
            for future in waiting:
                future.cancel()


def look_in_order(keys: Iterable[Key], look: Callable[[Key], Item], workers: int) -> Iterator[Item]:
    """Yield ``look(key)`` for every key, in their order, where each takes a moment."""

    def look_at_some(some: list[Key]) -> list[Item]:
        return [look(key) for key in some]

    for found in read_in_order(
        _grouped(keys, TOGETHER), look_at_some, workers, SHORT_WORK // TOGETHER
    ):
        yield from found


def _grouped(keys: Iterable[Key], size: int) -> Iterator[list[Key]]:
    upcoming = iter(keys)
    while some := list(islice(upcoming, size)):
        yield some


def reader_count(asked: int | None) -> int:
    """Return how many threads read: as asked, else one for each core this process may use."""
    if asked is not None:
        return asked
    return available_cores()
