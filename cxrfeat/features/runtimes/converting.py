"""Convert a network once per weights, check it against torch, and keep it.

A conversion is kept under a key made of the network's graph, the sha256 of its tensors, the
preprocessing, the processor that it was checked on, how it is written, and the versions of
converter and runtime. Whatever differs from torch by more than the bound is never used.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from torch import fx

from cxrfeat.features.network import disk_cache
from cxrfeat.features.runtimes import ncnn_convert, openvino_convert
from cxrfeat.features.runtimes.checking import Yardstick
from cxrfeat.features.runtimes.kept_conversion import Conversion, NotRunError
from cxrfeat.features.runtimes.processor import processor
from cxrfeat.features.runtimes.recipe import OPENVINO_WINOGRAD, Recipe
from cxrfeat.features.runtimes.runners import RUNNERS

WRITERS: dict[str, Callable[[fx.GraphModule, Recipe, Path], int]] = {
    "ncnn": ncnn_convert.write,
    "openvino": openvino_convert.write,
    OPENVINO_WINOGRAD: openvino_convert.write_filtered,
}


def converted(
    name: str, module: fx.GraphModule, tensors_sha256: str, recipe: Recipe, yardstick: Yardstick
) -> tuple[Path, Conversion]:
    """Return the folder of a network for a runtime; make, check and keep it if it is not there.

    Parameters
    ----------
    name : str
        A key of `WRITERS`.
    module : GraphModule
        In evaluation mode, on the CPU; gives a tuple of maps.
    tensors_sha256 : str
        Of its tensors.
    recipe : Recipe
        Its size and preprocessing; the checking images go through it.
    yardstick : Yardstick
        Of the network.

    Raises
    ------
    OSError
        The cache cannot be written.
    """
    kind = RUNNERS[name].kind
    preprocessing = (recipe.size, recipe.mean, recipe.std)
    decides = (module.code, tensors_sha256, preprocessing, *kind.checked(recipe.precision),
               processor())  # fmt: skip
    key = disk_cache.key_of(*decides, kind.form, *kind.versions())
    folder = kind.folder_of(key)
    if found := kind.read(folder):
        return folder, found
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".new-") as temporary:
        new = Path(temporary) / folder.name
        new.mkdir()
        conversion = _convert(name, module, recipe, yardstick, new)
        (new / "about.json").write_text(json.dumps(asdict(conversion), indent=1))
        try:
            os.replace(new, folder)
        except OSError:  # another process was faster, and may be about to read it; or it is damaged
            if found := kind.read(folder):
                return folder, found
            os.rename(folder, Path(temporary) / "damaged")
            os.replace(new, folder)
    return folder, conversion


def _convert(
    name: str, module: fx.GraphModule, recipe: Recipe, yardstick: Yardstick, folder: Path
) -> Conversion:
    try:
        outputs = WRITERS[name](module, recipe, folder)
    except NotRunError as error:
        return Conversion(0, [], {}, {}, str(error))
    kind = RUNNERS[name].kind
    hashes = kind.file_hashes(folder)
    errors: dict[str, float] = {}
    for precision in kind.checked(recipe.precision):
        try:
            network = RUNNERS[name](folder, outputs, replace(recipe, precision=precision))
            errors[precision] = yardstick.error_of_maps(
                [network.maps(image) for image in yardstick.images]
            )
        except NotRunError as error:
            if precision == "fp32":
                return Conversion(outputs, hashes, {}, {}, str(error))
    bounds = {one: yardstick.bound_of_maps(one, error) for one, error in errors.items()}
    return Conversion(outputs, hashes, errors, bounds)
