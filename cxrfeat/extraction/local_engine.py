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
from cxrfeat.arrays import Pictures
from cxrfeat.errors import ImageError
from cxrfeat.extraction.job import KEPT_SECONDS, ComputedImage, OpenJob
from cxrfeat.extraction.plan import WorkItem
from cxrfeat.extraction.reading_ahead import read_in_order
from cxrfeat.extraction.reading_processes import read_in_processes
from cxrfeat.extraction.sources import NO_STAMP
from cxrfeat.framing import Framing


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
    """One image as it comes out of a reading thread; what each network sees of it, or none."""

    item: WorkItem
    image: ComputedImage
    seen: dict[Framing, Pictures] = field(default_factory=dict)
    seconds: float = 0.0


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

    Attributes
    ----------
    seconds : dict of str to float
        What "reading" and each extractor by its name took so far, in seconds of one thread each.
    """

    def __init__(self, job: OpenJob, *, batch_size: int | None = None, workers: int) -> None:
        self._workers = workers
        self._all = job.extractors
        self._batch_size = batch_size or max(
            (one.batch for one in self._all.values()), default=features.BATCH
        )
        self._side_by_side = {n: e for n, e in job.extractors.items() if e.side_by_side}
        self._in_batches = {n: e for n, e in job.extractors.items() if not e.side_by_side}
        self._watch = Stopwatch()
        self._read = partial(
            _read, {name: one.framing for name, one in self._all.items()}, job.reading
        )

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
        if self._in_batches:
            yield from self._through_networks(batches)
        else:
            for batch in batches:
                yield [read.image for read in batch]

    def _reading_all(self, items: Sequence[WorkItem]) -> Iterator[_Read]:
        """Read all of them, and run those networks that take one image on one core."""
        fed = [extractor.at_once for extractor in self._in_batches.values()]
        in_processes = max(fed, default=1) > 1 and self._workers > 1 and not self._side_by_side
        if in_processes:
            reads = read_in_processes(items, self._read, self._workers, self._batch_size)
        else:
            reads = read_in_order(items, self._read_and_run, self._workers, self._batch_size)
        for read in reads:
            self._watch.add("reading", read.seconds)
            yield read

    def _read_and_run(self, item: WorkItem) -> _Read:
        read = self._read(item)
        if read.image.error is None:
            for name in item.lacking:
                if name in self._side_by_side:
                    extractor = self._side_by_side[name]
                    with self._watch.on(name):
                        read.image.rows[name] = extractor(read.seen[extractor.framing][None])[0]
        return read

    def _through_networks(self, batches: Iterable[list[_Read]]) -> Generator[list[ComputedImage]]:
        """Run batches through networks while the next one is read and the last one is written."""
        at_once = max(extractor.at_once for extractor in self._in_batches.values())
        with ThreadPoolExecutor(at_once, thread_name_prefix="network") as network:
            waiting: deque[Future[list[ComputedImage]]] = deque()
            try:
                for batch in batches:
                    waiting.append(network.submit(self._run, batch))
                    if len(waiting) > at_once + 1:  # they run, one is ready
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:  # the consumer stopped early: what has not begun is left for the next time
                for future in waiting:
                    future.cancel()

    def _run(self, batch: list[_Read]) -> list[ComputedImage]:
        for name, extractor in self._in_batches.items():
            chosen = [r for r in batch if r.image.error is None and name in r.item.lacking]
            if chosen:
                with self._watch.on(name):
                    pictures = np.stack([read.seen[extractor.framing] for read in chosen])
                    rows = extractor(pictures)
                for read, row in zip(chosen, rows, strict=True):
                    read.image.rows[name] = row
        return [read.image for read in batch]


def _read(
    of_extractor: Mapping[str, Framing], options: images.ReadingOptions, item: WorkItem
) -> _Read:
    """Read an image as each extractor that lacks its row sees it."""
    source = item.source
    stamp = source.stamp() or NO_STAMP  # reading it says why
    begun = time.perf_counter()
    try:
        radiograph = images.read_image(source.read(options.max_bytes), options=options)
    except ImageError as error:
        image = ComputedImage(source.id, stamp, error=error)
        return _Read(item, image, seconds=time.perf_counter() - begun)
    framings = {of_extractor[name] for name in item.lacking}
    seen = {framing: images.frame(radiograph.pixels, framing) for framing in framings}
    image = ComputedImage(source.id, stamp, sha256=radiograph.sha256, warnings=radiograph.warnings)
    return _Read(item, image, seen, time.perf_counter() - begun)


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
