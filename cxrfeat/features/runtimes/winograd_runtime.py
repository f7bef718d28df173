"""Run a network with torch, its 3 x 3 convolutions by Winograd's filtering: for bfloat16."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch
from threadpoolctl import ThreadpoolController
from torch import fx

from cxrfeat.arrays import Pictures
from cxrfeat.features.runtimes.kept_conversion import WINOGRAD
from cxrfeat.features.runtimes.recipe import FILTERED, Maps, Recipe
from cxrfeat.features.runtimes.side_by_side import SideBySide
from cxrfeat.features.runtimes.torch_forward import TYPES, Forward, folded
from cxrfeat.features.runtimes.winograd import filtered


class TorchWinograd(SideBySide):
    """A network of which torch computes 3 x 3 convolutions by `Winograd`.

    Parameters
    ----------
    module : GraphModule
        In evaluation mode, on the CPU; gives a tuple of maps. It is copied, not changed.
    recipe : Recipe

    Raises
    ------
    NotRunError
        There is nothing in it that this makes faster.
    """

    kind = WINOGRAD
    choice = FILTERED

    def __init__(self, module: fx.GraphModule, recipe: Recipe) -> None:
        super().__init__(recipe)
        self.name = f"torch {torch.__version__}, cpu, {FILTERED.partition(' ')[2]}"
        shape = (1, recipe.channels, recipe.size, recipe.size)
        network = filtered(folded(module), shape, TYPES[recipe.precision])
        self._forward = Forward(network, recipe, torch.device("cpu"), "channels_last")

    def maps(self, image: Pictures) -> Maps:
        """Run one grey image (S, S) up to the maps, (C, H, W) each, or (C,) for a token."""
        with _one_thread():
            return [one[0].numpy() for one in self._forward.alone(torch.from_numpy(image[None]))]


@cache
def _openmp() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="openmp")


@contextmanager
def _one_thread() -> Iterator[None]:
    """Have torch work in this thread alone; others, and this one afterwards, as they were."""
    torch.get_num_threads()  # in a new thread torch would set their number at its first use
    with _openmp().limit(limits=1):
        yield
