"""Run a network with torch on an accelerator, which never waits for a picture that is there.

Pictures go to the device on a stream of their own, while the network computes on those before; the
device fetches them by itself from pinned memory (`cxrfeat.features.batch_memory`). On CUDA the
network is recorded once, with every kernel that it launches, and played again for each block:
launching some hundred small kernels one by one takes longer than computing them. Nothing waits for
the device but who fetches the finished rows.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, fx

from cxrfeat.arrays import Matrix32, Pictures
from cxrfeat.errors import InputError
from cxrfeat.features.network.pooling import pooled
from cxrfeat.features.runtimes.device_queues import Mark, Queues, Recording, queues_of
from cxrfeat.features.runtimes.recipe import Maps, Recipe
from cxrfeat.features.runtimes.torch_forward import Forward

BLOCK = 64
"""Images that go through together. More are not faster on an H100: ``docs/performance.md``."""
BLOCKS = 4
"""Blocks in a batch: so many keep one coming while another is computed."""
SLOTS = 2
"""Batches on their way to the device: one is copied while the other is computed."""
FAST_SECONDS = 0.02
"""Below which a block is done before the host has told the device of the next one, as it waits for
the interpreter's lock at each call: then the blocks of a batch are told in one."""


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
        forward = Forward(module, recipe, device, "channels_last")
        self._lane = self._open(forward, recipe, device)
        self.block = self._lane.block
        self.batch = self._lane.batch
        self.pinned = self._lane.pinned
        self.name = f"torch {torch.__version__}, {_told(device)}, channels_last"
        self.name += f", {recipe.precision} in blocks of {self.block}{self._lane.told}"

    @staticmethod
    def _open(forward: Forward, recipe: Recipe, device: torch.device) -> Lane:
        opened: list[Lane] = []

        def run(count: int) -> None:
            lane = Lane(forward, recipe, count, queues_of(device))
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
        with _memory_named():
            begun = [
                self._lane.start(images[i : i + self.batch], maps=maps)
                for i in range(0, len(images), self.batch)
            ]
            found = [one.fetched() for one in begun]
            return [np.concatenate(parts) for parts in zip(*found, strict=True)]


def rows_of_each(networks: Sequence[Accelerator], images: Pictures) -> Iterator[Matrix32]:
    """Yield the rows of each network, which are all set off at first: pictures are sent once.

    Parameters
    ----------
    networks
        On one device, of one size.
    images : ndarray of float32, shape (B, S, S)
    """
    first, *others = (one._lane for one in networks)
    with _memory_named():
        begun = [
            first.start_all(images[i : i + first.batch], others)
            for i in range(0, len(images), first.batch)
        ]
        for of_network in zip(*begun, strict=True):
            yield np.concatenate([one.fetched()[0] for one in of_network])


@contextmanager
def _memory_named() -> Iterator[None]:
    """Say in words that memory has run out: room for a block was there when it was opened."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise InputError(
            "the accelerator's memory has run out, because something else uses it too: free "
            "some; everything finished is kept, and the same command goes on"
        ) from None


@dataclass(frozen=True)
class Begun:
    """What a device was told to compute.

    Attributes
    ----------
    arrays : list of Tensor
        In the memory of the host: the rows, then the maps, of all images.
    done : Mark
        When they are there.
    """

    arrays: list[Tensor]
    done: Mark

    def fetched(self) -> list[Matrix32]:
        """Wait for the arrays."""
        self.done.synchronize()
        return [one.numpy() for one in self.arrays]


class Lane:
    """The way of blocks of one size through a device; of several threads, one sends at a time.

    Parameters
    ----------
    forward : Forward
    recipe : Recipe
    block : int
    queues : Queues
        Of the device.

    Attributes
    ----------
    block : int
    batch : int
        Images that are sent at a time.
    told : str
        For the file's environment.
    pinned : bool
        As `Runtime` says.
    by_block, by_batch : Recording
        The network for a block, with its maps; for all blocks of a batch, without them: None where
        that does not pay, or its rows were others.
    """

    def __init__(self, forward: Forward, recipe: Recipe, block: int, queues: Queues) -> None:
        self.block, self.batch = block, BLOCKS * block
        self.told, self.pinned = queues.told, queues.pinned
        self._sending, self._telling = threading.Lock(), threading.Lock()  # taken in this order
        self._copying, self.computing = queues.queue(), queues.queue()
        shape = (self.batch, recipe.size, recipe.size)
        self._staged = [torch.zeros(shape, device=forward.device) for _ in range(SLOTS)]
        self._taken: list[list[Mark]] = [[] for _ in range(SLOTS)]
        self._turn = 0
        self._input = torch.zeros(shape, device=forward.device)
        self._blank = torch.zeros((), device=forward.device)
        first = self._input[:block]
        self.by_block = queues.record(
            lambda: outputs(forward, first, recipe.pooling), self.computing
        )
        self.by_batch: Recording | None = None
        if self._block_seconds() < FAST_SECONDS:
            self._record_batch(queues, forward, recipe)

    def _block_seconds(self) -> float:
        """Measure what a block takes."""
        begun = time.perf_counter()
        with self.computing.on():
            self.computing.play(self.by_block)
            done = self.computing.mark()
        done.synchronize()
        return time.perf_counter() - begun

    def _record_batch(self, queues: Queues, forward: Forward, recipe: Recipe) -> None:
        """Record the blocks of a batch, and keep that if it gives the same bits."""
        drawn = np.random.default_rng(0).random(tuple(self._input.shape), np.float32)
        expected = self.start(drawn).fetched()[0]
        try:
            self.by_batch = queues.record(
                lambda: [all_rows(forward, self._input, self.block, recipe.pooling)],
                self.computing,
            )
        except torch.OutOfMemoryError:  # block by block there is room
            return
        if not np.array_equal(self.start(drawn).fetched()[0], expected):
            self.by_batch = None

    def start(self, images: Pictures, *, maps: bool = False) -> Begun:
        """Set off at most `batch` images."""
        return self.start_all(images, [], maps=maps)[0]

    def start_all(
        self, images: Pictures, others: Sequence[Lane], *, maps: bool = False
    ) -> list[Begun]:
        """Set off at most `batch` images through this network, and the same through others."""
        with self._sending:
            slot, self._turn = self._turn, (self._turn + 1) % SLOTS
            staged = self._staged[slot][: len(images)]
            with self._copying.on():
                for mark in self._taken[slot]:
                    self._copying.wait(mark)
                self._copying.copy(staged, torch.from_numpy(images))
                sent = self._copying.mark()
            begun = [lane.tell(staged, sent, maps=maps) for lane in (self, *others)]
            self._taken[slot] = [one.done for one in begun]
        return begun

    def tell(self, staged: Tensor, sent: Mark, *, maps: bool) -> Begun:
        """Tell the device to compute on pictures that are there when a mark is reached.

        As few calls of torch as can be: each gives up the interpreter's lock, and waits for it.
        What comes is fetched into pinned memory as well: a copy to other memory keeps all threads
        from telling the device anything until it has computed all that it was told.
        """
        count = len(staged)
        found = self.by_block.outputs if maps else self.by_block.outputs[:1]
        arrays = [torch.empty((count, *one.shape[1:]), pin_memory=self.pinned) for one in found]
        with self._telling, self.computing.on(), torch.inference_mode():
            self.computing.wait(sent)
            if self.by_batch is not None and count == self.batch and not maps:
                self._compute(self.by_batch, staged, arrays)
            else:
                for i in range(0, count, self.block):
                    here = slice(i, i + self.block)
                    self._compute(self.by_block, staged[here], [one[here] for one in arrays])
            return Begun(arrays, self.computing.mark())

    def _compute(self, recording: Recording, pictures: Tensor, arrays: list[Tensor]) -> None:
        """Fill what a recording reads, play it, and fetch what belongs to the pictures."""
        count = len(pictures)
        self.computing.copy(self._input[:count], pictures)
        if count < self.block:
            self.computing.copy(self._input[count : self.block], self._blank)
        self.computing.play(recording)
        for array, one in zip(arrays, recording.outputs, strict=False):  # maps where asked for
            self.computing.copy(array, one[:count])


def outputs(forward: Forward, grey: Tensor, pooling: str) -> list[Tensor]:
    """Return the rows (B, D) of a block, and after them its maps."""
    with torch.inference_mode():
        maps = forward(grey)
        return [torch.cat(pooled(maps, pooling), dim=1), *maps]


def all_rows(forward: Forward, grey: Tensor, block: int, pooling: str) -> Tensor:
    """Return the rows (B, D) of pictures, which go through block by block."""
    with torch.inference_mode():
        parts = (grey[i : i + block] for i in range(0, len(grey), block))
        return torch.cat([outputs(forward, part, pooling)[0] for part in parts])


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
