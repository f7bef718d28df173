"""`extract` and `import` make embedding files; `info`, `verify` and others look after them."""

from __future__ import annotations

from typing import Annotated

import typer

from cxrfeat import defaults, display
from cxrfeat.commandline import options, panels
from cxrfeat.commandline.running import end_with_1_if, show


def extract(
    images: options.ImagesOrTable = [defaults.IMAGES],
    labels: options.Labels = None,
    path_column: options.PathColumn = None,
    label_column: options.LabelColumn = None,
    group_column: options.GroupColumn = None,
    keep_column: options.KeepColumn = [],
    uncertain: options.Uncertain = None,
    positive: options.Positive = None,
    where: options.Where = [],
    repeated_rows: options.RepeatedRows = defaults.REPEATED_ROWS,
    modality: options.Modality = [*defaults.MODALITIES],
    frame: options.Frame = None,
    bits: options.Bits = None,
    backbone: options.Backbones = [],
    weights: options.Weights = [],
    pool: Annotated[
        str,
        panels.networks(
            help="avg, max, avgmax, multi (every stage's average) or flatten; of networks of "
            "tokens also token, patches (their average) or tokenpatches (both)."
        ),
    ] = defaults.POOL,
    image_size: Annotated[
        int | None,
        panels.networks(help="Side in pixels.  [default: what the weights were trained with]"),
    ] = None,
    precision: Annotated[
        str, panels.networks(help="fp32, bf16, or on a GPU tf32 or fp16.")
    ] = defaults.PRECISION,
    out: Annotated[
        str, panels.output(help="Folder for one NAME.h5 per extractor.")
    ] = defaults.EMBEDDINGS,
    name: Annotated[
        list[str],
        panels.output(
            help="Of each extractor, and its file; once for each, in the order of --backbone and "
            "--weights.  [default: the backbone and what is not the default]"
        ),
    ] = [],
    storage: Annotated[str, panels.output(help="float32 or float16.")] = defaults.STORAGE,
    cache: Annotated[
        str | None,
        panels.output(
            help="Folder that keeps the resized pictures, so that another network decodes no image "
            "again.  [default: none are kept]"
        ),
    ] = None,
    cache_size: Annotated[
        str, panels.output(help="What --cache takes at most; then the rest is not kept.")
    ] = defaults.CACHE_SIZE,
    prune: options.Prune = False,
    device: options.Device = defaults.DEVICE,
    runtime: Annotated[
        str,
        panels.running(
            help="On the CPU: auto (the fastest here), torch, ncnn, openvino, 'openvino winograd'."
        ),
    ] = defaults.RUNTIME,
    batch_size: options.BatchSize = None,
    workers: options.Workers = None,
    shard: Annotated[
        str | None,
        panels.running(
            help="I/N: only the images of shard I of N, from 0, for several processes that share a "
            "folder. See: shards  [default: all images]"
        ),
    ] = None,
    retry_failed: Annotated[bool, panels.running(help="Try again what failed before.")] = False,
    max_failures: Annotated[
        int | None, panels.running(help="Stop early when more images fail.  [default: go on]")
    ] = None,
    engine: options.Engine = defaults.ENGINE,
    address: options.Address = None,
    num_cpus: Annotated[
        int | None,
        panels.machines(help="For each Ray worker.  [default: those of the smallest machine]"),
    ] = None,
    num_gpus: Annotated[
        float | None,
        panels.machines(help="For each Ray worker.  [default: 1 where there are GPUs]"),
    ] = None,
    dry_run: Annotated[
        bool,
        panels.running(
            "--dry-run",
            help="Write nothing: say what would be computed, and how long it takes, by a few "
            "images.",
        ),
    ] = False,
    json: options.Json = False,
) -> None:
    """Run frozen backbones once over radiographs; keep the embeddings in HDF5.

    Every image is read once, however many backbones are named. A second run computes only what
    is missing. Exit code 1 means: done, but some images failed; they are listed.
    """
    from cxrfeat.commands.extract import extract as verb

    with display.extraction_progress() as progress:
        result = verb(
            images,
            backbone=backbone or None,
            out=out,
            weights=weights,
            name=name,
            pool=pool,
            image_size=image_size,
            labels=labels,
            path_column=path_column,
            label_column=label_column,
            group_column=group_column,
            keep_column=keep_column,
            uncertain=uncertain,
            positive=positive,
            where=where,
            repeated_rows=repeated_rows,
            modality=modality,
            frame=frame,
            bits=bits,
            precision=precision,
            device=device,
            runtime=runtime,
            batch_size=batch_size,
            workers=workers,
            storage=storage,  # type: ignore[arg-type]  # the store names what it takes
            cache=cache,
            cache_size=cache_size,
            prune=prune,
            shard=shard,
            retry_failed=retry_failed,
            max_failures=max_failures,
            engine=engine,
            address=address,
            num_cpus=num_cpus,
            num_gpus=num_gpus,
            dry_run=dry_run,
            progress=progress,
        )
    show(result, json, display.extraction if result.forecast is None else display.forecast)
    end_with_1_if(result.failures)


def info(file: options.EmbeddingFile, json: options.Json = False) -> None:
    """Describe an embedding file: how it was made, rows, classes, patients, failures."""
    from cxrfeat.commands.info import info as verb

    show(verb(file), json, display.file_info)


def verify(
    file: options.EmbeddingFile,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Set damaged rows back to pending: `extract` redoes them."),
    ] = False,
    json: options.Json = False,
) -> None:
    """Read a whole embedding file against its checksums and name every damaged row.

    Exit code 1 means that damage was found; it is listed.
    """
    from cxrfeat.commands.verify import verify as verb

    found = verb(file, repair=repair)
    show(found, json, display.verification)
    end_with_1_if(not found.sound)


def merge(
    files: Annotated[
        list[str], typer.Argument(help="Two embedding files or more, or folders of them.")
    ],
    out: Annotated[str, panels.output(help="The new file; it must not exist.")],
    json: options.Json = False,
) -> None:
    """Join files of the same extractor, such as shards that several machines computed.

    Rows are matched by id; rows that disagree are an error.
    """
    from cxrfeat.commands.merge import merge as verb

    show(verb(files, out=out), json, display.merged)


def export(
    file: options.EmbeddingFile,
    include_gone: options.IncludeGone = False,
    to: Annotated[
        str, panels.output(help="parquet, npz, csv, anndata or tensorboard.")
    ] = defaults.EXPORT,
    out: Annotated[
        str | None,
        panels.output(help="A file that does not exist yet.  [default: beside FILE, its name]"),
    ] = None,
    json: options.Json = False,
) -> None:
    """Write embeddings, ids, labels, columns and provenance for other programs."""
    from cxrfeat.commands.export import export as verb

    show(verb(file, to=to, out=out, include_gone=include_gone), json, display.exported)


def import_(
    files: Annotated[
        list[str],
        typer.Argument(
            help="CSV, Parquet, npz, npy, HDF5 or AnnData files with a row for each image, or a "
            "folder with a .h5 or .npy file for each."
        ),
    ],
    like: Annotated[
        str | None,
        panels.images_and_labels(
            help="An embedding file of the same images: ids are matched to its own, by path, file "
            "name or sha256, and its labels, patients and columns are taken."
        ),
    ] = None,
    labels: options.Labels = None,
    path_column: options.PathColumn = None,
    label_column: options.LabelColumn = None,
    group_column: options.GroupColumn = None,
    keep_column: options.KeepColumn = [],
    uncertain: options.Uncertain = None,
    positive: options.Positive = None,
    where: options.Where = [],
    repeated_rows: options.RepeatedRows = defaults.REPEATED_ROWS,
    ids: Annotated[
        str | None,
        panels.embeddings(
            help="A file with an id for each row: text, table or .npy.  [default: FILES say them]"
        ),
    ] = None,
    id_column: Annotated[
        str | None, panels.embeddings(help="Column, array or dataset of ids.")
    ] = None,
    embedding: Annotated[
        str | None,
        panels.embeddings(
            help="What holds the numbers: columns (NAME, NAME* or A,B), an array, a dataset, or a "
            "matrix of obsm.  [default: recognised]"
        ),
    ] = None,
    patches: Annotated[
        str | None,
        panels.embeddings(help="mean: of several rows of an image, of its patches."),
    ] = None,
    encoder: Annotated[str | None, panels.networks(help="What made the numbers.")] = None,
    preprocessing: Annotated[
        str | None, panels.networks(help="How images were prepared for it.")
    ] = None,
    pretraining: options.Pretraining = [],
    licence: options.Licence = None,
    same_as: Annotated[
        str | None,
        panels.networks(
            help="An earlier import of the same encoder, so that the two may be training and "
            "outside set."
        ),
    ] = None,
    out: Annotated[str, panels.output(help="Folder for NAME.h5.")] = defaults.EMBEDDINGS,
    name: Annotated[
        str | None,
        panels.output(help="Of the extractor, and its file.  [default: that of the first file]"),
    ] = None,
    prune: options.Prune = False,
    json: options.Json = False,
) -> None:
    """Make an embedding file of numbers that another program computed.

    It can be compared, audited and exported like those of `extract`; rows of no image of --like
    are left out and listed.
    """
    from cxrfeat.commands.import_ import import_ as verb

    made = verb(
        files,
        name=name,
        out=out,
        ids=ids,
        id_column=id_column,
        embedding=embedding,
        patches=patches,
        like=like,
        labels=labels,
        path_column=path_column,
        label_column=label_column,
        group_column=group_column,
        keep_column=keep_column,
        uncertain=uncertain,
        positive=positive,
        where=where,
        repeated_rows=repeated_rows,
        encoder=encoder,
        preprocessing=preprocessing,
        pretraining=pretraining,
        licence=licence,
        same_as=same_as,
        prune=prune,
    )
    show(made, json, display.imported)
