"""The engine of several machines, or several GPUs: Ray's workers compute, this process writes.

Each worker opens the networks once and computes batches, which it gets from the `ray_supply`, as
the local engine does. ``docs/decisions/ray.md`` says why it is made so.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from cxrfeat import features
from cxrfeat.cluster.pool import Deadly, Pool, Said
from cxrfeat.cluster.session import connected
from cxrfeat.cluster.shares import Node, check_share, choose_share, node_of
from cxrfeat.errors import ImageError, SpecMismatchError
from cxrfeat.extraction.job import ComputedImage, ExtractorOptions, Job, OpenJob, environment_of
from cxrfeat.extraction.local_engine import LocalEngine
from cxrfeat.extraction.plan import WorkItem
from cxrfeat.extraction.ray_supply import Asked, SentImage, Supply
from cxrfeat.version import __version__

NOT_THERE = frozenset(("missing", "unreadable", "not_a_file"))
"""Errors that may be the machine's, and not the image's."""


@dataclass(frozen=True)
class Opening:
    """Which networks a worker is to open, and on which runtime where that is settled."""

    names: tuple[str, ...]
    runtimes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Opened:
    """What a worker tells of itself, by the name of an extractor."""

    environments: Mapping[str, Mapping[str, str]]
    runtimes: Mapping[str, str]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Computed:
    """What a worker made of a batch.

    Attributes
    ----------
    images : list of ComputedImage
    not_there : frozenset of str
        Ids of those that its machine cannot read, or has another file of.
    steps : dict of str to float
        What each step took, in seconds of one thread.
    seconds : float
        What the whole took.
    """

    images: list[ComputedImage]
    not_there: frozenset[str]
    steps: dict[str, float]
    seconds: float


class RowWorker:
    """Computes rows in a process of its own, perhaps on another machine.

    Parameters
    ----------
    job : Job
    batch_size : int or None
        As `LocalEngine` takes it.
    workers : int
        Threads that read.
    """

    def __init__(self, job: Job, batch_size: int | None, workers: int) -> None:
        self._job = job
        self._batch_size = batch_size
        self._workers = workers
        self._opened: dict[str, features.Extractor] = {}
        self._opening = threading.Lock()

    def open(self, how: Opening) -> Said[Opened]:
        """Open networks that are not open yet."""
        with self._opening:
            return Said.by(lambda: self._open(how))

    def _open(self, how: Opening) -> Opened:
        missing = {
            name: replace(options, runtime=how.runtimes.get(name, options.runtime))
            for name, options in self._job.extractors.items()
            if name in how.names and name not in self._opened
        }
        self._opened.update(replace(self._job, extractors=missing).open().extractors)
        ours = {name: self._opened[name] for name in how.names}
        return Opened(
            {name: environment_of(one) for name, one in ours.items()},
            {name: one.runtime for name, one in ours.items()},
            tuple(note for one in ours.values() for note in one.notes),
        )

    def work(self, asked: list[Asked]) -> Said[Computed]:
        """Compute the rows of some images."""
        return Said.by(lambda: self._work(asked))

    def _work(self, asked: list[Asked]) -> Computed:
        begun = time.monotonic()
        found = [one.item for one in asked if one.item.source.stamp() == one.stamp]
        engine = LocalEngine(
            OpenJob(self._opened, self._job.reading),
            batch_size=self._batch_size,
            workers=self._workers,
        )
        computed = [image for batch in engine.run(found) for image in batch]
        sent = {item.source.id for item in found if isinstance(item.source, SentImage)}
        good = [
            image
            for image in computed
            if image.id in sent or image.error is None or image.error.code not in NOT_THERE
        ]
        not_there = {one.item.source.id for one in asked} - {image.id for image in good}
        return Computed(good, frozenset(not_there), engine.seconds, time.monotonic() - begun)


class RayEngine:
    """Computes rows in the workers of a Ray cluster; to be used in a ``with`` statement.

    Nothing is connected or started before the first row, or what would compute it, is asked for.

    Parameters
    ----------
    job : Job
        Of every extractor that may be needed; each is opened when it is.
    address : str, optional
        Of the cluster, as `cluster.session.connected` takes it; default: a local one.
    num_cpus, num_gpus : optional
        That each worker gets, as `cluster.shares.choose_share` takes them.
    batch_size : int, optional
        Images that a worker gets, and that go through a network, together. Default: 32 for the
        network, and as many more for the worker as keep it busy for a moment.
    workers : int, optional
        Threads that read in each worker. Default: one for each of its CPUs.
    readers : int
        Threads that read here what is sent.

    Attributes
    ----------
    notes : list of str
        What its user should know about how it ran.
    """

    def __init__(
        self,
        job: Job,
        *,
        address: str | None = None,
        num_cpus: int | None = None,
        num_gpus: float | None = None,
        batch_size: int | None = None,
        workers: int | None = None,
        readers: int,
    ) -> None:
        check_share(num_cpus, num_gpus)
        self._job = job
        self._address = address
        self._asked_share = num_cpus, num_gpus
        self._batch_size = batch_size
        self._workers = workers
        self._readers = readers
        self._resources = ExitStack()
        self._pool: Pool[Asked] | None = None
        self._runtimes: dict[str, str] = {}
        self._environments: dict[str, list[Mapping[str, str]]] = {}
        self._steps: Counter[str] = Counter()
        self._notes: dict[str, None] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._resources.close()

    @property
    def seconds(self) -> dict[str, float]:
        """What each step took so far, in seconds of one thread each, over all workers."""
        return dict(self._steps)

    @property
    def notes(self) -> list[str]:
        """What its user should know about how it ran."""
        lost = self._pool.lost if self._pool else 0
        return [*self._notes, *([f"{lost} Ray worker(s) were lost and replaced"] if lost else [])]

    def environment(self, name: str) -> dict[str, str]:
        """Open an extractor on every machine, and say what computes its rows.

        The runtime is what the first worker, on this machine where that has room, takes: two
        runtimes round differently. Where machines differ otherwise, all they say stands there.

        Raises
        ------
        SpecMismatchError, WeightsError, MissingExtraError, InputError
            It cannot be opened on a machine as it is here; that machine is named.
        ClusterError
            There is no cluster, or no worker on it.
        """
        if name not in self._environments:
            pool = self._pool = self._pool or self._start()
            ((_, first), *_) = pool.open(Opening((name,)), only_first=True)
            self._runtimes[name] = first.runtimes[name]
            told = pool.open(Opening((name,), self._runtimes))
            for node, opened in told:
                _require_our_version(node, opened.environments[name])
            self._notes |= dict.fromkeys(note for _, opened in told for note in opened.notes)
            distinct = {tuple(sorted(one.environments[name].items())) for _, one in told}
            self._environments[name] = [dict(pairs) for pairs in sorted(distinct)]
        return _together(self._environments[name])

    def run(self, items: Sequence[WorkItem]) -> Generator[list[ComputedImage]]:
        """Compute the rows of some items; what has come back meanwhile is handed over together."""
        names = tuple(dict.fromkeys(name for item in items for name in item.lacking))
        for name in names:
            self.environment(name)
        pool = self._pool
        if pool is None:
            return
        pool.accept(Opening(names, self._runtimes), self._is_known)
        with ThreadPoolExecutor(self._readers, thread_name_prefix="read") as readers:
            supply = Supply(items, self._job.reading.max_bytes, readers, self._batch_size)
            for events in pool.run(supply):
                images = []
                for event in events:
                    if isinstance(event, Deadly):
                        images.append(_killed(event.item))
                    else:
                        images += event.value.images
                        supply.came_back(event)
                        self._steps.update(event.value.steps)
                yield [*supply.failed_here(), *images]
            if last := supply.failed_here():
                yield last

    def _start(self) -> Pool[Asked]:
        ray = self._resources.enter_context(connected(self._address))
        device = next((one.device for one in self._job.extractors.values()), "auto")
        nodes = [node_of(told) for told in ray.nodes() if told["Alive"]]
        share = choose_share(nodes, *self._asked_share, device=device)
        workers = self._workers or share.cpus
        job = replace(
            self._job,
            extractors={
                name: _elsewhere(options, on_gpu=share.gpus > 0)
                for name, options in self._job.extractors.items()
            },
        )
        pool: Pool[Asked] = Pool(ray, RowWorker, (job, self._batch_size, workers), share)
        self._resources.callback(pool.close)
        return pool

    def _is_known(self, node: Node, told: Opened) -> bool:
        """Take no work from machines that the files do not name among those that computed them."""
        same = all(one in self._environments[name] for name, one in told.environments.items())
        if not same:
            self._notes[
                f"{node.host} came late and has other packages or another processor than the "
                "machines before it: it was not used"
            ] = None
        return same


def _elsewhere(options: ExtractorOptions, *, on_gpu: bool) -> ExtractorOptions:
    """Say what a worker is to open, which runs in another folder and has its share of a machine."""
    weights = options.weights
    if weights.kind == "file":
        weights = replace(weights, name=str(Path(weights.name).absolute()))
    weights = replace(weights, folders=tuple(folder.absolute() for folder in weights.folders))
    device = options.device
    if device == "auto":
        device = "cuda" if on_gpu else "cpu"
    return replace(options, weights=weights, device=device)


def _require_our_version(node: Node, environment: Mapping[str, str]) -> None:
    if environment["cxrfeat"] != __version__:
        raise SpecMismatchError(
            f"{node.host} has another cxrfeat than this machine: install the same on each",
            [f"cxrfeat: {__version__} here, {environment['cxrfeat']} there"],
        )


def _together(environments: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Say for all machines at once what computes rows."""
    keys = dict.fromkeys(key for one in environments for key in one)
    return {
        key: " | ".join(sorted({one[key] for one in environments if key in one})) for key in keys
    }


def _killed(asked: Asked) -> ComputedImage:
    reason = "the process that reads or computes it ends, also with no other image in it"
    return ComputedImage(asked.item.source.id, asked.stamp, error=ImageError("crashed", reason))
