"""What workers of a Ray cluster get: where an image is, or its bytes.

Whether a machine sees a file is not asked of anybody; it is found out. A worker looks for the file
with the size and time that it has here, and says where there is none: this process then reads the
image and sends the bytes, for that machine from then on.
"""

from __future__ import annotations

import hashlib
import io
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from cxrfeat import features
from cxrfeat.cluster.pool import Done
from cxrfeat.errors import ImageError
from cxrfeat.extraction.job import ComputedImage
from cxrfeat.extraction.plan import WorkItem
from cxrfeat.extraction.sources import NO_STAMP, FileSource, MemberSource, Stamp

SENT_BYTES = 64 << 20
"""Of images that are sent in one batch; a single one may be larger."""

QUICK_SECONDS, MOST_TIMES = 0.5, 16
"""A batch that takes less is followed by one of twice as many images, up to so many times more."""


@dataclass(frozen=True)
class SentImage:
    """An image whose bytes come with it.

    Attributes
    ----------
    id : str
    data : bytes
    known_stamp : Stamp
        Of the image where it lies.
    """

    id: str
    data: bytes
    known_stamp: Stamp

    def stamp(self) -> Stamp:
        """Return the stamp of the image that was read."""
        return self.known_stamp

    def version(self) -> str:
        """Return "": it has been read already."""
        return ""

    def read(self, limit: int) -> bytes:
        """Return its bytes, of which nobody sends more than `limit`."""
        return self.data

    def open(self) -> BinaryIO:
        """Open its bytes."""
        return io.BytesIO(self.data)

    def head(self, count: int) -> bytes:
        """Return its first bytes."""
        return self.data[:count]

    def sha256(self) -> str:
        """Return the sha256 of its bytes."""
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True)
class Asked:
    """What a worker is to compute, and which image it has to find."""

    item: WorkItem
    stamp: Stamp


class Supply:
    """The images that nobody computes yet: by where they are, or by their bytes.

    Parameters
    ----------
    items
        What lacks which rows.
    most_bytes : int
        Of an image; one of more fails.
    readers
        Read what is sent.
    batch_size : int or None
        Images that a worker gets together. Default: 32, and more where these keep it busy for less
        than a moment.
    """

    def __init__(
        self,
        items: Sequence[WorkItem],
        most_bytes: int,
        readers: ThreadPoolExecutor,
        batch_size: int | None,
    ) -> None:
        self._upcoming = iter(items)
        self._not_made = len(items)
        self._waiting: deque[WorkItem] = deque()  # few of them: a million are not made at once
        self._to_send: deque[WorkItem] = deque()
        self._missed_by: dict[str, str] = {}  # image to machine
        self._blind: set[str] = set()
        self._failed: list[ComputedImage] = []
        self._limit = most_bytes
        self._readers = readers
        self._size = batch_size or features.BATCH
        self._most = batch_size or features.BATCH * MOST_TIMES

    def left(self) -> int:
        """Return for about how many batches there are images."""
        waiting = self._not_made + len(self._waiting) + len(self._to_send)
        return -(-waiting // self._size)

    def take(self, node: str) -> list[Asked]:
        """Return the images of the next batch for a worker on a machine."""
        asked: list[Asked] = []
        while not asked and self.left():
            some = list(islice(self._upcoming, max(0, self._size - len(self._waiting))))
            self._waiting += some
            self._not_made -= len(some)
            if self._to_send:
                asked = self._by_bytes(self._to_send)
            elif node in self._blind:
                asked = self._by_bytes(self._waiting)
            else:
                asked = self._by_place()
        return asked

    def came_back(self, done: Done[Asked]) -> None:
        """Take back what a machine could not read, and learn from that and from the time."""
        for asked in done.items:
            if asked.item.source.id in done.value.not_there:
                self._missed_by[asked.item.source.id] = done.node
                self._to_send.append(asked.item)
        if done.value.seconds < QUICK_SECONDS:
            self._size = min(2 * self._size, self._most)

    def failed_here(self) -> list[ComputedImage]:
        """Return the images that this process, which had to read them, cannot read; each once."""
        failed, self._failed = self._failed, []
        return failed

    def _by_place(self) -> list[Asked]:
        batch = [_anywhere(self._waiting.popleft()) for _ in self._next(self._waiting)]
        stamps = self._readers.map(lambda item: item.source.stamp(), batch)
        asked = []
        for item, stamp in zip(batch, stamps, strict=True):
            if stamp is None:
                self._to_send.append(item)  # reading it says why
            else:
                asked.append(Asked(item, stamp))
        return asked

    def _by_bytes(self, waiting: deque[WorkItem]) -> list[Asked]:
        batch: list[WorkItem] = []
        total = 0
        for _ in self._next(waiting):
            total += (waiting[0].source.stamp() or NO_STAMP).size
            if batch and total > SENT_BYTES:
                break
            batch.append(waiting.popleft())
        asked = []
        for item, read in zip(batch, self._readers.map(self._read, batch), strict=True):
            if isinstance(read, ComputedImage):
                self._failed.append(read)
            else:
                if machine := self._missed_by.pop(item.source.id, ""):
                    self._blind.add(machine)  # it is there: that machine does not see our files
                asked.append(Asked(WorkItem(read, item.lacking), read.known_stamp))
        return asked

    def _read(self, item: WorkItem) -> SentImage | ComputedImage:
        source = item.source
        stamp = source.stamp() or NO_STAMP
        try:
            return SentImage(source.id, source.read(self._limit), stamp)
        except ImageError as error:
            return ComputedImage(source.id, stamp, error=error)

    def _next(self, waiting: deque[WorkItem]) -> range:
        return range(min(self._size, len(waiting)))


def _anywhere(item: WorkItem) -> WorkItem:
    """Write out a path from its root: workers run in other folders."""
    source = item.source
    if isinstance(source, FileSource) and not (path := Path(source.path)).is_absolute():
        return WorkItem(replace(source, path=path.absolute()), item.lacking)
    if isinstance(source, MemberSource) and not source.member.archive.path.is_absolute():
        archive = source.member.archive
        archive = replace(archive, path=archive.path.absolute())
        member = replace(source.member, archive=archive)
        return WorkItem(replace(source, member=member), item.lacking)
    return item
