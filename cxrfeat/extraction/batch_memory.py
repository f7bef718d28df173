"""Put pictures that lie anywhere into the one array that a network on an accelerator takes.

Its memory is used again for the next batch, as to be given fresh memory takes as long as to fill
it. The accelerator fetches the pictures from there itself (page-locked memory), so that no picture
is copied twice.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.lib.stride_tricks import as_strided

from cxrfeat import features
from cxrfeat.arrays import Picture, Pictures


class BatchMemory(threading.local):
    """Memory for a batch, which each thread that asks has of its own.

    Parameters
    ----------
    pinned : bool
        Page-locked, where an accelerator fetches from it.
    """

    def __init__(self, *, pinned: bool) -> None:
        self._pinned = pinned
        self._memory = np.empty((0, 0, 0), np.float32)

    def together(self, pictures: Sequence[Picture]) -> Pictures:
        """Put pictures of one size together; what this thread was given before is overwritten."""
        size = pictures[0].shape
        if len(self._memory) < len(pictures) or self._memory.shape[1:] != size:
            self._memory = features.batch_memory((len(pictures), *size), pinned=self._pinned)
        batch = self._memory[: len(pictures)]
        for start, there in in_a_row(pictures):
            batch[start : start + len(there)] = there
        return batch


def in_a_row(pictures: Sequence[Picture]) -> Iterator[tuple[int, Pictures]]:
    """Find pictures that lie alike at even distances in memory, as those of one process do.

    Each copy gives up the interpreter's lock and waits for it again: of 256 pictures, one by one,
    longer than all of them take to be copied.

    Yields
    ------
    int, ndarray of float32, shape (k, S, S)
        The place of the first one, and a view of it and of those that follow.
    """
    places = np.array([picture.__array_interface__["data"][0] for picture in pictures])
    steps = np.diff(places)
    start = 0
    while start < len(pictures):
        first, stop = pictures[start], start + 1
        while (
            stop < len(pictures)
            and steps[stop - 1] == steps[start]
            and pictures[stop].strides == first.strides
        ):
            stop += 1
        step = int(steps[start]) if stop - start > 1 else 0
        yield start, as_strided(first, (stop - start, *first.shape), (step, *first.strides))
        start = stop
