"""Read images ahead in processes, for accelerators that threads cannot keep fed.

Decoding and resizing release the interpreter's lock only for most of their time: 16 threads read
no more than 4 do. A network on a CPU is never that fast. What is read comes back through memory
that the processes share (`shared_room`).
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
from cxrfeat.extraction.shared_room import Packed, SharedRoom, Slot, pack

Key = TypeVar("Key")
Found = TypeVar("Found")

IDLE_SECONDS = 60
"""After which a process without work ends, also where this one was killed."""


def read_in_processes(
    keys: Iterable[Key],
    read: Callable[[Sequence[Key]], Found],
    workers: int,
    *,
    together: int,
    ahead: int,
    held: int,
    key_bytes: int,
) -> Iterator[Found]:
    """Yield what `read` makes of some keys at a time, in the order of `keys`.

    Parameters
    ----------
    keys : iterable
        Of what can be pickled, as what comes back.
    read : callable
        A function at the top of a module, or `functools.partial` of one.
    workers : int
        Number of processes.
    together : int
        Keys that a process gets at a time: handing one over takes a moment, too.
    ahead : int
        Keys read beyond those that are waited for: what bounds the memory.
    held : int
        Keys of which the arrays are in use while more are asked for; of more than these, they go
        through a pipe.
    key_bytes : int
        What the arrays of a key take.

    Raises
    ------
    InputError
        A process ended before it was done: an image that kills it, or no memory for it.
    """
    pool = ProcessPoolExecutor(workers, timeout=IDLE_SECONDS, initializer=_leave_interrupts)
    most = ahead // together + workers
    room = SharedRoom(most + 1 + -(-held // together), together * key_bytes)
    waiting: deque[tuple[Future[Packed], Slot | None]] = deque()

    def next_one() -> Found:
        future, slot = waiting.popleft()
        return room.unpack(future.result(), slot)

    done = False
    try:
        upcoming = iter(keys)
        while some := list(islice(upcoming, together)):
            slot = room.take()
            waiting.append((pool.submit(_read, read, some, slot), slot))
            if len(waiting) > most:
                yield next_one()
        while waiting:
            yield next_one()
        done = True
    except BrokenExecutor as error:
        raise InputError(
            "a process that reads images ended before it was done, because an image kills it or the"
            " memory ran out: everything finished is kept; the same command with --workers 1 reads"
            " in this process"
        ) from error
    finally:  # the consumer stopped early: do not read what nobody waits for
        for future, _ in waiting:
            future.cancel()
        pool.shutdown(wait=True, kill_workers=not done)
        room.close()


def _read(
    read: Callable[[Sequence[Key]], object], keys: Sequence[Key], slot: Slot | None
) -> Packed:
    return pack(read(keys), slot)


_leave_interrupts = partial(signal.signal, signal.SIGINT, signal.SIG_IGN)
"""Ctrl-C is for the process that waits, which then ends these."""
