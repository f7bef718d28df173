"""`backbones`, `doctor` and `weights ...`: which networks there are, and what this machine has."""

from __future__ import annotations

from typing import Annotated

import typer

from cxrfeat import defaults, display
from cxrfeat.commandline import options, panels
from cxrfeat.commandline.running import EXIT_WRONG_INPUT, print_error, say, show


def backbones(
    names: Annotated[
        list[str],
        typer.Argument(
            help="Names, or beginnings of names, e.g. timm:vit_s.  [default: all but timm's]"
        ),
    ] = [],
    json: options.Json = False,
) -> None:
    """List the networks with dimension, cost and weights; nothing is downloaded."""
    from cxrfeat.commands.backbones import backbones as verb

    show(verb(names), json, display.backbones)


def doctor(
    backbone: options.Backbones = [],
    weights: options.Weights = [],
    out: Annotated[
        str, panels.output(help="Where embeddings are to be written.")
    ] = defaults.EMBEDDINGS,
    online: Annotated[
        bool, panels.running("--online", help="Also ask whether weights could be downloaded.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Check that this machine has what is needed, and say how to get what is missing.

    Exit code 0 means that something can be extracted, even where some weights are missing.
    """
    from cxrfeat.commands.doctor import doctor as verb

    found = verb(backbone or None, weights=weights, out=out, online=online)
    show(found, json, display.diagnosis)
    if not found.usable:
        print_error("error: nothing can be extracted yet: do what the table's last column says")
        raise typer.Exit(EXIT_WRONG_INPUT)


def weights_list(
    backbone: options.Backbones = [],
    weights: options.Weights = [],
    json: options.Json = False,
) -> None:
    """Say which file each backbone's weights are in, and where it lies."""
    from cxrfeat.commands.weights import weights_list as verb

    show(verb(backbone or None, weights=weights), json, display.weights)


def weights_fetch(
    backbone: Annotated[list[str], typer.Argument(help="Networks.")] = [*defaults.BACKBONES],
    weights: options.Weights = [],
    out: Annotated[
        str, panels.output(help="Folder to carry over; give it to `extract --weights`.")
    ] = defaults.WEIGHTS_FOLDER,
    json: options.Json = False,
) -> None:
    """Download weights, with their hash checked, into a folder to carry over."""
    from cxrfeat.commands.weights import weights_fetch as verb

    with display.download_progress() as progress:
        files = verb(backbone, out=out, weights=weights, progress=progress)
    show(files, json, display.weights)


def weights_add(
    file: Annotated[str, typer.Argument(help="A .pth or .safetensors file of tensors.")],
    backbone: Annotated[str, panels.networks("--backbone", "-b", help="The network they are of.")],
    size: Annotated[int | None, panels.networks(help="Side of the images, in pixels.")] = None,
    mean: Annotated[
        tuple[float, float, float] | None,
        panels.networks(help="Mean per channel, for pixels in 0..1."),
    ] = None,
    std: Annotated[
        tuple[float, float, float] | None,
        panels.networks(help="Standard deviation per channel, for pixels in 0..1."),
    ] = None,
    crop: Annotated[
        str | None,
        panels.networks(help="none, or centre: the largest square in the middle of an image."),
    ] = None,
    preprocessor: Annotated[
        str | None,
        panels.networks(help="A preprocessor_config.json of transformers: says size, mean, std."),
    ] = None,
    pretraining: options.Pretraining = [],
    licence: options.Licence = None,
    citation: Annotated[str | None, panels.networks(help="Paper or address to cite.")] = None,
    json: options.Json = False,
) -> None:
    """Check weights of your own and write the sidecar that says how to preprocess for them."""
    from cxrfeat.commands.weights import weights_add as verb

    added = verb(
        file, backbone=backbone, size=size, mean=mean, std=std, crop=crop,
        preprocessor=preprocessor, pretraining=pretraining or None, licence=licence,
        citation=citation,
    )  # fmt: skip
    show([added], json, display.weights)


def weights_convert(
    file: Annotated[str, typer.Argument(help="A pickle, such as torchxrayvision's .pt files.")],
    out: Annotated[str, typer.Argument(help="The .safetensors file to write.")],
    backbone: Annotated[
        str | None,
        panels.networks(
            "--backbone",
            "-b",
            help="The network it is of, for the sidecar.  [default: none; "
            "known for torchxrayvision's files]",
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Make tensors of a pickle once, in a process of its own; `extract` never opens pickles."""
    from cxrfeat.commands.weights import weights_convert as verb

    show([verb(file, out, backbone=backbone, warn=say)], json, display.weights)


def weights_check(
    file: Annotated[str, typer.Argument(help="A weights file with its sidecar.")],
    json: options.Json = False,
) -> None:
    """Load weights strictly into the network that their sidecar names."""
    from cxrfeat.commands.weights import weights_check as verb

    show([verb(file)], json, display.weights)
