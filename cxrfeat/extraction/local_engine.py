"""The engine of this process: read images ahead in threads and run the networks beside.

Three things go on at once, with bounded queues between them, so that memory does not grow with
the number of images. Threads read and resize; where a network takes one image on one core, the
same thread runs it too, so that no core waits for another. A network that takes batches runs in a
thread of its own. For accelerators, which take images faster than threads read them, processes
read. The calling thread takes what is ready, in the order of the items.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from cxrfeat import features, images
from cxrfeat.arrays import Picture, Pictures
from cxrfeat.errors import ImageError
from cxrfeat.extraction.batch_memory import BatchMemory
from cxrfeat.extraction.job import KEPT_SECONDS, ComputedImage, OpenJob
from cxrfeat.extraction.picture_cache import (
    KeptImage,
    KeptPictures,
    News,
    PictureCache,
    ReadImage,
)
from cxrfeat.extraction.plan import Lacking, WorkItem
from cxrfeat.extraction.reading_ahead import read_in_order
from cxrfeat.extraction.reading_processes import read_in_processes
from cxrfeat.extraction.sources import NO_STAMP, Stamp
from cxrfeat.framing import Framing

QUEUED = 5
"""Batches for an accelerator beside those that run: they keep it busy while rows are written."""
NEW_TOGETHER, KEPT_TOGETHER = 16, 64
"""Images that a process gets at a time: few that have to be decoded, many that are kept."""


class Stopwatch:
    """Adds up what each step took, over all threads.

    Attributes
    ----------
    seconds : dict of str to float
        Seconds of one thread each, so that their sum may exceed the time of the whole.
    """

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._lock = threading.Lock()

    @contextmanager
    def on(self, step: str) -> Iterator[None]:
        """Count the time of a block for `step`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(step, time.perf_counter() - start)

    def add(self, step: str, seconds: float) -> None:
        """Count some seconds for `step`."""
        with self._lock:
            self.seconds[step] += seconds


@dataclass(frozen=True)
class _Read:
    """One image as it comes out of a reading thread; what each network sees of it.

    `keep` is what of it the cache does not have yet.
    """

    lacking: Lacking
    image: ComputedImage
    seen: Mapping[Framing, Pictures] = field(default_factory=dict)
    seconds: float = 0.0
    keep: ReadImage | None = None


class LocalEngine:
    """Computes rows in threads of this process, in the order of the items.

    Parameters
    ----------
    job : OpenJob
    batch_size : int, optional
        Images that are handed over, and go through a network, together. Default: as many as keep
        the networks busy.
    workers : int
        Threads that read; processes, for accelerators.
    cache : PictureCache, optional
        Opened; where pictures come from, and are kept.

    Attributes
    ----------
    seconds : dict of str to float
        What "reading" and each extractor by its name took so far, in seconds of one thread each;
        "keeping", where pictures are kept.
    """

    def __init__(
        self,
        job: OpenJob,
        *,
        batch_size: int | None = None,
        workers: int,
        cache: PictureCache | None = None,
    ) -> None:
        self._workers = workers
        self._cache = cache
        self._all = job.extractors
        self._batch_size = batch_size or max(
            (one.batch for one in self._all.values()), default=features.BATCH
        )
        self._side_by_side = {n: e for n, e in job.extractors.items() if e.side_by_side}
        self._in_batches = {n: e for n, e in job.extractors.items() if not e.side_by_side}
        self._watch = Stopwatch()
        self._framings = {name: one.framing for name, one in self._all.items()}
        self._at_once = max((one.at_once for one in self._in_batches.values()), default=1)
        self._memory = BatchMemory(pinned=any(one.pinned for one in self._in_batches.values()))
        self._kept = None if cache is None else cache.pictures
        self._how = self._framings, job.reading, self._kept

    @property
    def seconds(self) -> dict[str, float]:
        """What each step took so far."""
        return dict(self._watch.seconds)

    def run(self, items: Sequence[WorkItem]) -> Generator[list[ComputedImage]]:
        """Compute the rows of some items, a batch at a time."""
        batches = _batches(
            self._reading_all(items),
            self._batch_size,
            KEPT_SECONDS if not self._in_batches else None,
        )
        if self._cache is not None:
            batches = self._keeping(self._cache, batches)
        if self._in_batches:
            yield from self._through_networks(batches)
        else:
            for batch in batches:
                yield [read.image for read in batch]

    def _reading_all(self, items: Sequence[WorkItem]) -> Iterator[_Read]:
        """Read all of them, and run those networks that take one image on one core."""
        is_fed = self._at_once > 1 and self._workers > 1 and not self._side_by_side
        if is_fed and len(items) > self._batch_size:  # a batch is read before processes have begun
            yield from self._reading_in_processes(items)
            return
        for read in read_in_order(items, self._read_and_run, self._workers, self._batch_size):
            self._watch.add("reading", read.seconds)
            yield read

    def _reading_in_processes(self, items: Sequence[WorkItem]) -> Iterator[_Read]:
        for reads, news in read_in_processes(
            items,
            partial(_read_some, *self._how),
            self._workers,
            together=KEPT_TOGETHER if self._kept else NEW_TOGETHER,
            ahead=self._batch_size,
            held=self._batch_size * (self._at_once + QUEUED + 2),
            key_bytes=sum(4 * one.size**2 for one in {*self._framings.values()}),
        ):
            if self._kept is not None and news is not None:
                self._kept.add(news)
            self._watch.add("reading", sum(read.seconds for read in reads))
            yield from reads

    def _keeping(
        self, cache: PictureCache, batches: Iterable[list[_Read]]
    ) -> Iterator[list[_Read]]:
        """Keep what was read."""
        for batch in batches:
            with self._watch.on("keeping"):
                cache.keep([read.keep for read in batch if read.keep is not None])
            yield batch

    def _read_and_run(self, item: WorkItem) -> _Read:
        read = _read(*self._how, item)
        if read.image.error is None:
            for name in item.lacking:
                if name in self._side_by_side:
                    extractor = self._side_by_side[name]
                    with self._watch.on(name):
                        read.image.rows[name] = extractor(read.seen[extractor.framing][None])[0]
        return read

    def _through_networks(self, batches: Iterable[list[_Read]]) -> Generator[list[ComputedImage]]:
        """Run batches through networks while the next one is read and the last one is written."""
        queued = 1 if self._at_once == 1 else QUEUED
        with ThreadPoolExecutor(self._at_once, thread_name_prefix="network") as network:
            waiting: deque[Future[list[ComputedImage]]] = deque()
            try:
                for batch in batches:
                    waiting.append(network.submit(self._run, batch))
                    if len(waiting) > self._at_once + queued:
                        yield self._ready(waiting)
                while waiting:
                    yield self._ready(waiting)
            finally:  # the consumer stopped early: what has not begun is left for the next time
                for future in waiting:
                    future.cancel()

    def _ready(self, waiting: deque[Future[list[ComputedImage]]]) -> list[ComputedImage]:
        """Wait for a batch; of a fast network take what else is there, as each commit costs."""
        ready = waiting.popleft().result()
        for _ in range(self._at_once - 1):
            if waiting and waiting[0].done():
                ready = [*ready, *waiting.popleft().result()]
        return ready

    def _together(self, pictures: list[Picture]) -> Pictures:
        """Put pictures into one array; for an accelerator into that of this thread's last batch.

        Rows of an accelerator are of its own memory, and do not refer to the pictures.
        """
        return np.stack(pictures) if self._at_once == 1 else self._memory.together(pictures)

    def _run(self, batch: list[_Read]) -> list[ComputedImage]:
        for (framing, chosen), names in self._alike(batch).items():
            begun = time.perf_counter()
            pictures = self._together([batch[place].seen[framing] for place in chosen])
            extractors = [self._in_batches[name] for name in names]
            for name, rows in zip(names, features.embed_each(extractors, pictures), strict=True):
                self._watch.add(name, time.perf_counter() - begun)
                begun = time.perf_counter()
                for place, row in zip(chosen, rows, strict=True):
                    batch[place].image.rows[name] = row
        return [read.image for read in batch]

    def _alike(self, batch: list[_Read]) -> dict[tuple[Framing, tuple[int, ...]], list[str]]:
        """Say which networks see the same pictures of a batch, as mostly all of them do."""
        alike: defaultdict[tuple[Framing, tuple[int, ...]], list[str]] = defaultdict(list)
        for name, extractor in self._in_batches.items():
            chosen = tuple(
                place
                for place, read in enumerate(batch)
                if read.image.error is None and name in read.lacking
            )
            if chosen:
                alike[extractor.framing, chosen].append(name)
        return alike


def _read(
    of_extractor: Mapping[str, Framing],
    options: images.ReadingOptions,
    kept: KeptPictures | None,
    item: WorkItem,
) -> _Read:
    """Give an image as each extractor sees it that lacks its row: read, or as it was kept."""
    source = item.source
    stamp = source.stamp() or NO_STAMP  # reading it says why
    version = "" if kept is None else source.version()
    framings = {of_extractor[name] for name in item.lacking}
    begun = time.perf_counter()
    if kept is not None and version:
        (found,) = kept.find([version], framings)
        if found is not None:
            return _taken(item, stamp, found, time.perf_counter() - begun)
    try:
        data = source.read(options.max_bytes)
        found = None if kept is None else kept.find_bytes(data, framings)
        if found is None:
            radiograph = images.read_image(data, options=options)
            seen = {framing: images.frame(radiograph.pixels, framing) for framing in framings}
            found = KeptImage(radiograph.sha256, radiograph.warnings, seen)
    except ImageError as error:
        image = ComputedImage(source.id, stamp, error=error)
        return _Read(item.lacking, image, seconds=time.perf_counter() - begun)
    keep = None
    if version:
        keep = ReadImage(version, len(data), found.sha256, found.warnings, found.seen)
    return _taken(item, stamp, found, time.perf_counter() - begun, keep)


def _taken(
    item: WorkItem, stamp: Stamp, found: KeptImage, seconds: float, keep: ReadImage | None = None
) -> _Read:
    told = ComputedImage(item.source.id, stamp, sha256=found.sha256, warnings=found.warnings)
    return _Read(item.lacking, told, found.seen, seconds, keep)


def _read_some(
    of_extractor: Mapping[str, Framing],
    options: images.ReadingOptions,
    kept: KeptPictures | None,
    items: Sequence[WorkItem],
) -> tuple[list[_Read], News | None]:
    """Give some images as `_read` does, and what is new of the kept pictures of this process."""
    taken = [None] * len(items) if not kept else _take(of_extractor, kept, items)
    reads = [
        _read(of_extractor, options, kept, item) if one is None else one
        for item, one in zip(items, taken, strict=True)
    ]
    return reads, None if kept is None else kept.news()


def _take(
    of_extractor: Mapping[str, Framing], kept: KeptPictures, items: Sequence[WorkItem]
) -> list[_Read | None]:
    """Take what is kept of some images, which mostly lies side by side; None for nothing."""
    begun = time.perf_counter()
    stamps = [item.source.stamp() or NO_STAMP for item in items]
    versions = [item.source.version() for item in items]
    by_framings: defaultdict[frozenset[Framing], list[int]] = defaultdict(list)
    for number, item in enumerate(items):
        by_framings[frozenset(of_extractor[name] for name in item.lacking)].append(number)
    found: list[KeptImage | None] = [None] * len(items)
    for framings, numbers in by_framings.items():
        taken = kept.find([versions[number] for number in numbers], framings)
        for number, one in zip(numbers, taken, strict=True):
            found[number] = one
    each = (time.perf_counter() - begun) / len(items)
    return [
        None if one is None else _taken(item, stamp, one, each)
        for item, stamp, one in zip(items, stamps, found, strict=True)
    ]


def _batches(
    items: Iterable[_Read], size: int, seconds: float | None = None
) -> Iterator[list[_Read]]:
    """Group items; with `seconds`, a group is also complete when that much time has passed."""
    batch: list[_Read] = []
    begun = time.monotonic()
    for item in items:
        batch.append(item)
        if len(batch) == size or (seconds is not None and time.monotonic() - begun > seconds):
            yield batch
            batch, begun = [], time.monotonic()
    if batch:
        yield batch
