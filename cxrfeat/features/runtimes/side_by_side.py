"""An image on a core, as many images at once as there are cores.

Reading and network share the cores, and no core waits for another. An image goes through alone,
so that a row cannot depend on others.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

import numpy as np

from cxrfeat.arrays import Matrix32, Pictures
from cxrfeat.cores import available_cores
from cxrfeat.features.network.pooling import pool
from cxrfeat.features.runtimes.recipe import Maps, Recipe


class SideBySide(ABC):
    """A network of which each call of `maps` takes one core.

    Parameters
    ----------
    recipe : Recipe
    """

    side_by_side = True
    batch = 1
    at_once = 1
    pinned = False
    threads = None

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe

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

    @abstractmethod
    def maps(self, image: Pictures) -> Maps:
        """Run one grey image (S, S) up to the maps, (C, H, W) each, or (C,) for a token."""

    def _embed(self, image: Pictures) -> Matrix32:
        return self._pooled(self.maps(image))

    def _pooled(self, maps: Maps) -> Matrix32:
        return pool([one[None] for one in maps], self._recipe.pooling)
