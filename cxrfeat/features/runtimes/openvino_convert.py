"""Write a network as OpenVINO takes it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import fx

from cxrfeat.features.runtimes.grey_input import taking_grey
from cxrfeat.features.runtimes.kept_conversion import OPENVINO, NotRunError
from cxrfeat.features.runtimes.openvino_runtime import last_line, openvino
from cxrfeat.features.runtimes.recipe import Recipe
from cxrfeat.features.runtimes.torch_forward import folded
from cxrfeat.features.runtimes.tracing import traced
from cxrfeat.features.runtimes.winograd import filtered


def write(module: fx.GraphModule, recipe: Recipe, folder: Path) -> int:
    """Write a network's files; return how many maps it gives.

    In float32 it takes the grey picture. In bfloat16 it takes channels: what is rounded in each of
    them averages, by which VGG16 is off by 0.9e-2 instead of 1.1e-2.

    OpenVINO would fold batch normalisation itself, each time it opens the network, and hold the
    weights twice while it does; so it is folded here.

    Parameters
    ----------
    module : GraphModule
        In evaluation mode, on the CPU; gives a tuple of maps.
    recipe : Recipe
        Of precision "fp32" or "bf16".
    folder : Path

    Raises
    ------
    NotRunError
        OpenVINO does not know what it computes.
    """
    return _write(*_taken(module, recipe), folder)


def write_filtered(module: fx.GraphModule, recipe: Recipe, folder: Path) -> int:
    """Write a network whose 3 x 3 convolutions are computed by Winograd's filtering.

    Parameters are those of `write`.

    Raises
    ------
    NotRunError
        There is none that this makes faster, or OpenVINO does not know what the network computes.
    """
    network, shape = _taken(module, recipe)
    return _write(filtered(network, shape), shape, folder)


def _taken(module: fx.GraphModule, recipe: Recipe) -> tuple[fx.GraphModule, tuple[int, ...]]:
    """Return a network as it is to be written, and the shape of what it takes."""
    if recipe.precision == "fp32":
        return taking_grey(folded(module), recipe), (1, 1, recipe.size, recipe.size)
    return folded(module), (1, recipe.channels, recipe.size, recipe.size)


def _write(module: fx.GraphModule, shape: tuple[int, ...], folder: Path) -> int:
    ov = openvino()
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
    from openvino.passes import ConstantFolding, Manager

    network, outputs = traced(module, shape)
    frontend = FrontEndManager().load_by_framework("pytorch")
    try:
        decoder = TorchScriptPythonDecoder(network, example_input=torch.zeros(shape))
        loaded = frontend.load(decoder)  # refers to the decoder, but does not keep it alive
        model = frontend.convert(loaded)
        model.reshape(list(shape))
        passes = Manager()
        passes.register_pass(ConstantFolding())  # else it folds sizes whenever it opens the network
        passes.run_passes(model)
    except RuntimeError as error:
        raise NotRunError(f"OpenVINO cannot convert it ({last_line(error)})") from None
    ov.save_model(model, folder / OPENVINO.files[0], compress_to_fp16=False)
    return outputs
