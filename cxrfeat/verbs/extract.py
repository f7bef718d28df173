"""`cxrfeat extract`: every image is read once, for however many backbones."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cxrfeat import dataset as datasets
from cxrfeat import features, images, store, tables
from cxrfeat.dataset import Dataset
from cxrfeat.errors import ImageError, InputError
from cxrfeat.images import RADIOGRAPHY, ReadingOptions
from cxrfeat.verbs.declared import with_declared_columns
from cxrfeat.verbs.reading import read_in_order, reader_count

DEFAULT_BACKBONES = ("vgg16", "vgg19", "resnet50")
PathLike = str | Path


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


@dataclass(frozen=True)
class Failure:
    """One image that could not be used."""

    id: str
    code: str
    reason: str


@dataclass(frozen=True)
class ExtractedFile:
    """What happened to one embedding file.

    Attributes
    ----------
    name : str
        Of the extractor; also the file's stem.
    path : Path
    backbone, weights : str
    control : bool
        Whether the weights are random: a control, not a pretrained extractor.
    dimension : int
    rows, computed, reused, failed : int
        Rows in the file; rows computed now, taken over as they were, and not to be had.
    changes : store.Changes
        What the file gained, lost or kept because the images changed.
    fingerprint : str
    """

    name: str
    path: Path
    backbone: str
    weights: str
    control: bool
    dimension: int
    rows: int
    computed: int
    reused: int
    failed: int
    changes: store.Changes
    fingerprint: str


@dataclass(frozen=True)
class ExtractResult:
    """What `extract` did.

    Attributes
    ----------
    files : list of ExtractedFile
    images : int
        Images in the dataset.
    read : int
        Images that were read in this run, each of them once.
    stopped_early : bool
        More than `max_failures` images failed, so that the rest was not tried.
    failures : list of Failure
        Every image that failed, in this run or an earlier one.
    failures_file : Path or None
        The same as a table, where there are any.
    classes : dict of str to int
        Images per class; empty without labels.
    notes : list of str
        What was understood of the input, in sentences.
    seconds : float
    """

    files: list[ExtractedFile]
    images: int
    read: int
    stopped_early: bool
    failures: list[Failure]
    failures_file: Path | None
    classes: dict[str, int]
    notes: list[str]
    seconds: float


@dataclass
class _Target:
    """One extractor with the file it fills."""

    name: str
    extractor: features.Extractor
    writer: store.StoreWriter
    pending: set[str] = field(default_factory=set)
    computed: int = 0


def extract(
    images: PathLike | Sequence[PathLike] = ".",
    *,
    backbone: Sequence[str] = DEFAULT_BACKBONES,
    out: PathLike = "embeddings",
    weights: Sequence[str] = (),
    pool: str = "avg",
    image_size: int | None = None,
    labels: PathLike | None = None,
    path_column: str | None = None,
    label_column: str | None = None,
    group_column: str | None = None,
    uncertain: str | None = None,
    modality: Sequence[str] = RADIOGRAPHY,
    frame: int | None = None,
    precision: str = "fp32",
    device: str = "auto",
    batch_size: int = 32,
    workers: int | None = None,
    storage: Literal["float32", "float16"] = "float32",
    prune: bool = False,
    retry_failed: bool = False,
    max_failures: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> ExtractResult:
    """Run frozen backbones once over radiographs and keep their embeddings in HDF5.

    Parameters
    ----------
    images : path or sequence of paths
        Folders of radiographs (or files); with `labels`, where the table's paths begin.
    backbone : sequence of str
        torchvision classification networks, or ``efficientnet_lite0``.
    out : path
        Folder for one ``<name>.h5`` per extractor.
    weights : sequence of str
        ``[BACKBONE=]SOURCE``: a torchvision name, a file with its sidecar, a folder to search,
        ``random`` or ``random:SEED``. Default: the pinned ImageNet weights.
    pool : str
        "avg", "max", "avgmax", "multi" (the average of every stage) or "flatten".
    image_size : int, optional
        Side in pixels; default: what the weights were trained with.
    labels : path, optional
        A CSV, TSV or Parquet table; default: labels from class folders.
    path_column, label_column, group_column : str, optional
        Columns of the table; default: recognised by their usual names.
    uncertain : str, optional
        What a label of -1 counts as: "ignore" (unknown), "zeros" or "ones".
    modality : sequence of str
        DICOM modalities that are read, others fail; "any" reads any.
    frame : int, optional
        Which frame of a DICOM file of several, from 0; default: such a file fails.
    precision : str
        "fp32", "bf16" or "fp16".
    device : str
        "auto", "cpu", "cuda" or "mps".
    batch_size : int
        Images that go through the network together; it does not change the embeddings.
    workers : int, optional
        Threads that read images; default: one for each core this process may use.
    storage : str
        "float32" or "float16".
    prune : bool
        Drop rows of images that are no longer there; default: keep them.
    retry_failed : bool
        Try images again that failed before.
    max_failures : int, optional
        Stop early when more images than this fail in this run; what was computed is kept.
    progress : callable, optional
        Called with a `Progress` after every batch.

    Returns
    -------
    ExtractResult

    Raises
    ------
    InputError, WeightsError, SpecMismatchError, LockedError, StorageError
        Nothing that was computed before is lost by any of them.
    """
    start = time.monotonic()
    names = _names(backbone)
    _check_numbers(batch_size, workers, max_failures)
    options = ReadingOptions.asked_for(modality, frame)
    found = datasets.find(
        images,
        labels=labels,
        path_column=path_column,
        label_column=label_column,
        group_column=group_column,
        uncertain=uncertain,
    )
    found = with_declared_columns(found, reader_count(workers))
    choices = features.assign_weights(names, weights)
    extractors = {
        _file_stem(name, choices[name], pool, image_size, precision): features.open_extractor(
            name,
            weights=choices[name],
            pooling=pool,
            image_size=image_size,
            precision=precision,
            device=device,
        )
        for name in names
    }
    folder = Path(out)
    paths = dict(zip(found.ids, found.paths, strict=True))
    hashes, stats = _current_hashes([folder / f"{stem}.h5" for stem in extractors], paths, workers)
    with ExitStack() as stack:
        targets = []
        for stem, extractor in extractors.items():
            writer = store.open_writer(
                folder / f"{stem}.h5",
                spec=_spec(extractor, options),
                dataset=found,
                dimension=extractor.dimension,
                current_sha256=hashes,
                current_stat=stats,
                environment=features.environment(),
                prune=prune,
                retry_failed=retry_failed,
                storage=storage,
            )
            stack.enter_context(writer)
            targets.append(_Target(stem, extractor, writer, set(writer.pending)))
        seen = _fill(
            targets,
            found.ids,
            lambda id_: _read(id_, paths[id_], _sizes(targets), options),
            batch_size,
            reader_count(workers),
            max_failures,
            progress,
        )
    files = [_summary(target, folder / f"{target.name}.h5") for target in targets]
    failures = _failures(file.path for file in files)
    return ExtractResult(
        files=files,
        images=len(found),
        read=seen.read,
        stopped_early=seen.stopped_early,
        failures=failures,
        failures_file=_write_failures(folder / "failures.csv", failures),
        classes=_class_counts(found),
        notes=[*found.notes, *seen.notes()],
        seconds=time.monotonic() - start,
    )


def _names(backbone: Sequence[str]) -> list[str]:
    names = [backbone] if isinstance(backbone, str) else list(dict.fromkeys(backbone))
    if not names:
        raise InputError("no backbone: name at least one, e.g. --backbone vgg16")
    for name in names:
        features.check_name(name)
    return names


def _check_numbers(batch_size: int, workers: int | None, max_failures: int | None) -> None:
    if batch_size < 1:
        raise InputError(f"batch size {batch_size}: use 1 or more")
    if workers is not None and workers < 1:
        raise InputError(f"{workers} workers: use 1 or more")
    if max_failures is not None and max_failures < 0:
        raise InputError(f"at most {max_failures} failures: use 0 or more")


def _file_stem(
    backbone: str,
    choice: features.WeightsChoice,
    pool: str,
    image_size: int | None,
    precision: str,
) -> str:
    """Name the file after the backbone and whatever is not the default."""
    parts = [backbone]
    if choice.kind == "random":
        parts.append("random" if choice.seed == 0 else f"random{choice.seed}")
    elif choice.kind == "named" and choice.name not in ("", "IMAGENET1K_V1"):
        parts.append(choice.name.lower())
    if pool != "avg":
        parts.append(pool)
    if image_size is not None:
        parts.append(str(image_size))
    if precision != "fp32":
        parts.append(precision)
    return "-".join(parts)


def _spec(extractor: features.Extractor, options: ReadingOptions) -> dict[str, Any]:
    return {**extractor.spec, "image": images.reading_spec(extractor.image_size, options)}


def _current_hashes(
    files: Iterable[Path], paths: Mapping[str, Path], workers: int | None
) -> tuple[dict[str, str], dict[str, tuple[int, int]]]:
    """Return the sha256 of every image that some file already holds a row of.

    An image of the size and modification time that its row remembers is not read again; those of
    the others come second, to be remembered now. An image that failed unread has no sha256 to
    compare: it is the same as long as its size and time are.
    """
    hashes: dict[str, str] = {}
    unsure: dict[str, tuple[int, int]] = {}
    for file in files:
        for id_, row in store.known(file).items():
            if id_ not in paths or id_ in hashes or row.status == store.PENDING:
                continue
            try:
                stat = paths[id_].stat()
            except OSError:
                continue
            if (stat.st_size, stat.st_mtime_ns) != (row.size, row.mtime_ns):
                unsure[id_] = (stat.st_size, stat.st_mtime_ns)
            elif row.sha256:
                hashes[id_] = row.sha256
    unsure = {id_: stat for id_, stat in unsure.items() if id_ not in hashes}
    with ThreadPoolExecutor(reader_count(workers)) as pool:
        digests = pool.map(_sha256, [paths[id_] for id_ in unsure])
        for id_, digest in zip(unsure, digests, strict=True):
            if digest:
                hashes[id_] = digest
    return hashes, {id_: stat for id_, stat in unsure.items() if id_ in hashes}


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""  # unreadable now: its row stays as it is


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
class _Seen:
    """What went by while the files were filled."""

    read: int = 0
    failed: int = 0
    stopped_early: bool = False
    warnings: Counter[str] = field(default_factory=Counter)

    def notes(self) -> list[str]:
        return [f"{warning}: {count} image(s)" for warning, count in self.warnings.most_common()]


def _fill(
    targets: list[_Target],
    ids: Sequence[str],
    read: Callable[[str], _Read],
    batch_size: int,
    workers: int,
    max_failures: int | None,
    progress: Callable[[Progress], None] | None,
) -> _Seen:
    """Read what any file still needs, once, and give every file its rows."""
    wanted = set[str]().union(*(target.pending for target in targets))
    order = [id_ for id_ in ids if id_ in wanted]
    seen = _Seen()
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


def _sizes(targets: list[_Target]) -> list[int]:
    return sorted({target.extractor.image_size for target in targets})


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


def _embed(target: _Target, batch: list[_Read]) -> None:
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


def _summary(target: _Target, path: Path) -> ExtractedFile:
    with store.load(path) as embeddings:
        return ExtractedFile(
            name=target.name,
            path=path,
            backbone=target.extractor.backbone,
            weights=target.extractor.weights_name,
            control=target.extractor.is_control,
            dimension=target.extractor.dimension,
            rows=len(embeddings),
            computed=target.computed,
            reused=target.writer.changes.reused,
            failed=int((embeddings.status == store.FAILED).sum()),
            changes=target.writer.changes,
            fingerprint=embeddings.fingerprint,
        )


def _failures(files: Iterable[Path]) -> list[Failure]:
    failures: dict[str, Failure] = {}
    for file in files:
        with store.load(file) as embeddings:
            for row in np.flatnonzero(embeddings.status == store.FAILED):
                code, _, reason = embeddings.errors[row].partition(": ")
                failures.setdefault(embeddings.ids[row], Failure(embeddings.ids[row], code, reason))
    return list(failures.values())


def _write_failures(path: Path, failures: list[Failure]) -> Path | None:
    """Write the table of failures, or remove the one of an earlier run that no longer holds."""
    if not failures:
        path.unlink(missing_ok=True)
        return None
    tables.write_table(
        path,
        {
            "id": [failure.id for failure in failures],
            "code": [failure.code for failure in failures],
            "reason": [failure.reason for failure in failures],
        },
    )
    return path


def _class_counts(found: Dataset) -> dict[str, int]:
    if found.labels is None:
        return {}
    return {
        name: int(np.nansum(found.labels[:, column])) for column, name in enumerate(found.classes)
    }
