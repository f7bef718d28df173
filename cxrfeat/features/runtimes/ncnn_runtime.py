"""Run a network with ncnn: an image on a core, as many images at once as there are cores.

ncnn's convolutions are computed by Winograd's minimal filtering where the kernel is 3 x 3, which
is what makes it fast for VGG. An image goes through alone, so that a row cannot depend on others.
"""

from __future__ import annotations

import atexit
from concurrent.futures import ThreadPoolExecutor
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any
from weakref import WeakSet

import numpy as np

from cxrfeat.arrays import Matrix32, Pictures
from cxrfeat.cores import available_cores
from cxrfeat.features.network.pooling import pool
from cxrfeat.features.runtimes.recipe import Maps, Recipe

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


class Ncnn:
    """A converted network.

    Parameters
    ----------
    folder : Path
        With ``network.param`` and ``network.bin``, as `ncnn_convert` makes them.
    outputs : int
        How many maps it gives.
    recipe : Recipe
        Of precision "fp32", or "bf16" for activations and weights stored in 16 bits.
    """

    choice = "ncnn"
    side_by_side = True
    batch = 1
    at_once = 1
    threads = None

    def __init__(self, folder: Path, outputs: int, recipe: Recipe) -> None:
        import ncnn

        self.name = f"ncnn {version('ncnn')}, cpu"
        self.folder = folder
        self._ncnn = ncnn
        self._outputs = outputs
        self._recipe = recipe
        self._net: Any = ncnn.Net()
        options = self._net.opt
        options.use_vulkan_compute = False
        options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = False
        options.use_bf16_storage = recipe.precision == "bf16"
        options.num_threads = 1
        options.blob_allocator, options.workspace_allocator = _allocators()
        if self._net.load_param(str(folder / "network.param")):
            raise RuntimeError("ncnn does not know a layer of this network")
        if self._net.load_model(str(folder / "network.bin")):
            raise RuntimeError("ncnn cannot load the tensors of this network")
        _in_use.add(self)

    def free(self) -> None:
        """Give its memory back; it runs no more."""
        self._net.clear()

    @cached_property
    def _cores(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(available_cores(), thread_name_prefix="network")

    def __call__(self, images: Pictures) -> Matrix32:
        """Embed grey images (B, S, S)."""
        if len(images) == 1:
            return self._embed(images[0])
        return np.concatenate(list(self._cores.map(self._embed, images)))

    def with_maps(self, images: Pictures) -> tuple[Matrix32, Maps]:
        """Embed grey images, and return the maps as well."""
        done = list(self._cores.map(self.maps, images))
        rows = np.concatenate([self._pooled(maps) for maps in done])
        return rows, [np.stack(of_each) for of_each in zip(*done, strict=True)]

    def _embed(self, image: Pictures) -> Matrix32:
        return self._pooled(self.maps(image))

    def _pooled(self, maps: Maps) -> Matrix32:
        return pool([one[None] for one in maps], self._recipe.pooling)

    def maps(self, image: Pictures) -> Maps:
        """Run one grey image (S, S) up to the maps, (C, H, W) each, or (C,) for a token."""
        normalised = np.ascontiguousarray(self._recipe.normalise(image[None])[0])
        extractor = self._net.create_extractor()
        extractor.input("in0", self._ncnn.Mat(normalised))
        maps = []
        for index in range(self._outputs):
            failed, result = extractor.extract(f"out{index}")
            if failed:
                raise RuntimeError("ncnn could not run this network")
            maps.append(np.array(result, dtype=np.float32))  # a copy: ncnn's memory goes away
        return maps
