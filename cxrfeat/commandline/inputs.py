"""`dataset` and `inspect`: what there is, before anything is computed."""

from __future__ import annotations

from typing import Annotated

import typer

from cxrfeat import defaults, display
from cxrfeat.commandline import options, panels
from cxrfeat.commandline.running import end_with_1_if, show


def dataset(
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
    workers: options.Workers = None,
    json: options.Json = False,
) -> None:
    """Say what is understood of images and labels, before anything is computed."""
    from cxrfeat.commands.dataset import dataset as verb

    summary = verb(
        images,
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
        workers=workers,
    )
    show(summary, json, display.dataset_summary)


def inspect(
    images: Annotated[list[str], typer.Argument(help="Folders of radiographs, or files.")] = [
        defaults.IMAGES
    ],
    modality: options.Modality = [*defaults.MODALITIES],
    frame: options.Frame = None,
    bits: options.Bits = None,
    image_size: Annotated[
        int, panels.networks(help="Side of what the network sees.")
    ] = defaults.SEEN_SIZE,
    out: Annotated[
        str | None, panels.output(help="Contact sheet to write, e.g. sheet.png.")
    ] = None,
    sheet_images: Annotated[
        int, panels.output(help="Images on the sheet at most.")
    ] = defaults.SHEET_IMAGES,
    workers: options.Workers = None,
    json: options.Json = False,
) -> None:
    """Show what the networks will see, how each image was read, and what looks wrong.

    Exit code 1 means that some images could not be read; they are listed.
    """
    from cxrfeat.commands.inspect import inspect as verb

    result = verb(
        images,
        out=out,
        modality=modality,
        frame=frame,
        bits=bits,
        image_size=image_size,
        sheet_images=sheet_images,
        workers=workers,
    )
    show(result, json, display.inspection)
    end_with_1_if(result.failed)
