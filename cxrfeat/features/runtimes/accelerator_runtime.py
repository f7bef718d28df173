"""Run a network with torch on an accelerator, which never waits for a picture that is there.

Pictures go to the device from pinned memory on a stream of their own while the network computes
on the block before. On CUDA the network is recorded once, with every kernel that it launches, and
played again for each block: launching some hundred small kernels one by one takes longer than
computing them. Nothing waits for the device but the copy of the finished rows.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, fx

from cxrfeat.arrays import Matrix32, Pictures
from cxrfeat.errors import InputError
from cxrfeat.features.network.pooling import pooled
from cxrfeat.features.runtimes.recipe import Maps, Recipe
from cxrfeat.features.runtimes.torch_forward import Forward

BLOCK = 64
"""Images that go through together. More are not faster on an H100: ``docs/performance.md``."""
BATCH = 4 * BLOCK
"""Images in a call that keep one block coming while another is computed."""
SLOTS = 2
"""Blocks on their way to the device: one is copied while the other is computed."""


class Accelerator:
    """A network run by torch on an accelerator.

    Calls from several threads are worked on in turn: while one waits for its rows, the next sends
    its pictures.

    Parameters
    ----------
    module : GraphModule
        Gives a tuple of maps; it is copied, not changed.
    recipe : Recipe
    device : torch.device

    Attributes
    ----------
    block : int
        Images that go through together: as many as the memory takes, `BLOCK` at most. Kernels are
        chosen by the shape of a block, and other kernels round differently; the last one is filled
        up, so that a row never depends on its batch.

    Raises
    ------
    InputError
        If there is not enough memory for one image.
    """

    side_by_side = False
    choice = "torch"
    at_once = 3  # one computes, one sends its pictures, one puts its own together
    threads = None

    def __init__(self, module: fx.GraphModule, recipe: Recipe, device: torch.device) -> None:
        self._one_at_a_time = threading.Lock()
        forward = Forward(module, recipe, device, "channels_last")
        self._lane = self._open(forward, recipe, device)
        self.block = self._lane.block
        self.batch = BATCH * self.block // BLOCK
        self.name = f"torch {torch.__version__}, {_told(device)}, channels_last"
        self.name += f", {recipe.precision} in blocks of {self.block}{self._lane.told}"

    @staticmethod
    def _open(forward: Forward, recipe: Recipe, device: torch.device) -> Lane:
        kind = Recorded if device.type == "cuda" else Direct
        opened: list[Lane] = []

        def run(count: int) -> None:
            lane = kind(forward, recipe, count)
            lane.finish([lane.start(np.zeros((count, recipe.size, recipe.size), np.float32))])
            opened.append(lane)

        largest_block(run, BLOCK)
        return opened[-1]

    def __call__(self, images: Pictures) -> Matrix32:
        """Embed grey images (B, S, S)."""
        return self._run(images, maps=False)[0]

    def with_maps(self, images: Pictures) -> tuple[Matrix32, Maps]:
        """Embed grey images, and return the maps as well."""
        rows, *maps = self._run(images, maps=True)
        return rows, maps

    def _run(self, images: Pictures, *, maps: bool) -> list[Matrix32]:
        """Return the rows, and after them each map if they are asked for."""
        lane = self._lane
        try:
            with self._one_at_a_time:
                begun = [
                    lane.start(images[i : i + self.block], maps=maps)
                    for i in range(0, len(images), self.block)
                ]
            return lane.finish(begun)
        except torch.OutOfMemoryError:  # room for a block was there when it was opened
            raise InputError(
                "the accelerator's memory has run out, because something else uses it too: free "
                "some; everything finished is kept, and the same command goes on"
            ) from None


class Lane(Protocol):
    """The way of blocks of one size through a device.

    Attributes
    ----------
    block : int
    told : str
        For the file's environment.
    """

    block: int
    told: str

    def __init__(self, forward: Forward, recipe: Recipe, block: int) -> None: ...

    def start(self, images: Pictures, *, maps: bool = False) -> list[Tensor]:
        """Set off a block of at most `block` images; what comes is not finished yet."""
        ...

    def finish(self, begun: list[list[Tensor]]) -> list[Matrix32]:
        """Wait for blocks that were set off; the rows, then the maps, of all their images."""
        ...


class Direct:
    """A block after the other, as the device's own queue takes them."""

    told = ""

    def __init__(self, forward: Forward, recipe: Recipe, block: int) -> None:
        self._forward = forward
        self._pooling = recipe.pooling
        self.block = block

    def start(self, images: Pictures, *, maps: bool = False) -> list[Tensor]:
        """Set off a block."""
        full = np.zeros((self.block, *images.shape[1:]), np.float32)
        full[: len(images)] = images
        found = outputs(
            self._forward, torch.from_numpy(full).to(self._forward.device), self._pooling
        )
        return [one[: len(images)] for one in (found if maps else found[:1])]

    def finish(self, begun: list[list[Tensor]]) -> list[Matrix32]:
        """Wait for blocks, and fetch them."""
        return together(begun)


class Recorded:
    """A CUDA graph of the network, played again for each block; copies on a stream of their own."""

    told = ", recorded"

    def __init__(self, forward: Forward, recipe: Recipe, block: int) -> None:
        device, shape = forward.device, (block, recipe.size, recipe.size)
        self.block = block
        cuda: Any = torch.cuda  # whose streams and events have no types
        self._copying, self._computing = cuda.Stream(device), cuda.Stream(device)
        self._pinned = [torch.zeros(shape, pin_memory=True) for _ in range(SLOTS)]
        self._staged = [torch.zeros(shape, device=device) for _ in range(SLOTS)]
        self._sent = [cuda.Event() for _ in range(SLOTS)]
        self._taken = [cuda.Event() for _ in range(SLOTS)]
        self._turn = 0
        self._input = torch.zeros(shape, device=device)
        torch.cuda.synchronize(device)  # what was filled above is seen by the other streams
        with torch.cuda.stream(self._computing):
            for _ in range(3):  # libraries choose kernels and take memory at first
                outputs(forward, self._input, recipe.pooling)
        torch.cuda.synchronize(device)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, stream=self._computing):
            self._outputs = outputs(forward, self._input, recipe.pooling)
        torch.cuda.synchronize(device)

    def start(self, images: Pictures, *, maps: bool = False) -> list[Tensor]:
        """Set off a block."""
        slot = self._turn
        self._turn = (slot + 1) % SLOTS
        self._sent[slot].synchronize()  # the pinned memory is free again
        self._pinned[slot][: len(images)].copy_(torch.from_numpy(images))
        self._pinned[slot][len(images) :].zero_()
        with torch.cuda.stream(self._copying):
            self._copying.wait_event(self._taken[slot])
            self._staged[slot].copy_(self._pinned[slot], non_blocking=True)
            self._sent[slot].record(self._copying)
        with torch.cuda.stream(self._computing):
            self._computing.wait_event(self._sent[slot])
            self._input.copy_(self._staged[slot])
            self._taken[slot].record(self._computing)
            self._graph.replay()
            found = self._outputs if maps else self._outputs[:1]
            return [one[: len(images)].clone() for one in found]

    def finish(self, begun: list[list[Tensor]]) -> list[Matrix32]:
        """Wait for blocks, and fetch them."""
        with torch.cuda.stream(self._computing):
            return together(begun)


def outputs(forward: Forward, grey: Tensor, pooling: str) -> list[Tensor]:
    """Return the rows (B, D) of a block, and after them its maps."""
    with torch.inference_mode():
        maps = forward(grey)
        return [torch.cat(pooled(maps, pooling), dim=1), *maps]


def together(begun: list[list[Tensor]]) -> list[Matrix32]:
    """Put blocks one after the other, and fetch them from the device."""
    with torch.inference_mode():
        return [torch.cat(blocks).cpu().contiguous().numpy() for blocks in zip(*begun, strict=True)]


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
