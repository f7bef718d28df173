"""Run a network with torch: on the CPU in blocks of one shape, on an accelerator in batches."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from cxrfeat.cores import available_cores
from cxrfeat.errors import InputError
from cxrfeat.features.pooling import pool
from cxrfeat.features.runtimes.recipe import Images, Maps, Recipe, Rows

# Kernels are chosen by the shape of a batch, and other kernels round differently (1e-6). On the
# CPU every block has this many images, so that a row never depends on its batch.
BLOCK = 4

TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
LAYOUTS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}

R = TypeVar("R")


class Torch:
    """A network run by torch, batch normalisation folded into the convolutions before it.

    Parameters
    ----------
    module : GraphModule
        Gives a tuple of maps; it is copied, not changed.
    recipe : Recipe
    device : torch.device
    layout : "NCHW" or "channels_last"
        How activations lie in memory. On accelerators channels_last is the fast one; on CPUs it
        depends on the network and on the processor.
    """

    side_by_side = False

    def __init__(
        self,
        module: fx.GraphModule,
        recipe: Recipe,
        device: torch.device,
        layout: str = "channels_last",
    ) -> None:
        self.name = f"torch {torch.__version__}, {device.type}, {layout}"
        self._recipe = recipe
        self._device = device
        self._format = LAYOUTS[layout]
        self._dtype = TYPES[recipe.precision]
        self._module = folded(module).to(device).to(memory_format=self._format)
        shape = (1, 3, 1, 1)
        self._mean = torch.tensor(recipe.mean, dtype=torch.float32).reshape(shape).to(device)
        self._std = torch.tensor(recipe.std, dtype=torch.float32).reshape(shape).to(device)
        self._largest: int | None = None
        if device.type == "cpu" and torch.get_num_threads() > (cores := available_cores()):
            torch.set_num_threads(cores)  # torch does not know a container's limit

    def __call__(self, images: Images) -> Rows:
        """Embed grey images (B, S, S)."""
        return np.concatenate(self._run(images, lambda maps: pool(maps, self._recipe.pooling)))

    def with_maps(self, images: Images) -> tuple[Rows, Maps]:
        """Embed grey images, and return the maps as well."""
        parts = self._run(
            images,
            lambda maps: (
                pool(maps, self._recipe.pooling),
                [one.cpu().contiguous().numpy() for one in maps],
            ),
        )
        of_each_map = zip(*(maps for _, maps in parts), strict=True)
        return np.concatenate([rows for rows, _ in parts]), [np.concatenate(m) for m in of_each_map]

    def _run(self, images: Images, use: Callable[[list[Tensor]], R]) -> list[R]:
        """Run images in parts; return what `use` makes of the maps of each part."""
        if self._device.type == "cpu":
            blocks = [images[i : i + BLOCK] for i in range(0, len(images), BLOCK)]
            return [use(self._block(block)) for block in blocks]
        parts, self._largest = halving(lambda p: use(self._forward(p)), images, self._largest)
        return parts

    def _block(self, images: Images) -> list[Tensor]:
        missing = BLOCK - len(images)
        full = np.concatenate([images, np.zeros((missing, *images.shape[1:]), np.float32)])
        return [one[: len(images)] for one in self._forward(full)]

    def _forward(self, images: Images) -> list[Tensor]:
        with torch.inference_mode():
            batch = self._on_device(images)
            normalised = ((batch[:, None] - self._mean) / self._std).contiguous(
                memory_format=self._format
            )
            with torch.autocast(
                self._device.type, dtype=self._dtype, enabled=self._recipe.precision != "fp32"
            ):
                return [one.float() for one in self._module(normalised)]

    def _on_device(self, images: Images) -> Tensor:
        """Send one grey channel, not three; from pinned memory the copy overlaps computing."""
        grey = torch.from_numpy(np.ascontiguousarray(images, np.float32))
        if self._device.type == "cuda":
            return grey.pin_memory().to(self._device, non_blocking=True)
        return grey.to(self._device)


def folded(module: fx.GraphModule) -> fx.GraphModule:
    """Return a copy in which batch normalisation is part of the convolution before it.

    Both are linear, so that one does the work of two; it rounds differently by some 1e-7.
    """
    copied = copy.deepcopy(module)
    modules = dict(copied.named_modules())
    calls = Counter(str(node.target) for node in copied.graph.nodes)
    for node in copied.graph.nodes:
        norm = modules.get(str(node.target)) if node.op == "call_module" else None
        before = node.args[0] if isinstance(norm, nn.BatchNorm2d) else None
        if not isinstance(before, fx.Node) or before.op != "call_module":
            continue
        convolution = modules.get(str(before.target))
        used_elsewhere = len(before.users) > 1 or calls[str(before.target)] > 1
        if not isinstance(convolution, nn.Conv2d) or used_elsewhere:
            continue
        assert isinstance(norm, nn.BatchNorm2d)
        parent, _, name = str(before.target).rpartition(".")
        setattr(copied.get_submodule(parent), name, fuse_conv_bn_eval(convolution, norm))
        node.replace_all_uses_with(before)
        copied.graph.erase_node(node)
    copied.recompile()
    return copied.requires_grad_(False)


def halving(
    run: Callable[[Images], R], images: Images, largest: int | None = None
) -> tuple[list[R], int | None]:
    """Run a batch in parts as large as the accelerator's memory allows.

    Parameters
    ----------
    run : callable
        Raises `torch.OutOfMemoryError` for too many images.
    images : ndarray, shape (B, S, S)
    largest : int, optional
        The number that went through after memory had run out before.

    Returns
    -------
    results : list
        One for each part, in order.
    largest : int or None
        To pass on with the next batch.

    Raises
    ------
    InputError
        Not even one image goes through.
    """
    results: list[R] = []
    place = 0
    while place < len(images):
        part = images[place : place + (largest or len(images))]
        try:
            results.append(run(part))
        except torch.OutOfMemoryError:
            if len(part) == 1:
                raise InputError(
                    "the accelerator has not enough memory for one image: free some of it, or "
                    "use --device cpu"
                ) from None
            largest = len(part) // 2
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            continue
        place += len(part)
    return results, largest
