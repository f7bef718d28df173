"""Run a network with torch: in blocks of one shape, on the CPU and on an accelerator."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from cxrfeat.arrays import Matrix32, Pictures
from cxrfeat.cores import available_cores
from cxrfeat.errors import InputError
from cxrfeat.features.network.pooling import pool
from cxrfeat.features.runtimes.arithmetic import computing_in
from cxrfeat.features.runtimes.recipe import LAYOUTS, Maps, Recipe

# Kernels are chosen by the shape of a batch, and other kernels round differently (1e-6). Every
# block has this many images, the last one filled up, so that a row never depends on its batch.
BLOCK = 4
ACCELERATOR_BLOCK = 32

TYPES = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
_FORMATS = dict(zip(LAYOUTS, (torch.contiguous_format, torch.channels_last), strict=True))

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

    Attributes
    ----------
    block : int
        Images that go through together; on an accelerator as many as its memory takes.

    Raises
    ------
    InputError
        If an accelerator has not enough memory for one image.
    """

    side_by_side = False

    def __init__(
        self,
        module: fx.GraphModule,
        recipe: Recipe,
        device: torch.device,
        layout: str = "channels_last",
    ) -> None:
        self._recipe = recipe
        self._device = device
        self._format = _FORMATS[layout]
        self._dtype = TYPES[recipe.precision]
        self._module = folded(module).to(device).to(memory_format=self._format)
        shape = (1, 3, 1, 1)
        self._mean = torch.tensor(recipe.mean, dtype=torch.float32).reshape(shape).to(device)
        self._std = torch.tensor(recipe.std, dtype=torch.float32).reshape(shape).to(device)
        self.block = BLOCK
        self.choice = f"torch {layout}" if device.type == "cpu" else "torch"
        if device.type != "cpu":
            self.block = largest_block(self._try, ACCELERATOR_BLOCK)
        self.name = f"torch {torch.__version__}, {_told(device)}, {layout}"
        if device.type != "cpu":
            self.name += f", {recipe.precision} in blocks of {self.block}"
        if device.type == "cpu" and torch.get_num_threads() > (cores := available_cores()):
            torch.set_num_threads(cores)  # torch does not know a container's limit

    @property
    def threads(self) -> int | None:
        """How many threads torch has: sums are cut by them, so that another number rounds else."""
        return torch.get_num_threads() if self._device.type == "cpu" else None

    def __call__(self, images: Pictures) -> Matrix32:
        """Embed grey images (B, S, S)."""
        return np.concatenate(self._run(images, lambda maps: pool(maps, self._recipe.pooling)))

    def with_maps(self, images: Pictures) -> tuple[Matrix32, Maps]:
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

    def _run(self, images: Pictures, use: Callable[[list[Tensor]], R]) -> list[R]:
        """Run images in blocks; return what `use` makes of the maps of each block."""
        return [
            use(self._block(images[i : i + self.block])) for i in range(0, len(images), self.block)
        ]

    def _block(self, images: Pictures) -> list[Tensor]:
        missing = self.block - len(images)
        full = np.concatenate([images, np.zeros((missing, *images.shape[1:]), np.float32)])
        try:
            maps = self._forward(full)
        except torch.OutOfMemoryError:  # room for a block was there when it was opened
            raise InputError(
                "the accelerator's memory has run out, because something else uses it too: free "
                "some; everything finished is kept, and the same command goes on"
            ) from None
        return [one[: len(images)] for one in maps]

    def _try(self, count: int) -> None:
        self._forward(np.zeros((count, self._recipe.size, self._recipe.size), np.float32))

    def _forward(self, images: Pictures) -> list[Tensor]:
        with torch.inference_mode(), computing_in(self._recipe.precision):
            batch = self._on_device(images)
            normalised = ((batch[:, None] - self._mean) / self._std).contiguous(
                memory_format=self._format
            )
            with torch.autocast(
                self._device.type, dtype=self._dtype, enabled=self._dtype != torch.float32
            ):
                return [one.float() for one in self._module(normalised)]

    def _on_device(self, images: Pictures) -> Tensor:
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


def largest_block(run: Callable[[int], object], first: int) -> int:
    """Halve a block until the accelerator's memory takes it.

    Parameters
    ----------
    run : callable
        Runs that many images; raises `torch.OutOfMemoryError` for too many.
    first : int
        The number that is tried first.

    Raises
    ------
    InputError
        Not even one image goes through.
    """
    block = first
    while True:
        try:
            run(block)
        except torch.OutOfMemoryError:
            if block == 1:
                raise InputError(
                    "the accelerator has not enough memory for one image: free some of it, or "
                    "use --device cpu"
                ) from None
            block //= 2
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        else:
            return block


def _told(device: torch.device) -> str:
    if device.type != "cuda":
        return device.type
    return f"cuda ({torch.cuda.get_device_name(device)})"
