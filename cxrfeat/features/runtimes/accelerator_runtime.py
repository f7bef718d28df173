"""Run a network with torch on an accelerator, which never waits for a picture that is there.

Pictures go to the device on a stream of their own, while the network computes on those before; the
device fetches them by itself from pinned memory (`cxrfeat.features.batch_memory`). On CUDA the
network is recorded once, with every kernel that it launches, and played again for each block:
launching some hundred small kernels one by one takes longer than computing them. Nothing waits for
the device but the copy of the finished rows.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
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
"""Batches on their way to the device: one is copied while the other is computed."""
_cuda: Any = torch.cuda  # whose streams and events have no types


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
        self.batch = self._lane.batch
        self.pinned = self._lane.pinned
        self.name = f"torch {torch.__version__}, {_told(device)}, channels_last"
        self.name += f", {recipe.precision} in blocks of {self.block}{self._lane.told}"

    @staticmethod
    def _open(forward: Forward, recipe: Recipe, device: torch.device) -> Lane:
        kind = Recorded if device.type == "cuda" else Direct
        opened: list[Lane] = []

        def run(count: int) -> None:
            lane = kind(forward, recipe, count)
            lane.start(np.zeros((count, recipe.size, recipe.size), np.float32)).fetched()
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
                    lane.start(images[i : i + self.batch], maps=maps)
                    for i in range(0, len(images), self.batch)
                ]
            found = [one.fetched() for one in begun]
            return [np.concatenate(parts) for parts in zip(*found, strict=True)]
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
    batch : int
        Images that are sent at a time: `BATCH` of `BLOCK`.
    told : str
        For the file's environment.
    pinned : bool
        As `Runtime` says.
    """

    block: int
    batch: int
    told: str
    pinned: bool

    def __init__(self, forward: Forward, recipe: Recipe, block: int) -> None: ...

    def start(self, images: Pictures, *, maps: bool = False) -> Begun:
        """Set off the blocks of at most `batch` images."""
        ...


@dataclass(frozen=True)
class Begun:
    """What a device was told to compute.

    Attributes
    ----------
    arrays : list of Tensor
        In the memory of the host: the rows, then the maps, of all images.
    wait : callable
        Returns when they are there.
    """

    arrays: list[Tensor]
    wait: Callable[[], None] = lambda: None

    def fetched(self) -> list[Matrix32]:
        """Wait for the arrays."""
        self.wait()
        return [one.numpy() for one in self.arrays]


class Direct:
    """A block after the other, as the device's own queue takes them."""

    told = ""
    pinned = False

    def __init__(self, forward: Forward, recipe: Recipe, block: int) -> None:
        self._forward = forward
        self._pooling = recipe.pooling
        self.block, self.batch = block, block * BATCH // BLOCK

    def start(self, images: Pictures, *, maps: bool = False) -> Begun:
        """Set off blocks, and fetch what comes."""
        blocks = [
            self._start(images[i : i + self.block], maps) for i in range(0, len(images), self.block)
        ]
        with torch.inference_mode():
            return Begun([torch.cat(parts).cpu() for parts in zip(*blocks, strict=True)])

    def _start(self, images: Pictures, maps: bool) -> list[Tensor]:
        full = np.zeros((self.block, *images.shape[1:]), np.float32)
        full[: len(images)] = images
        found = outputs(
            self._forward, torch.from_numpy(full).to(self._forward.device), self._pooling
        )
        return [one[: len(images)] for one in (found if maps else found[:1])]


class Recorded:
    """A CUDA graph of the network, played again for each block; copies on a stream of their own."""

    told = ", recorded"
    pinned = True

    def __init__(self, forward: Forward, recipe: Recipe, block: int) -> None:
        device, shape = forward.device, (block, recipe.size, recipe.size)
        self.block, self.batch = block, block * BATCH // BLOCK
        self._copying, self._computing = _cuda.Stream(device), _cuda.Stream(device)
        sent = (self.batch, *shape[1:])
        self._staged = [torch.zeros(sent, device=device) for _ in range(SLOTS)]
        self._sent = [_cuda.Event() for _ in range(SLOTS)]
        self._taken = [_cuda.Event() for _ in range(SLOTS)]
        self._turn = 0
        self._input = torch.zeros(shape, device=device)
        _cuda.synchronize(device)  # what was filled above is seen by the other streams
        with _cuda.stream(self._computing):
            for _ in range(3):  # libraries choose kernels and take memory at first
                outputs(forward, self._input, recipe.pooling)
        _cuda.synchronize(device)
        self._graph = _cuda.CUDAGraph()
        with _cuda.graph(self._graph, stream=self._computing):
            self._outputs = outputs(forward, self._input, recipe.pooling)
        _cuda.synchronize(device)

    def start(self, images: Pictures, *, maps: bool = False) -> Begun:
        """Set off blocks.

        As few calls of torch as can be: each gives up the interpreter's lock, and waits for it.
        What comes is fetched into pinned memory as well: a copy to other memory keeps all threads
        from telling the device anything until it has computed all that it was told.
        """
        slot, count = self._turn, len(images)
        self._turn = (slot + 1) % SLOTS
        given, staged = torch.from_numpy(images), self._staged[slot]
        found = self._outputs if maps else self._outputs[:1]
        arrays = [torch.empty((count, *one.shape[1:]), pin_memory=True) for one in found]
        done = _cuda.Event(blocking=True)
        with _cuda.stream(self._copying):
            self._copying.wait_event(self._taken[slot])
            staged[:count].copy_(given, non_blocking=True)  # of pageable memory: waits
            self._sent[slot].record(self._copying)
        with _cuda.stream(self._computing), torch.inference_mode():
            self._computing.wait_event(self._sent[slot])
            for i in range(0, count, self.block):
                here = slice(i, min(i + self.block, count))
                self._play(staged[here])
                for array, one in zip(arrays, found, strict=True):
                    array[here].copy_(one[: here.stop - here.start], non_blocking=True)
            self._taken[slot].record(self._computing)
            done.record(self._computing)
        return Begun(arrays, done.synchronize)

    def _play(self, pictures: Tensor) -> None:
        """Fill a block up, and compute it."""
        self._input[: len(pictures)].copy_(pictures)
        if len(pictures) < self.block:
            self._input[len(pictures) :].zero_()
        self._graph.replay()


def outputs(forward: Forward, grey: Tensor, pooling: str) -> list[Tensor]:
    """Return the rows (B, D) of a block, and after them its maps."""
    with torch.inference_mode():
        maps = forward(grey)
        return [torch.cat(pooled(maps, pooling), dim=1), *maps]


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
