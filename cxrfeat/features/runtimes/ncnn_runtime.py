"""Run a network with ncnn.

ncnn's convolutions are computed by Winograd's minimal filtering where the kernel is 3 x 3, which
is what makes it fast for VGG.
"""

from __future__ import annotations

import atexit
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any
from weakref import WeakSet

import numpy as np

from cxrfeat.arrays import Pictures
from cxrfeat.features.runtimes.kept_conversion import NCNN, NotRunError
from cxrfeat.features.runtimes.recipe import Maps, Recipe
from cxrfeat.features.runtimes.side_by_side import SideBySide

_in_use: WeakSet[Ncnn] = WeakSet()


@cache
def _allocators() -> tuple[Any, Any]:
    """Share working memory among all networks of the process; each would keep its own."""
    import ncnn

    atexit.register(_free_all)
    return ncnn.PoolAllocator(), ncnn.PoolAllocator()


def _free_all() -> None:
    """Give memory back while its allocators exist.

    When Python ends it drops what modules hold in any order. Memory of a network that outlives its
    allocator, because somebody keeps the network, ends the process with a signal.
    """
    for network in list(_in_use):
        network.free()


class Ncnn(SideBySide):
    """A network converted for ncnn.

    Parameters
    ----------
    folder : Path
        With ``network.param`` and ``network.bin``, as `ncnn_convert` makes them.
    outputs : int
        How many maps it gives.
    recipe : Recipe
        Of precision "fp32", or "bf16" for activations and weights stored in 16 bits.

    Raises
    ------
    NotRunError
        ncnn does not run this network.
    """

    kind = NCNN
    choice = "ncnn"

    def __init__(self, folder: Path, outputs: int, recipe: Recipe) -> None:
        import ncnn

        super().__init__(recipe)
        self.name = f"ncnn {version('ncnn')}, cpu"
        self.folder = folder
        self._ncnn = ncnn
        self._outputs = outputs
        self._net: Any = ncnn.Net()
        options = self._net.opt
        options.use_vulkan_compute = False
        options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = False
        options.use_bf16_storage = recipe.precision == "bf16"
        options.num_threads = 1
        options.blob_allocator, options.workspace_allocator = _allocators()
        if self._net.load_param(str(folder / "network.param")):
            raise NotRunError("ncnn does not know a layer of this network")
        if self._net.load_model(str(folder / "network.bin")):
            raise NotRunError("ncnn cannot load the tensors of this network")
        _in_use.add(self)

    def free(self) -> None:
        """Give its memory back; it runs no more."""
        self._net.clear()

    def maps(self, image: Pictures) -> Maps:
        """Run one grey image (S, S) up to the maps, (C, H, W) each, or (C,) for a token."""
        normalised = np.ascontiguousarray(self._recipe.normalise(image[None])[0])
        extractor = self._net.create_extractor()
        extractor.input("in0", self._ncnn.Mat(normalised))
        maps = []
        for index in range(self._outputs):
            failed, result = extractor.extract(f"out{index}")
            if failed:
                raise NotRunError("ncnn could not run this network")
            maps.append(np.array(result, dtype=np.float32))  # a copy: ncnn's memory goes away
        return maps
