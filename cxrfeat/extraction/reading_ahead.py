"""Read ahead in threads, in order, and never more than a bounded number of items."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from cxrfeat.cores import available_cores

Key = TypeVar("Key")
Item = TypeVar("Item")

SHORT_WORK = 64
"""How far ahead to read where an item is small and takes a moment: a header, a hash."""


def read_in_order(
    keys: Sequence[Key], read: Callable[[Key], Item], workers: int, ahead: int
) -> Iterator[Item]:
    """Yield ``read(key)`` for every key, in the order of `keys`.

    Parameters
    ----------
    keys : sequence
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


def reader_count(asked: int | None) -> int:
    """Return how many threads read: as asked, else one for each core this process may use."""
    if asked is not None:
        return asked
    return available_cores()
