"""Read images once and give every embedding file the rows it lacks.

Three things go on at once, with bounded queues between them, so that memory does not grow with
the number of images. Threads read and resize; where a network takes one image on one core, the
same thread runs it too, so that no core waits for another. A network that takes batches runs in a
thread of its own. The calling thread writes, in the order of the images whatever came first.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from cxrfeat import features, images
from cxrfeat.arrays import Matrix32, Pictures
from cxrfeat.errors import ImageError
from cxrfeat.extraction.reading_ahead import read_in_order
from cxrfeat.images import ReadingOptions

KEPT_SECONDS = 2.0
"""Rows are written at least this often, so that an interruption costs little work."""


@dataclass(frozen=True)
class Progress:
    """How far an extraction is; given to `progress` after every batch.

    Attributes
    ----------
    done, total : int
        Images, of those that are to be computed in this run.
    failed : int
        Of `done`.
    """

    done: int
    total: int
    failed: int


class Sink(Protocol):
    """Where rows go: an embedding file, or memory."""

    def write(
        self,
        ids: Sequence[str],
        vectors: Matrix32,
        sha256: Sequence[str],
        stats: Sequence[tuple[int, int]] | None = None,
    ) -> Sequence[str]:
        """Take the embeddings of some images, shape (k, D); return whose it could not take."""
        ...

    def fail(
        self,
        id: str,
        code: str,
        reason: str,
        sha256: str = "",
        stat: tuple[int, int] | None = None,
    ) -> None:
        """Take why an image has none."""
        ...

    def commit(self) -> None:
        """Make everything taken so far last."""
        ...


@dataclass
class Target:
    """One extractor with what it fills.

    Attributes
    ----------
    name : str
    extractor : Extractor
    sink : Sink
    pending : set of str
        Ids of the images that it lacks.
    failed : set of str
        Those of them that could not be read, or whose row is not finite or does not fit.
    computed : int
        Rows that the sink took.
    """

    name: str
    extractor: features.Extractor
    sink: Sink
    pending: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    computed: int = 0


@dataclass(frozen=True)
class _Read:
    """One image as it comes out of a reading thread: the picture in every size, or why not.

    `rows` holds what networks that run side by side made of it, by the target's name.
    """

    id: str
    sizes: dict[int, Pictures]
    sha256: str
    stat: tuple[int, int]
    error: ImageError | None = None
    warnings: tuple[str, ...] = ()
    rows: dict[str, Matrix32] = field(default_factory=dict)


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
            with self._lock:
                self.seconds[step] += time.perf_counter() - start


@dataclass
class Seen:
    """What went by while the files were filled."""

    read: int = 0
    failed: int = 0
    stopped_early: bool = False
    warnings: Counter[str] = field(default_factory=Counter)
    watch: Stopwatch = field(default_factory=Stopwatch)

    def notes(self) -> list[str]:
        """Say how many images had each warning."""
        return [f"{warning}: {count} image(s)" for warning, count in self.warnings.most_common()]


def fill(
    targets: list[Target],
    paths: Mapping[str, Path],
    options: ReadingOptions,
    *,
    batch_size: int | None,
    workers: int,
    max_failures: int | None,
    progress: Callable[[Progress], None] | None,
) -> Seen:
    """Read what any file still needs, once, and give every file its rows.

    Parameters
    ----------
    targets : list of Target
    paths : mapping of str to Path
        Every image by its id, in the order in which they are read.
    options, batch_size, workers, max_failures, progress
        As `cxrfeat.extract` takes them.
    """
    wanted = set[str]().union(*(target.pending for target in targets))
    order = [id_ for id_ in paths if id_ in wanted]
    sizes = sorted({target.extractor.image_size for target in targets})
    side_by_side = [target for target in targets if target.extractor.side_by_side]
    in_batches = [target for target in targets if not target.extractor.side_by_side]
    seen = Seen()
    if not order:
        return seen
    if batch_size is None:
        batch_size = features.BATCH

    def read(id_: str) -> _Read:
        item = _read(id_, paths[id_], sizes, options, seen.watch)
        for target in side_by_side:
            if item.error is None and id_ in target.pending:
                with seen.watch.on(target.name):
                    pictures = item.sizes[target.extractor.image_size][None]
                    item.rows[target.name] = target.extractor(pictures)[0]
        return item

    batches = _batches(
        read_in_order(order, read, workers, batch_size),
        batch_size,
        KEPT_SECONDS if not in_batches else None,
    )
    for batch in _through_networks(batches, in_batches, seen.watch):
        with seen.watch.on("writing"):
            for target in targets:
                _write(target, [item for item in batch if item.id in target.pending])
        seen.read += len(batch)
        seen.failed += sum(any(item.id in target.failed for target in targets) for item in batch)
        seen.warnings.update(warning for item in batch for warning in item.warnings)
        if progress:
            progress(Progress(seen.read, len(order), seen.failed))
        if max_failures is not None and seen.failed > max_failures:
            seen.stopped_early = True
            break
    return seen


def _read(
    id_: str, path: Path, sizes: Sequence[int], options: ReadingOptions, watch: Stopwatch
) -> _Read:
    try:
        stat = path.stat()
        seen = (stat.st_size, stat.st_mtime_ns)
    except (OSError, ValueError):
        seen = (0, 0)  # reading it says why
    with watch.on("reading"):
        try:
            radiograph = images.read_image(path, options=options)
        except ImageError as error:
            return _Read(id_, {}, "", seen, error)
        resized = {size: images.resize(radiograph.pixels, size) for size in sizes}
    return _Read(id_, resized, radiograph.sha256, seen, warnings=radiograph.warnings)


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


def _through_networks(
    batches: Iterable[list[_Read]], targets: Sequence[Target], watch: Stopwatch
) -> Iterator[list[_Read]]:
    """Run batches through networks while the next one is read and the last one is written."""
    if not targets:
        yield from batches
        return

    def embed(batch: list[_Read]) -> list[_Read]:
        for target in targets:
            chosen = [item for item in batch if not item.error and item.id in target.pending]
            if chosen:
                with watch.on(target.name):
                    size = target.extractor.image_size
                    rows = target.extractor(np.stack([item.sizes[size] for item in chosen]))
                for item, row in zip(chosen, rows, strict=True):
                    item.rows[target.name] = row
        return batch

    with ThreadPoolExecutor(1, thread_name_prefix="network") as network:
        waiting: deque[Future[list[_Read]]] = deque()
        try:
            for batch in batches:
                waiting.append(network.submit(embed, batch))
                if len(waiting) > 2:  # one runs, one is ready
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:  # the consumer stopped early: what has not begun is left for the next time
            for future in waiting:
                future.cancel()


def _write(target: Target, batch: list[_Read]) -> None:
    good = []
    for item in batch:
        if item.error is None and not np.isfinite(item.rows[target.name]).all():
            precision = target.extractor.spec["precision"]
            item = replace(item, error=ImageError("not-finite", _not_finite(precision)))
        if item.error is None:
            good.append(item)
            continue
        code, reason = item.error.code, item.error.reason
        target.sink.fail(item.id, code, reason, item.sha256, item.stat)
        target.failed.add(item.id)
    if good:
        refused = target.sink.write(
            [item.id for item in good],
            np.stack([item.rows[target.name] for item in good]),
            [item.sha256 for item in good],
            stats=[item.stat for item in good],
        )
        target.failed.update(refused)
        target.computed += len(good) - len(refused)
    target.sink.commit()


def _not_finite(precision: str) -> str:
    if precision == "fp32":
        return "the embedding has NaN or infinity: these weights do not suit this image"
    return f"the embedding has NaN or infinity in {precision}: use --precision fp32"
