"""Send arrays from a process to the one that waits for them through memory that both see.

A pipe copies what goes through it twice, and one thread at its end takes it out. The arrays of what
is sent are put into a slot of a room instead (pickle's protocol 5 hands them out one by one), and
those that arrive lie there: nothing is copied at the end that waits. A slot is free again when the
last array in it is gone.

The room is a file without a name in the memory of Linux, which ends with its processes, however
they end. Elsewhere, and where all slots are taken, everything goes through the pipe.
"""

from __future__ import annotations

import mmap
import os
import pickle
import weakref
from collections import deque
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

_STEP = 64
"""Bytes to which arrays are aligned."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A stretch of a room; can be pickled.

    Attributes
    ----------
    room : str
        Where other processes open it.
    number : int
        Of the file: the next room of a process may be opened at the same place.
    start, size : int
        In bytes.
    """

    room: str
    number: int
    start: int
    size: int


@dataclass(frozen=True, slots=True)
class Packed:
    """What is sent, with its arrays in a slot.

    Attributes
    ----------
    message : bytes
        Pickled; without the arrays, if they are in a slot.
    slot : Slot or None
    lengths : tuple of int
        Of the arrays in bytes, in their order.
    """

    message: bytes
    slot: Slot | None = None
    lengths: tuple[int, ...] = ()


class SharedRoom:
    """Slots of one size.

    Parameters
    ----------
    count : int
    size : int
        Of each in bytes. What was never used takes no memory.
    """

    def __init__(self, count: int, size: int) -> None:
        self._size = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        self._free: deque[int] = deque()
        self._memory: mmap.mmap | None = None
        if count * size > 0 and hasattr(os, "memfd_create"):
            self._descriptor = os.memfd_create("cxrfeat")
            os.ftruncate(self._descriptor, count * self._size)
            self._memory = mmap.mmap(self._descriptor, count * self._size)
            self._path = f"/proc/{os.getpid()}/fd/{self._descriptor}"
            self._number = os.fstat(self._descriptor).st_ino
            self._free.extend(range(count))

    def take(self) -> Slot | None:
        """Take a slot for what will be sent; None where there is none."""
        if not self._free:
            return None
        # The one that was used last: its memory is there already.
        return Slot(self._path, self._number, self._free.pop() * self._size, self._size)

    def unpack(self, packed: Packed, taken: Slot | None) -> Any:
        """Return what was sent; its arrays lie in the slot that was taken for it."""
        if taken is None:
            return pickle.loads(packed.message)
        number = taken.start // self._size
        if packed.slot is None:  # it did not fit
            self._free.append(number)
            return pickle.loads(packed.message)
        assert self._memory is not None
        whole = np.frombuffer(self._memory, np.uint8, taken.size, taken.start)
        weakref.finalize(whole, self._free.append, number).atexit = False
        return pickle.loads(packed.message, buffers=_parts(whole.data, packed.lengths))

    def close(self) -> None:
        """Take no more slots; arrays that lie in one stay."""
        self._free.clear()
        if self._memory is not None:
            self._memory = None
            os.close(self._descriptor)


def pack(what: Any, slot: Slot | None) -> Packed:
    """Put the arrays of something into a slot, as far as there is one that they fit into."""
    if slot is None:
        return Packed(pickle.dumps(what, pickle.HIGHEST_PROTOCOL))
    arrays: list[pickle.PickleBuffer] = []
    message = pickle.dumps(what, pickle.HIGHEST_PROTOCOL, buffer_callback=arrays.append)
    raw = [array.raw() for array in arrays]
    lengths = tuple(len(each) for each in raw)
    try:
        memory = memoryview(_mapped(slot.room, slot.number))[slot.start : slot.start + slot.size]
    except OSError:
        return pack(what, None)
    if sum(map(_aligned, lengths)) > slot.size:
        return pack(what, None)
    for place, each in zip(_parts(memory, lengths), raw, strict=True):
        place[:] = each
    return Packed(message, slot, lengths)


def _parts(memory: memoryview, lengths: tuple[int, ...]) -> list[memoryview]:
    parts, start = [], 0
    for length in lengths:
        parts.append(memory[start : start + length])
        start += _aligned(length)
    return parts


def _aligned(length: int) -> int:
    return -(-length // _STEP) * _STEP


@lru_cache(maxsize=1)
def _mapped(room: str, number: int) -> mmap.mmap:
    descriptor = os.open(room, os.O_RDWR)
    try:
        return mmap.mmap(descriptor, 0)
    finally:
        os.close(descriptor)
