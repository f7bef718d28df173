"""Hold what runs a network to torch in float32, on drawn pictures.

In float32 the bound is a number. What bfloat16 costs depends on the network: its 8 bits round each
value by up to 0.4 %, and what becomes of that is measured, by torch in float32 with the weights and
what each layer gives rounded. A runtime that computes in bfloat16 may be off by twice that. So a
network that is sensitive, as one with random weights may be, is not refused for what rounding
alone does. What is computed wrongly is not excused by it: the same runtime has to be right in
float32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, fx

from cxrfeat.arrays import Matrix32, Pictures
from cxrfeat.features.network.pooling import pool
from cxrfeat.features.runtimes.arithmetic import computing_in
from cxrfeat.features.runtimes.kept_conversion import NotRunError
from cxrfeat.features.runtimes.recipe import Maps, Recipe, Runtime
from cxrfeat.features.runtimes.torch_forward import folded, halve

BOUNDS = {"fp32": 1e-5, "tf32": 2e-3, "bf16": 1e-2, "fp16": 2e-3}
"""Largest relative error against the CPU in float32, by precision; of bf16 where rounding alone
does no more than half of it."""
LARGEST = {"bf16": 1e-1}
"""What a bound is at most, whatever rounding does."""
TIMES_ROUNDING = 2.0

CHECKED_IMAGES = 3


def checking_images(size: int) -> Pictures:
    """Draw smooth random pictures with a contrast like that of radiographs, (n, S, S)."""
    random = np.random.default_rng(0)
    coarse = random.random((CHECKED_IMAGES, 1, 9, 9), dtype=np.float32)
    smooth = torch.nn.functional.interpolate(
        torch.from_numpy(coarse), size=(size, size), mode="bicubic", align_corners=False
    )[:, 0].numpy()
    grain = random.normal(0, 0.02, smooth.shape).astype(np.float32)
    return np.clip(smooth + grain, 0, 1).astype(np.float32)


class Yardstick:
    """What torch makes of the drawn pictures in float32, and what rounding would make of them.

    Parameters
    ----------
    module : GraphModule
        In evaluation mode, on the CPU; gives a tuple of maps.
    recipe : Recipe
        Of any precision.
    """

    def __init__(self, module: fx.GraphModule, recipe: Recipe) -> None:
        self._module = module
        self._recipe = recipe
        self.images = checking_images(recipe.size)

    @cached_property
    def _exact(self) -> Maps:
        return self._maps_of(self._module)

    @cached_property
    def _rounded(self) -> Maps:
        module = folded(self._module)
        halve(module, torch.bfloat16)
        return self._maps_of(_Rounding(module.float()).run)

    def error_of(self, runtime: Runtime) -> float:
        """Return the largest relative error of a runtime's embeddings."""
        return self._error_of_rows(runtime(self.images))

    def bound(self, precision: str, error: float) -> float:
        """Return what the error of embeddings may be; rounding is tried if it is a large one."""
        return _allowed(precision, error, lambda: self._error_of_rows(self._pooled(self._rounded)))

    def error_of_maps(self, maps: list[Maps]) -> float:
        """Return the largest relative error of a map; `maps` are those of each image."""
        return _largest_error([np.stack(each) for each in zip(*maps, strict=True)], self._exact)

    def bound_of_maps(self, precision: str, error: float) -> float:
        """Return what the error of a map may be; rounding is tried if it is a large one."""
        return _allowed(precision, error, lambda: _largest_error(self._rounded, self._exact))

    def _error_of_rows(self, rows: Matrix32) -> float:
        return _largest_error([rows], [self._pooled(self._exact)])

    def _pooled(self, maps: Maps) -> Matrix32:
        return pool(maps, self._recipe.pooling)

    def _maps_of(self, network: Callable[[Tensor], tuple[Tensor, ...]]) -> Maps:
        with torch.inference_mode(), computing_in("fp32"):
            maps = network(torch.from_numpy(self._recipe.normalise(self.images)))
            return [one.float().numpy() for one in maps]


class _Rounding(fx.Interpreter):
    """Runs a network and rounds what every step of it gives to bfloat16."""

    def run_node(self, node: fx.Node) -> Any:
        """Run one step."""
        found = super().run_node(node)
        if isinstance(found, Tensor) and found.is_floating_point():
            return found.bfloat16().float()
        return found


def _allowed(precision: str, error: float, of_rounding: Callable[[], float]) -> float:
    usual = BOUNDS[precision]
    if error <= usual or precision not in LARGEST:
        return usual
    return max(usual, min(TIMES_ROUNDING * of_rounding(), LARGEST[precision]))


def dependence_of(runtime: Runtime, size: int, block: int) -> float:
    """Return by how much a row differs between the first place of a block and the last.

    Alone, the rest of the block being blank, against among other pictures: the relative error.
    """
    images = checking_images(size)
    company = images[1 + np.arange(block - 1) % (CHECKED_IMAGES - 1)]
    alone, among = runtime(images[:1]), runtime(np.concatenate([company, images[:1]]))
    return _largest_error([among[-1:]], [alone])


def _largest_error(
    ours: Sequence[npt.NDArray[np.float32]], expected: Sequence[npt.NDArray[np.float32]]
) -> float:
    """Return the largest relative error (in the Euclidean norm) over maps and images.

    Raises
    ------
    NotRunError
        A map of another shape.
    """
    errors = []
    for one, other in zip(ours, expected, strict=True):
        if one.shape != other.shape:
            raise NotRunError(f"it gives a map of shape {one.shape[1:]}, torch {other.shape[1:]}")
        for image, reference in zip(one, other, strict=True):
            size = float(np.linalg.norm(reference)) or 1.0
            error = float(np.linalg.norm(image.astype(np.float64) - reference)) / size
            errors.append(error if np.isfinite(error) else float("inf"))
    return max(errors)
