"""`predict`, `explain` and `model info`: what a saved model says, of what, and what it is."""

from __future__ import annotations

from typing import Annotated

import typer

from cxrfeat import defaults, display
from cxrfeat.commandline import options, panels
from cxrfeat.commandline.running import end_with_1_if, show


def predict(
    model: options.ModelFile,
    images: Annotated[
        list[str],
        typer.Argument(
            help="Radiographs, or folders of them; or the .h5 of the model's extractor."
        ),
    ],
    modality: options.Modality = [*defaults.MODALITIES],
    weights: options.Weights = [],
    to: Annotated[
        str | None, panels.output(help="csv, parquet or json.  [default: by the ending of OUT]")
    ] = None,
    out: Annotated[
        str | None,
        panels.output(
            help="A file that does not exist yet.  [default: predictions.TO; without --to nothing "
            "is written]"
        ),
    ] = None,
    device: options.Device = defaults.DEVICE,
    batch_size: options.BatchSize = None,
    workers: options.Workers = None,
    json: options.Json = False,
) -> None:
    """Apply a saved model to images. For research only, not for diagnosis.

    Images are read and embedded as the model's training images were, or refused. Each gets its
    probabilities, its label, and its distance from the training images, with a warning where it
    is unlike them. Exit code 1 means: done, but some images failed; they are listed.
    """
    from cxrfeat.commands.predict import predict as verb

    with display.extraction_progress() as progress:
        result = verb(
            model,
            images,
            to=to,
            out=out,
            weights=weights,
            modality=modality,
            device=device,
            batch_size=batch_size,
            workers=workers,
            progress=progress,
        )
    show(result, json, display.predictions)
    end_with_1_if(result.failures)


def explain(
    model: options.ModelFile,
    images: Annotated[
        list[str], typer.Argument(help="Folders of radiographs, files, or one table of them.")
    ],
    class_: Annotated[
        str | None,
        panels.maps("--class", help="Class to explain.  [default: the predicted one of each]"),
    ] = None,
    budget: Annotated[
        int, panels.maps(help="Occlusions of an image at most, where no exact map exists.")
    ] = defaults.BUDGET,
    modality: options.Modality = [*defaults.MODALITIES],
    weights: options.Weights = [],
    out: Annotated[
        str, panels.output(help="Folder for overlays, maps, contact sheet and tables.")
    ] = defaults.EXPLAINED,
    device: options.Device = defaults.DEVICE,
    workers: options.Workers = None,
    json: options.Json = False,
) -> None:
    """Show where in each image the evidence for a class lies. For research, not for diagnosis.

    Linear heads on averaged maps get the exact class activation map; other heads and poolings
    are explained by occlusion. A map is no proof. Exit code 1 means that some images failed.
    """
    from cxrfeat.commands.explain import explain as verb

    with display.extraction_progress() as progress:
        result = verb(
            model,
            images,
            class_=class_,
            out=out,
            budget=budget,
            weights=weights,
            modality=modality,
            device=device,
            workers=workers,
            progress=progress,
        )
    show(result, json, display.explanation)
    end_with_1_if(result.failures)


def model_info(model: options.ModelFile, json: options.Json = False) -> None:
    """Describe a saved model. For research only, not for diagnosis."""
    from cxrfeat.commands.model_info import model_info as verb

    show(verb(model), json, display.model_info)
