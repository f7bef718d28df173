"""Read images ahead in processes, for accelerators that threads cannot keep fed.

Decoding and resizing release the interpreter's lock only for most of their time: 16 threads read
no more than 4 do. A network on a CPU is never that fast.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future
from functools import partial
from itertools import islice
from typing import TypeVar

from loky import ProcessPoolExecutor

from cxrfeat.errors import InputError

Key = TypeVar("Key")
Item = TypeVar("Item")

CHUNK = 8
"""Items that a process gets at a time: handing one over takes about a tenth of reading it."""
IDLE_SECONDS = 60
"""After which a process without work ends, also where this one was killed."""


def read_in_processes(
    keys: Iterable[Key], read: Callable[[Key], Item], workers: int, ahead: int
) -> Iterator[Item]:
    """Yield ``read(key)`` for every key in the order of `keys`, as `read_in_order` does in threads.

    Parameters
    ----------
    keys : iterable
        Of what can be pickled, as what comes back.
    read : callable
        A function at the top of a module, or `functools.partial` of one.
    workers : int
        Number of processes.
    ahead : int
        Items read beyond the one that is waited for: what bounds the memory.

    Raises
    ------
    InputError
        A process ended before it was done: an image that kills it, or no memory for it.
    """
    pool = ProcessPoolExecutor(workers, timeout=IDLE_SECONDS, initializer=_leave_interrupts)
    waiting: deque[Future[list[Item]]] = deque()
    done = False
    try:
        upcoming = iter(keys)
        while chunk := list(islice(upcoming, CHUNK)):
            waiting.append(pool.submit(_read_each, read, chunk))
            if len(waiting) > ahead // CHUNK + workers:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
        done = True
    except BrokenExecutor as error:
        raise InputError(
            "a process that reads images ended before it was done, because an image kills it or the"
            " memory ran out: everything finished is kept; the same command with --workers 1 reads"
            " in this process"
        ) from error
    finally:  # the consumer stopped early: do not read what nobody waits for
        for future in waiting:
            future.cancel()
        pool.shutdown(wait=True, kill_workers=not done)


def _read_each(read: Callable[[Key], Item], keys: Sequence[Key]) -> list[Item]:
    return [read(key) for key in keys]


_leave_interrupts = partial(signal.signal, signal.SIGINT, signal.SIG_IGN)
"""Ctrl-C is for the process that waits, which then ends these."""
