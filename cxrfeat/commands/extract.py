"""`cxrfeat extract`: every image is read once, for however many backbones."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cxrfeat import defaults, features, images, inputs, store
from cxrfeat.cluster.session import check_engine
from cxrfeat.errors import InputError
from cxrfeat.extraction.changed_images import current_hashes
from cxrfeat.extraction.drain import Progress, Target, drain
from cxrfeat.extraction.failures import Failure, each_once, failures_of, write_failures
from cxrfeat.extraction.file_names import check_names, prepare_named
from cxrfeat.extraction.forecast import check_dry_run, foretell
from cxrfeat.extraction.hash_journal import journal_of
from cxrfeat.extraction.job import ExtractorOptions, Job, NamedExtractor
from cxrfeat.extraction.local_engine import LocalEngine
from cxrfeat.extraction.picture_cache import PictureCache, size_in_bytes
from cxrfeat.extraction.plan import plan
from cxrfeat.extraction.ray_engine import RayEngine
from cxrfeat.extraction.reading_ahead import reader_count
from cxrfeat.extraction.result import (
    ExtractedFile,
    ExtractResult,
    extracted_file,
    foreseen_file,
)
from cxrfeat.extraction.settling import Settled, check_shards, settle, settle_shard
from cxrfeat.extraction.shards import Shard
from cxrfeat.images import ReadingOptions
from cxrfeat.inputs import Dataset
from cxrfeat.paths import PathLike, several

__all__ = ["ExtractResult", "ExtractedFile", "extract"]


def extract(
    images: PathLike | Sequence[PathLike] = defaults.IMAGES,
    *,
    backbone: str | Sequence[str] | None = None,
    out: PathLike = defaults.EMBEDDINGS,
    weights: str | Sequence[str] = (),
    name: str | Sequence[str] = (),
    pool: str = defaults.POOL,
    image_size: int | None = None,
    labels: PathLike | None = None,
    path_column: str | None = None,
    label_column: str | None = None,
    group_column: str | None = None,
    keep_column: str | Sequence[str] = (),
    uncertain: str | None = None,
    positive: str | None = None,
    where: str | Sequence[str] = (),
    repeated_rows: str = defaults.REPEATED_ROWS,
    modality: str | Sequence[str] = defaults.MODALITIES,
    frame: int | None = None,
    bits: int | None = None,
    precision: str = defaults.PRECISION,
    device: str = defaults.DEVICE,
    runtime: str = defaults.RUNTIME,
    batch_size: int | None = None,
    workers: int | None = None,
    storage: Literal["float32", "float16"] = defaults.STORAGE,
    cache: PathLike | None = None,
    cache_size: int | str = defaults.CACHE_SIZE,
    prune: bool = False,
    shard: str | None = None,
    retry_failed: bool = False,
    max_failures: int | None = None,
    engine: str = defaults.ENGINE,
    address: str | None = None,
    num_cpus: int | None = None,
    num_gpus: float | None = None,
    dry_run: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> ExtractResult:
    """Run frozen backbones once over radiographs and keep their embeddings in HDF5.

    Parameters
    ----------
    images : path or sequence of paths
        Folders of radiographs, zip or tar archives of such, or files; with `labels`, where the
        table's paths begin.
    backbone : str or sequence of str, optional
        torchvision classification networks, ``efficientnet_lite0``, or networks of a family such
        as ``timm:NAME`` and ``xrv:densenet121``; see `cxrfeat.backbones`. Default: those that
        `weights` is of, by name or by the sidecar of a file; else VGG16, VGG19 and ResNet50.
    out : path
        Folder for one ``<name>.h5`` per extractor.
    weights : str or sequence of str
        ``[BACKBONE=]SOURCE``: a torchvision name, a file with its sidecar, a folder to search,
        ``random`` or ``random:SEED``. Several of one backbone are an extractor each, as in
        ``["resnet50=IMAGENET1K_V1", "resnet50=mine.pth"]``. Default: the pinned ImageNet weights.
    name : str or sequence of str
        One for each extractor, in the order of `backbone`, and of `weights` for each of them;
        default: the backbone and whatever is not the default, weights included where they would
        share a file.
    pool : str
        "avg", "max", "avgmax", "multi" (the average of every stage) or "flatten"; of networks of
        tokens also "token" (the class token), "patches" (their average) or "tokenpatches" (both).
    image_size : int, optional
        Side in pixels; default: what the weights were trained with.
    labels : path, optional
        A CSV, TSV or Parquet table; default: labels from class folders.
    path_column, label_column, group_column : str, optional
        Columns of the table; default: recognised by their usual names.
    keep_column : str or sequence of str
        Further columns to keep of a recognised collection; of any other table all are.
    uncertain : str, optional
        What a label of -1 counts as: "ignore" (unknown), "zeros" or "ones".
    positive : str, optional
        One class or finding, to take against all the rest; also a level of a label such as
        ``Pneumonia/Viral/COVID-19``. Default: every class for itself.
    where : str or sequence of str
        Conditions ``COLUMN=VALUE`` or ``COLUMN=VALUE|VALUE`` that rows of the table must meet.
    repeated_rows : str
        What becomes of several rows of one image: "error", "first" (row) or "join" (labels: 1
        wins over 0, known over unknown; several classes become findings).
    modality : str or sequence of str
        DICOM modalities that are read, others fail; "any" reads any.
    frame : int, optional
        Which frame of a DICOM file of several, from 0; default: such a file fails.
    bits : int, optional
        How many bits PNG and TIFF of 16 bits use where they do not state it; default: as the
        embedding files have it, else the fewest usual bits that hold the largest sample of all.
    precision : str
        "fp32", "bf16", or on a GPU "tf32" or "fp16". Each is a spec of its own: "fp32" is float32
        on a GPU as well, never TF32.
    device : str
        "auto", "cpu", "cuda" or "mps".
    runtime : str
        What runs the networks on the CPU: "auto" takes the fastest one here, "torch", "ncnn"
        (the extra ``cpu``) or "openvino" (the extra of that name). In float32 all agree within
        1e-5, accelerators as well, so that neither is part of the spec.
    batch_size : int, optional
        Images that go through the network together; it does not change the embeddings.
        Default: 32, or on accelerators as many as keep them busy.
    workers : int, optional
        Threads that read images, on accelerators processes; default: one for each core this
        process may use.
    storage : str
        "float32" or "float16".
    cache : path, optional
        Folder in which resized pictures are kept, so that another network, pooling or precision
        decodes no image again; rows are the same. 200 kB an image at 224 pixels. With the engine
        "local" only. Default: none are kept.
    cache_size : int or str
        Bytes that `cache` takes at most, as a number or such as ``"50GB"``; when it is full, the
        rest is not kept. A shard has its part of it.
    prune : bool
        Drop rows of images that are no longer there; default: keep them, marked as gone, so that
        `fit` and `export` leave them out.
    shard : str, optional
        ``I/N``: only the images that fall to shard I of N (counted from 0), into files of its
        own below ``<out>/shards``, which `shards_merge` makes into one. For clusters, see
        ``docs/cluster.md``. Default: all images.
    retry_failed : bool
        Try images again that failed before.
    max_failures : int, optional
        Stop early when more images than this fail in this run; what was computed is kept.
    engine : str
        "local", this process, or "ray" (the extra ``ray``): workers on the machines of a Ray
        cluster, or on the GPUs of this one; only this process writes.
    address : str, optional
        ``HOST:PORT`` of the Ray cluster, or "auto" for the one that this machine is part of.
        Default: Ray is started here, and ended at the end.
    num_cpus, num_gpus : int and float, optional
        That each Ray worker gets. Default: a GPU each, with its part of the CPUs, where there are
        GPUs; else all CPUs of the smallest machine.
    dry_run : bool
        Write nothing: say, in `ExtractResult.forecast`, what would be computed and how long it
        takes here, by computing some images and keeping nothing of them.
    progress : callable, optional
        Called with a `Progress` after every batch.

    Returns
    -------
    ExtractResult

    Raises
    ------
    InputError, WeightsError, SpecMismatchError, LockedError, StorageError, ClusterError
        Nothing that was computed before is lost by any of them.
    """
    start = time.monotonic()
    listed = several(weights)
    asked = features.assign_each(_names(backbone, listed), listed)
    given = several(name)
    check_names(given, [one for one, _ in asked])
    _check_numbers(batch_size, workers, max_failures)
    check_engine(engine, {"address": address, "num-cpus": num_cpus, "num-gpus": num_gpus})
    if dry_run:
        check_dry_run(engine, shard)
    if cache is not None and engine != "local":
        raise InputError(
            "--cache is kept by one process: leave it out with --engine ray, or use --shard"
        )
    cache_bytes = size_in_bytes(cache_size)
    reading = ReadingOptions.asked_for(several(modality), frame, bits)
    part = None if shard is None else Shard.parse(shard)
    folder = Path(out) if part is None else part.folder(Path(out))
    readers = reader_count(workers)

    begun = time.monotonic()
    wanted = [
        ExtractorOptions(one, choice, pool, image_size, precision, device, runtime)
        for one, choice in asked
    ]
    extractors, name_notes = prepare_named(wanted, given, Path(out), here=engine == "local")
    preparing = time.monotonic() - begun
    check_shards(Path(out), part, [one.name for one in extractors])
    files = [folder / f"{one.name}.h5" for one in extractors]
    with ExitStack() as stack:
        # Listing and hashing take hours where there are many images: a second writer hears it now.
        locks = [stack.enter_context(store.FileLock(file)) for file in files if not dry_run]
        kept = None
        if cache is not None and not dry_run:
            kept = stack.enter_context(PictureCache(Path(cache), cache_bytes, part))
        samples = None if kept is None else kept.samples
        found = inputs.find(
            images,
            labels=labels,
            path_column=path_column,
            label_column=label_column,
            group_column=group_column,
            keep_column=several(keep_column),
            uncertain=uncertain,
            positive=positive,
            where=several(where),
            repeated_rows=repeated_rows,
        )
        if part is None:
            settled = settle(found, reading, files, readers, samples)
        else:
            settled = settle_shard(
                part,
                found,
                reading,
                Path(out),
                files,
                storage=storage,
                specs=lambda options: {
                    one.name: _spec(one.description, options) for one in extractors
                },
                say=partial(_say, progress),
                workers=readers,
                samples=samples,
            )
        found, reading, sources = settled.images, settled.reading, settled.known.sources
        journal = Path(os.devnull) if dry_run else journal_of(files[0])
        hashes, stamps = current_hashes(settled.known, journal, readers)
        if dry_run:
            return _foreseen(
                files, extractors, settled, hashes, prune=prune, retry_failed=retry_failed,
                storage=storage, batch_size=batch_size, workers=readers,
                notes=[*settled.notes, *name_notes], start=start,
            )  # fmt: skip
        there = None
        if engine == "ray":
            there = stack.enter_context(
                RayEngine(
                    Job.of(extractors, reading),
                    address=address,
                    num_cpus=num_cpus,
                    num_gpus=num_gpus,
                    batch_size=batch_size,
                    workers=workers,
                    readers=readers,
                )
            )
        writers = [
            stack.enter_context(
                store.open_writer(
                    file,
                    spec=_spec(one.description, reading),
                    dataset=found,
                    dimension=one.description.dimension,
                    current_sha256=hashes,
                    current_stat=stamps,
                    environment=partial(there.environment, one.name) if there else one.environment,
                    prune=prune,
                    retry_failed=retry_failed,
                    storage=storage,
                    lock=lock,
                )
            )
            for file, one, lock in zip(files, extractors, locks, strict=True)
        ]
        pending = {
            one.name: writer.pending for one, writer in zip(extractors, writers, strict=True)
        }
        work = plan(sources, pending)
        computing: LocalEngine | RayEngine
        if there is None:
            needed = [one for one in extractors if pending[one.name]]
            job = Job.of(needed, reading).open({one.name: one.extractor for one in needed})
            if kept is not None and needed:
                kept.open(reading, {one.extractor.framing for one in needed})
            computing = LocalEngine(
                job, batch_size=batch_size, workers=readers, cache=kept if needed else None
            )
        else:
            computing = there
        targets = [
            Target(one.name, precision, writer)
            for one, writer in zip(extractors, writers, strict=True)
        ]
        drained = drain(computing, work, targets, max_failures=max_failures, progress=progress)
        journal.unlink(missing_ok=True)
    written, failures = [], list[Failure]()
    for file, one, writer, target in zip(files, extractors, writers, targets, strict=True):
        with store.load(file) as embeddings:
            written.append(
                extracted_file(embeddings, one.description, writer.changes, target.computed)
            )
            failures += failures_of(embeddings)
    failures = each_once(failures)
    return ExtractResult(
        files=written,
        images=len(found),
        read=drained.read,
        stopped_early=drained.stopped_early,
        failures=failures,
        failures_file=write_failures(folder / "failures.csv", failures),
        classes=_class_counts(found),
        notes=[
            *settled.notes,
            *(_takeover(lock) for lock in locks if lock.taken_over),
            *name_notes,
            *(note for one in extractors for note in one.notes),
            *(there.notes if there else ()),
            *(kept.notes if kept else ()),
            *drained.notes(),
        ],
        seconds=time.monotonic() - start,
        steps={
            "opening": preparing + sum(one.seconds for one in extractors),
            **computing.seconds,
            "writing": drained.seconds,
        },
    )


def _foreseen(
    files: Sequence[Path],
    extractors: Sequence[NamedExtractor],
    settled: Settled,
    hashes: Mapping[str, str],
    *,
    prune: bool,
    retry_failed: bool,
    storage: Literal["float32", "float16"],
    batch_size: int | None,
    workers: int,
    notes: list[str],
    start: float,
) -> ExtractResult:
    """Say what would be done to each file, and how long it takes."""
    found, reading = settled.images, settled.reading
    written, pending = [], {}
    for file, one in zip(files, extractors, strict=True):
        changes, pending[one.name] = store.foresee(
            file, spec=_spec(one.description, reading), dataset=found,
            dimension=one.description.dimension, current_sha256=hashes, prune=prune,
            retry_failed=retry_failed, storage=storage,
        )  # fmt: skip
        written.append(foreseen_file(one, file, changes))
    work = plan(settled.known.sources, pending)
    forecast = foretell(
        work, pending, extractors, reading, itemsize=2 if storage == "float16" else 4,
        batch_size=batch_size, workers=workers,
    )  # fmt: skip
    return ExtractResult(
        files=written,
        images=len(found),
        read=0,
        stopped_early=False,
        failures=[],
        failures_file=None,
        classes=_class_counts(found),
        notes=[*notes, *(note for one in extractors for note in one.notes)],
        seconds=time.monotonic() - start,
        steps={},
        forecast=forecast,
    )


def _names(backbone: str | Sequence[str] | None, weights: Sequence[str]) -> list[str]:
    if backbone is None:
        return features.named_backbones(weights) or list(defaults.BACKBONES)
    names = several(backbone)
    if not names:
        raise InputError("no backbone: name at least one, e.g. --backbone vgg16")
    for name in names:
        features.check_name(name)
    return names


def _check_numbers(batch_size: int | None, workers: int | None, max_failures: int | None) -> None:
    if batch_size is not None and batch_size < 1:
        raise InputError(f"batch size {batch_size}: use 1 or more")
    if workers is not None and workers < 1:
        raise InputError(f"{workers} workers: use 1 or more")
    if max_failures is not None and max_failures < 0:
        raise InputError(f"at most {max_failures} failures: use 0 or more")


def _spec(description: features.Description, options: ReadingOptions) -> dict[str, Any]:
    return {**description.spec, "image": images.reading_spec(description.framing, options)}


def _say(progress: Callable[[Progress], None] | None, waiting: str) -> None:
    if progress:
        progress(Progress(0, 0, 0, waiting))


def _takeover(lock: store.FileLock) -> str:
    return (
        f"'{lock.target.name}' named {lock.taken_over} as its writer; it was taken over, because"
        " nobody holds its lock: if that process is still running, locks do not reach from machine"
        " to machine in this folder, so end one of the two"
    )


def _class_counts(found: Dataset) -> dict[str, int]:
    if found.labels is None:
        return {}
    return {
        name: int(np.nansum(found.labels[:, column])) for column, name in enumerate(found.classes)
    }
