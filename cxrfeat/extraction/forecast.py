"""What a run of `extract` would compute and how long that takes; nothing is written."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cxrfeat.errors import InputError
from cxrfeat.extraction.job import Job, NamedExtractor
from cxrfeat.extraction.local_engine import LocalEngine
from cxrfeat.extraction.plan import Work
from cxrfeat.images import ReadingOptions

TRIED = 32
"""Images whose time is taken, spread over all that would be computed."""


@dataclass(frozen=True)
class Forecast:
    """What a run would do.

    Attributes
    ----------
    images : int
        That would be read.
    rows : dict of str to int
        By extractor, how many would be computed.
    tried : int
        Images that were read and computed to see how long it takes; their rows are not kept.
    failed : int
        Of `tried`.
    seconds : float or None
        What the run would take here, by these; None where nothing was tried.
    size_bytes : int
        By which embedding files would grow, about.
    """

    images: int
    rows: dict[str, int]
    tried: int
    failed: int
    seconds: float | None
    size_bytes: int


def foretell(
    work: Work,
    pending: Mapping[str, Sequence[str]],
    extractors: Sequence[NamedExtractor],
    reading: ReadingOptions,
    *,
    itemsize: int,
    batch_size: int | None,
    workers: int,
) -> Forecast:
    """Compute some images of a run, keep nothing, and tell from their time what all would take.

    Parameters
    ----------
    work, pending
        All that would be computed: by image, and by extractor.
    extractors
        Opened if they have work.
    itemsize : int
        Bytes of a stored number.
    batch_size, workers
        As the run would have them.
    """
    rows = {one.name: len(pending[one.name]) for one in extractors}
    size = sum(rows[one.name] * one.description.dimension * itemsize for one in extractors)
    needed = [one for one in extractors if pending[one.name]]
    if not needed or not len(work):
        return Forecast(0, rows, 0, 0, None, 0)
    begun = time.monotonic()
    job = Job.of(needed, reading).open({one.name: one.extractor for one in needed})
    opening = time.monotonic() - begun
    places = np.unique(np.linspace(0, len(work) - 1, min(TRIED, len(work))).astype(int))
    first, rest = [work[0]], [work[int(place)] for place in places]
    engine = LocalEngine(job, batch_size=min(batch_size or len(rest), len(rest)), workers=workers)
    for _ in engine.run(first):  # what is paid once: memory, kernels, the first file
        pass
    begun = time.monotonic()
    computed = [image for batch in engine.run(rest) for image in batch]
    each = (time.monotonic() - begun) / len(rest)
    failed = sum(image.error is not None for image in computed)
    return Forecast(len(work), rows, len(rest), failed, opening + each * len(work), size)


def check_dry_run(engine: str, shard: str | None) -> None:
    """Refuse what cannot be foretold.

    Raises
    ------
    InputError
        Other machines would compute, or a plan of shards would have to be written.
    """
    if engine != "local":
        raise InputError(f"--dry-run tells what this machine takes: not with --engine {engine}")
    if shard is not None:
        raise InputError(
            "--dry-run writes nothing, and shards agree by a file: ask without --shard, and divide"
            " by the number of shards"
        )
