"""Take computed images from an engine and write them: the one place that writes rows."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from cxrfeat import store
from cxrfeat.arrays import Matrix32
from cxrfeat.errors import ImageError
from cxrfeat.extraction.job import ComputedImage, Engine
from cxrfeat.extraction.plan import Work

BLOCK_BYTES = 4 << 20
"""Rows are put side by side in blocks that a cache holds, in memory that is used again."""


@dataclass(frozen=True)
class Progress:
    """How far an extraction is; given to `progress` after every batch.

    Attributes
    ----------
    done, total : int
        Images, of those that are to be computed in this run.
    failed : int
        Of `done`.
    waiting : str
        What is waited for before anything is computed; "" as a rule.
    """

    done: int
    total: int
    failed: int
    waiting: str = ""


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
    """Where the rows of one extractor go, and what became of them.

    Attributes
    ----------
    name : str
        Of the extractor.
    precision : str
        That it computes in: for the words of a failure.
    sink : Sink
    failed : set of str
        Ids of images that could not be read, or whose row is not finite or does not fit.
    computed : int
        Rows that the sink took.
    """

    name: str
    precision: str
    sink: Sink
    failed: set[str] = field(default_factory=set)
    computed: int = 0


@dataclass
class Drained:
    """What went by while rows were written.

    Attributes
    ----------
    read, failed : int
        Images.
    stopped_early : bool
        More failed than may.
    warnings : Counter of str
        How many images had each.
    seconds : float
        What writing took.
    """

    read: int = 0
    failed: int = 0
    stopped_early: bool = False
    warnings: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def notes(self) -> list[str]:
        """Say how many images had each warning."""
        return [f"{warning}: {count} image(s)" for warning, count in self.warnings.most_common()]


def drain(
    engine: Engine,
    work: Work,
    targets: Sequence[Target],
    *,
    max_failures: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Drained:
    """Give every target the rows it lacks, as an engine computes them.

    Images may come in any order. One that comes again, or was not asked for, is passed over. Every
    batch is written and committed before the next one is asked for.

    Parameters
    ----------
    engine : Engine
    work : Work
        What it is to compute.
    targets : sequence of Target
        One for each extractor that `work` names.
    max_failures, progress
        As `cxrfeat.extract` takes them.
    """
    drained = Drained()
    if not work:
        return drained
    waiting = dict(work.lacking)
    with closing(engine.run(work)) as batches:
        for computed in batches:
            begun = time.perf_counter()
            batch = [(one, waiting.pop(one.id)) for one in computed if one.id in waiting]
            for target in targets:
                _write(target, [one for one, lacking in batch if target.name in lacking])
            drained.seconds += time.perf_counter() - begun
            drained.read += len(batch)
            if any(target.failed for target in targets):
                drained.failed += sum(
                    any(one.id in target.failed for target in targets) for one, _ in batch
                )
            drained.warnings.update(warning for one, _ in batch for warning in one.warnings)
            if progress:
                progress(Progress(drained.read, len(work), drained.failed))
            if max_failures is not None and drained.failed > max_failures:
                drained.stopped_early = True
                break
    return drained


def _write(target: Target, batch: list[ComputedImage]) -> None:
    good = []
    for image in batch:
        if image.error is None:
            good.append(image)
        else:
            _fail(target, image, image.error)
    if good:
        some = max(1, BLOCK_BYTES // max(1, good[0].rows[target.name].nbytes))
        for start in range(0, len(good), some):
            _write_rows(target, good[start : start + some])
    target.sink.commit()


def _write_rows(target: Target, images: list[ComputedImage]) -> None:
    rows = np.stack([image.rows[target.name] for image in images])
    finite = store.finite_rows(rows)
    if not finite.all():
        error = ImageError("not-finite", _not_finite(target.precision))
        for place in np.flatnonzero(~finite).tolist():
            _fail(target, images[place], error)
        images = [image for image, is_good in zip(images, finite, strict=True) if is_good]
        rows = rows[finite]
    if images:
        refused = target.sink.write(
            [image.id for image in images],
            rows,
            [image.sha256 for image in images],
            stats=[image.stamp for image in images],
        )
        target.failed.update(refused)
        target.computed += len(images) - len(refused)


def _fail(target: Target, image: ComputedImage, error: ImageError) -> None:
    target.sink.fail(image.id, error.code, error.reason, image.sha256, image.stamp)
    target.failed.add(image.id)


def _not_finite(precision: str) -> str:
    if precision == "fp32":
        return "the embedding has NaN or infinity: these weights do not suit this image"
    return f"the embedding has NaN or infinity in {precision}: use --precision fp32"
