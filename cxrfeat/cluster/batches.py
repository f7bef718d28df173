"""What becomes of work whose worker died: tried again, halved, and at last given up.

Which of the images (or tasks) in a worker ended it, nobody says. The first time, a batch may only
have been beside the one that did: it is tried again as it is. After that it is halved, until
one item is left; an item that was alone in a worker that died, twice, is what kills it. From its
first loss on, a batch goes through a worker alone, so that nothing else is lost with it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")

ALONE = 3
"""Losses after which a single item counts as deadly: one in company, or by halving, two alone."""


@dataclass(eq=False)
class Batch(Generic[Item]):
    """Items that go to a worker together.

    Attributes
    ----------
    items : list
    losses : int
        How many workers died over it; a half begins with 1.
    """

    items: list[Item]
    losses: int = 0


class Suspects(Generic[Item]):
    """Batches that were lost, and wait to be tried again alone."""

    def __init__(self) -> None:
        self._waiting: deque[Batch[Item]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self) -> Batch[Item]:
        """Return the next one."""
        return self._waiting.popleft()

    def add(self, batch: Batch[Item], *, its_fault: bool) -> Item | None:
        """Take a batch whose worker died; return the item that kills, once it is found.

        Parameters
        ----------
        batch
            Given back by this, it is not to be used again.
        its_fault
            False where the machine went away: that says nothing about the batch.
        """
        losses = batch.losses + its_fault
        if losses >= ALONE and len(batch.items) == 1:
            return batch.items[0]
        if losses > 1 and len(batch.items) > 1:
            middle = len(batch.items) // 2
            halves = batch.items[:middle], batch.items[middle:]
            self._waiting.extend(Batch(half, 1) for half in halves)
        else:
            self._waiting.append(Batch(batch.items, max(losses, 1)))
        return None
