"""Read images once and give every embedding file the rows it lacks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cxrfeat import features, images, store
from cxrfeat.errors import ImageError
from cxrfeat.images import ReadingOptions
from cxrfeat.verbs.reading import read_in_order


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


@dataclass
class Target:
    """One extractor with the file it fills."""

    name: str
    extractor: features.Extractor
    writer: store.StoreWriter
    pending: set[str] = field(default_factory=set)
    computed: int = 0


@dataclass(frozen=True)
class _Read:
    """One image as it comes out of a reading thread: the picture in every size, or why not."""

    id: str
    sizes: dict[int, npt.NDArray[np.float32]]
    sha256: str
    stat: tuple[int, int]
    error: ImageError | None = None
    warnings: tuple[str, ...] = ()


@dataclass
class Seen:
    """What went by while the files were filled."""

    read: int = 0
    failed: int = 0
    stopped_early: bool = False
    warnings: Counter[str] = field(default_factory=Counter)

    def notes(self) -> list[str]:
        """Say how many images had each warning."""
        return [f"{warning}: {count} image(s)" for warning, count in self.warnings.most_common()]


def fill(
    targets: list[Target],
    paths: Mapping[str, Path],
    options: ReadingOptions,
    *,
    batch_size: int,
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

    def read(id_: str) -> _Read:
        return _read(id_, paths[id_], sizes, options)

    seen = Seen()
    for batch in _batches(read_in_order(order, read, workers, batch_size), batch_size):
        for target in targets:
            _embed(target, [item for item in batch if item.id in target.pending])
        seen.read += len(batch)
        seen.failed += sum(item.error is not None for item in batch)
        seen.warnings.update(warning for item in batch for warning in item.warnings)
        if progress:
            progress(Progress(seen.read, len(order), seen.failed))
        if max_failures is not None and seen.failed > max_failures:
            seen.stopped_early = True
            break
    return seen


def _read(id_: str, path: Path, sizes: Sequence[int], options: ReadingOptions) -> _Read:
    try:
        stat = path.stat()
        seen = (stat.st_size, stat.st_mtime_ns)
    except (OSError, ValueError):
        seen = (0, 0)  # reading it says why
    try:
        radiograph = images.read_image(path, options=options)
    except ImageError as error:
        return _Read(id_, {}, "", seen, error)
    resized = {size: images.resize(radiograph.pixels, size) for size in sizes}
    return _Read(id_, resized, radiograph.sha256, seen, warnings=radiograph.warnings)


def _batches(items: Iterable[_Read], size: int) -> Iterator[list[_Read]]:
    batch: list[_Read] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _embed(target: Target, batch: list[_Read]) -> None:
    good = [item for item in batch if item.error is None]
    if good:
        stack = np.stack([item.sizes[target.extractor.image_size] for item in good])
        target.writer.write(
            [item.id for item in good],
            target.extractor(stack),
            [item.sha256 for item in good],
            stats=[item.stat for item in good],
        )
        target.computed += len(good)
    for item in batch:
        if item.error is not None:
            error = item.error
            target.writer.fail(item.id, error.code, error.reason, item.sha256, item.stat)
    target.writer.commit()
