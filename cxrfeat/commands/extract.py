"""`cxrfeat extract`: every image is read once, for however many backbones."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cxrfeat import defaults, features, images, store
from cxrfeat import inputs as datasets
from cxrfeat.errors import InputError
from cxrfeat.extraction.bit_depth import decide_bits, kept_bits
from cxrfeat.extraction.changed_images import current_hashes
from cxrfeat.extraction.declared_columns import with_declared_columns
from cxrfeat.extraction.failures import Failure, failures_in, write_failures
from cxrfeat.extraction.file_names import Wanted, check_names, name_files, options_in_name
from cxrfeat.extraction.pipeline import Progress, Target, fill
from cxrfeat.extraction.reading_ahead import reader_count
from cxrfeat.images import ReadingOptions, decoders
from cxrfeat.inputs import Dataset
from cxrfeat.version import __version__

PathLike = str | Path


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
        Rows in the file; rows computed now, taken over as they were, and not to be had (of
        images that are there).
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
    steps : dict of str to float
        What "opening" the networks took, and, in seconds of one thread each, "reading", each
        extractor by its name, and "writing"; these go on at once.
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
    steps: dict[str, float]


def extract(
    images: PathLike | Sequence[PathLike] = defaults.IMAGES,
    *,
    backbone: Sequence[str] = defaults.BACKBONES,
    out: PathLike = defaults.EMBEDDINGS,
    weights: Sequence[str] = (),
    name: str | Sequence[str] = (),
    pool: str = defaults.POOL,
    image_size: int | None = None,
    labels: PathLike | None = None,
    path_column: str | None = None,
    label_column: str | None = None,
    group_column: str | None = None,
    uncertain: str | None = None,
    positive: str | None = None,
    where: Sequence[str] = (),
    repeated_rows: str = defaults.REPEATED_ROWS,
    modality: Sequence[str] = defaults.MODALITIES,
    frame: int | None = None,
    bits: int | None = None,
    precision: str = defaults.PRECISION,
    device: str = defaults.DEVICE,
    runtime: str = defaults.RUNTIME,
    batch_size: int | None = None,
    workers: int | None = None,
    storage: Literal["float32", "float16"] = defaults.STORAGE,
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
        ``random`` or ``random:SEED``. Several of one backbone are an extractor each, as in
        ``["resnet50=IMAGENET1K_V1", "resnet50=mine.pth"]``. Default: the pinned ImageNet weights.
    name : str or sequence of str
        One for each extractor, in the order of `backbone`, and of `weights` for each of them;
        default: the backbone and whatever is not the default, weights included where they would
        share a file.
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
    positive : str, optional
        One class or finding, to take against all the rest; also a level of a label such as
        ``Pneumonia/Viral/COVID-19``. Default: every class for itself.
    where : sequence of str
        Conditions ``COLUMN=VALUE`` or ``COLUMN=VALUE|VALUE`` that rows of the table must meet.
    repeated_rows : str
        What becomes of several rows of one image: "error", "first" (row) or "join" (labels: 1
        wins over 0, known over unknown; several classes become findings).
    modality : sequence of str
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
        What runs the networks on the CPU: "auto" takes the fastest one here, "torch", or "ncnn"
        (the extra ``cpu``). All agree within 1e-5, accelerators as well, so that neither is part
        of the spec.
    batch_size : int, optional
        Images that go through the network together; it does not change the embeddings.
        Default: 32.
    workers : int, optional
        Threads that read images; default: one for each core this process may use.
    storage : str
        "float32" or "float16".
    prune : bool
        Drop rows of images that are no longer there; default: keep them, marked as gone, so that
        `fit` and `export` leave them out.
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
    asked = features.assign_each(_names(backbone), weights)
    given = [name] if isinstance(name, str) else list(name)
    check_names(given, [one for one, _ in asked])
    _check_numbers(batch_size, workers, max_failures)
    options = ReadingOptions.asked_for(modality, frame, bits)
    folder = Path(out)
    opening = time.monotonic()
    parts, name_notes = _parts(
        asked,
        given,
        folder,
        pooling=pool,
        image_size=image_size,
        precision=precision,
        device=device,
        runtime=runtime,
    )
    opening = time.monotonic() - opening
    with ExitStack() as stack:
        # Listing and hashing take hours where there are many images: a second writer hears it now.
        locks = [stack.enter_context(store.FileLock(folder / f"{part.name}.h5")) for part in parts]
        found = datasets.find(
            images,
            labels=labels,
            path_column=path_column,
            label_column=label_column,
            group_column=group_column,
            uncertain=uncertain,
            positive=positive,
            where=where,
            repeated_rows=repeated_rows,
        )
        found = with_declared_columns(found, reader_count(workers))
        files = [folder / f"{part.name}.h5" for part in parts]
        options, decided = decide_bits(
            found.paths, options, kept=kept_bits(files), workers=reader_count(workers)
        )
        paths = dict(zip(found.ids, found.paths, strict=True))
        hashes, stats = current_hashes(files, paths, workers)
        targets, writers = [], []
        for part, lock in zip(parts, locks, strict=True):
            writer = store.open_writer(
                folder / f"{part.name}.h5",
                spec=_spec(part.description, options),
                dataset=found,
                dimension=part.description.dimension,
                current_sha256=hashes,
                current_stat=stats,
                environment=part.environment,
                prune=prune,
                retry_failed=retry_failed,
                storage=storage,
                lock=lock,
            )
            stack.enter_context(writer)
            writers.append(writer)
            if pending := writer.pending:
                targets.append(Target(part.name, part.extractor, writer, set(pending)))
        seen = fill(
            targets,
            paths,
            options,
            batch_size=batch_size,
            workers=reader_count(workers),
            max_failures=max_failures,
            progress=progress,
        )
    computed = {target.name: target.computed for target in targets}
    extracted = [
        _summary(part, writer.changes, file, computed.get(part.name, 0))
        for part, writer, file in zip(parts, writers, files, strict=True)
    ]
    failures = failures_in(files)
    return ExtractResult(
        files=extracted,
        images=len(found),
        read=seen.read,
        stopped_early=seen.stopped_early,
        failures=failures,
        failures_file=write_failures(folder / "failures.csv", failures),
        classes=_class_counts(found),
        notes=[
            *found.notes,
            *decided,
            *(_takeover(lock) for lock in locks if lock.taken_over),
            *name_notes,
            *(note for part in parts for note in part.notes),
            *seen.notes(),
        ],
        seconds=time.monotonic() - start,
        steps={"opening": opening + sum(part.seconds for part in parts), **seen.watch.seconds},
    )


class _Part:
    """One extractor of a run, opened when its file turns out to lack rows.

    Attributes
    ----------
    name : str
        Also the stem of its file.
    description : Description
    seconds : float
        What opening it took.
    """

    def __init__(self, name: str, prepared: features.Prepared) -> None:
        self.name = name
        self.description = prepared.description
        self.seconds = 0.0
        self._prepared = prepared

    @cached_property
    def extractor(self) -> features.Extractor:
        start = time.monotonic()
        opened = self._prepared.open()
        self.seconds = time.monotonic() - start
        return opened

    @property
    def notes(self) -> tuple[str, ...]:
        return self.extractor.notes if "extractor" in vars(self) else ()

    def environment(self) -> dict[str, str]:
        """Say what computes the rows."""
        return {"cxrfeat": __version__, **self.extractor.environment(), **decoders()}


def _parts(
    asked: Sequence[tuple[str, features.WeightsChoice]],
    names: Sequence[str],
    folder: Path,
    **how: Any,
) -> tuple[list[_Part], list[str]]:
    """Prepare every extractor and name it; return notes on the names as well."""
    prepared = [
        features.prepare_extractor(backbone, weights=choice, **how) for backbone, choice in asked
    ]
    options = options_in_name(how["pooling"], how["image_size"], how["precision"])
    notes: list[str] = []
    if not names:
        wanted = [
            Wanted(choice, one.description, options)
            for (_, choice), one in zip(asked, prepared, strict=True)
        ]
        names, notes = name_files(wanted, folder)
    return [_Part(name, one) for name, one in zip(names, prepared, strict=True)], notes


def _names(backbone: Sequence[str]) -> list[str]:
    names = [backbone] if isinstance(backbone, str) else list(backbone)
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
    return {**description.spec, "image": images.reading_spec(description.image_size, options)}


def _takeover(lock: store.FileLock) -> str:
    return (
        f"'{lock.target.name}' named {lock.taken_over} as its writer; it was taken over, because"
        " nobody holds its lock: if that process is still running, locks do not reach from machine"
        " to machine in this folder, so end one of the two"
    )


def _summary(part: _Part, changes: store.Changes, path: Path, computed: int) -> ExtractedFile:
    description = part.description
    with store.load(path) as embeddings:
        return ExtractedFile(
            name=part.name,
            path=path,
            backbone=description.backbone,
            weights=description.weights_name,
            control=description.is_control,
            dimension=description.dimension,
            rows=len(embeddings),
            computed=computed,
            reused=changes.reused,
            failed=int(((embeddings.status == store.FAILED) & ~embeddings.gone).sum()),
            changes=changes,
            fingerprint=embeddings.fingerprint,
        )


def _class_counts(found: Dataset) -> dict[str, int]:
    if found.labels is None:
        return {}
    return {
        name: int(np.nansum(found.labels[:, column])) for column, name in enumerate(found.classes)
    }
