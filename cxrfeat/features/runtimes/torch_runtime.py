"""Run a network with torch on the CPU, in blocks of one shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, fx

from cxrfeat.arrays import Matrix32, Pictures
from cxrfeat.cores import available_cores
from cxrfeat.features.network.pooling import pool
from cxrfeat.features.runtimes.recipe import Maps, Recipe
from cxrfeat.features.runtimes.torch_forward import Forward

# Kernels are chosen by the shape of a batch, and other kernels round differently (1e-6). Every
# block has this many images, the last one filled up, so that a row never depends on its batch.
BLOCK = 4

R = TypeVar("R")


class Torch:
    """A network run by torch on the CPU.

    Parameters
    ----------
    module : GraphModule
        Gives a tuple of maps; it is copied, not changed.
    recipe : Recipe
    layout : "NCHW" or "channels_last"
        How activations lie in memory; which one is fast depends on the network and the processor.

    Attributes
    ----------
    block : int
        Images that go through together.
    """

    side_by_side = False
    batch = BLOCK
    at_once = 1
    pinned = False

    def __init__(
        self, module: fx.GraphModule, recipe: Recipe, layout: str = "channels_last"
    ) -> None:
        self._recipe = recipe
        self._forward = Forward(module, recipe, torch.device("cpu"), layout)
        self.block = BLOCK
        self.choice = f"torch {layout}"
        self.name = f"torch {torch.__version__}, cpu, {layout}"
        if torch.get_num_threads() > (cores := available_cores()):
            torch.set_num_threads(cores)  # torch does not know a container's limit

    @property
    def threads(self) -> int:
        """How many threads torch has: sums are cut by them, so that another number rounds else."""
        return torch.get_num_threads()

    def __call__(self, images: Pictures) -> Matrix32:
        """Embed grey images (B, S, S)."""
        return np.concatenate(self._run(images, lambda maps: pool(maps, self._recipe.pooling)))

    def with_maps(self, images: Pictures) -> tuple[Matrix32, Maps]:
        """Embed grey images, and return the maps as well."""
        parts = self._run(
            images,
            lambda maps: (
                pool(maps, self._recipe.pooling),
                [one.contiguous().numpy() for one in maps],
            ),
        )
        of_each_map = zip(*(maps for _, maps in parts), strict=True)
        return np.concatenate([rows for rows, _ in parts]), [np.concatenate(m) for m in of_each_map]

    def _run(self, images: Pictures, use: Callable[[list[Tensor]], R]) -> list[R]:
        """Run images in blocks; return what `use` makes of the maps of each block."""
        return [
            use(self._block(images[i : i + self.block])) for i in range(0, len(images), self.block)
        ]

    def _block(self, images: Pictures) -> list[Tensor]:
        missing = self.block - len(images)
        full = np.concatenate([images, np.zeros((missing, *images.shape[1:]), np.float32)])
        return [one[: len(images)] for one in self._forward(torch.from_numpy(full))]
