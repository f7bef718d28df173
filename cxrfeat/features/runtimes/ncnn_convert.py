"""Write a network as ncnn takes it, with its converter pnnx."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from torch import fx

from cxrfeat.features.runtimes.kept_conversion import NCNN, NotRunError
from cxrfeat.features.runtimes.recipe import Recipe
from cxrfeat.features.runtimes.tracing import traced
from cxrfeat.features.weights.find import first_line

_MINUTES = 10
_NO_WINOGRAD = "31=64"
"""A bit of ncnn's mask of what a layer does not use (wiki of ncnn, "layer feat mask")."""
_FEW_CHANNELS = 4
_STOPPED = {signal.SIGINT, signal.SIGTERM, signal.SIGKILL, signal.SIGXFSZ}


def write(module: fx.GraphModule, recipe: Recipe, folder: Path) -> int:
    """Write a network's files; return how many maps it gives.

    Parameters
    ----------
    module : GraphModule
        In evaluation mode, on the CPU; gives a tuple of maps.
    recipe : Recipe
        Of any precision.
    folder : Path

    Raises
    ------
    NotRunError
        pnnx does not take it.
    InterruptedError
        pnnx was stopped from outside, which says nothing about the network.
    """
    import pnnx

    shape = (1, recipe.channels, recipe.size, recipe.size)
    network, outputs = traced(module, shape)
    with tempfile.TemporaryDirectory() as scratch:
        network.save(f"{scratch}/network.pt")
        command = [
            pnnx.EXEC_PATH,
            "network.pt",
            f"inputshape={list(shape)}".replace(" ", ""),
            "fp16=0",
        ]
        try:
            done = subprocess.run(command, cwd=scratch, capture_output=True, timeout=60 * _MINUTES)
            if -done.returncode in _STOPPED:  # not to be remembered
                raise InterruptedError(f"pnnx was stopped by signal {-done.returncode}")
            done.check_returncode()
        except subprocess.SubprocessError as error:
            raise NotRunError(f"pnnx cannot convert it ({first_line(error)})") from None
        made = [Path(scratch) / f"network.ncnn.{suffix}" for suffix in ("param", "bin")]
        if not all(path.is_file() for path in made):
            raise NotRunError("pnnx cannot convert it (it wrote nothing)")
        made[0].write_text(_first_layer_directly(made[0].read_text(encoding="utf-8")), "utf-8")
        for path, name in zip(made, NCNN.files, strict=True):
            shutil.move(path, folder / name)
    return outputs


def _first_layer_directly(layers: str) -> str:
    """Have convolutions of the picture itself computed without Winograd's filtering.

    What it saves grows with the channels that a convolution takes, what its transforms cost does
    not: on three channels VGG16 loses 3 to 5 % of its speed by it.

    Parameters
    ----------
    layers : str
        What pnnx writes: a line a layer, with its kind, name, numbers of inputs and outputs, their
        names, and parameters as ``key=value``; "0" is the number of channels that a convolution
        gives, "1" and "11" are the sides of its kernel, "6" is the number of its weights.
    """
    lines = layers.splitlines()
    for number, line in enumerate(lines):
        kind, *words = line.split() or [""]
        if kind != "Convolution":
            continue
        told = dict(word.split("=", 1) for word in words if "=" in word)
        area = int(told["1"]) * int(told.get("11", told["1"]))
        if int(told["6"]) <= _FEW_CHANNELS * int(told["0"]) * area:
            lines[number] = f"{line} {_NO_WINOGRAD}"
    return "\n".join(lines) + "\n"
