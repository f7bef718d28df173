"""How a device is told what to do: queues of work that go on beside the host and each other.

Nothing in a queue is waited for but by its marks. `Cuda` has such queues (streams), and records
work to play it again in one call (graphs). `InOrder` does at once what it is told, for devices
whose queue torch keeps to itself, and for the CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor

_cuda: Any = torch.cuda  # whose streams and events have no types
_WARM = 3
"""Times that work is done before it is recorded: libraries choose kernels and take memory."""


class Mark(Protocol):
    """A place in a queue."""

    def synchronize(self) -> None:
        """Wait until all that was put into the queue before it is done."""
        ...


class Recording(Protocol):
    """Work that was recorded: it reads the same memory each time, and gives the same tensors.

    Attributes
    ----------
    outputs : list of Tensor
        On the device; overwritten when it is played again.
    """

    outputs: list[Tensor]


class Queue(Protocol):
    """What a device does in order. Everything is put into it inside of `on`."""

    def on(self) -> AbstractContextManager[object]:
        """Make it the one that is told."""
        ...

    def wait(self, mark: Mark) -> None:
        """Do what follows when another queue has come to a mark."""
        ...

    def copy(self, to: Tensor, what: Tensor) -> None:
        """Copy between tensors of the host and the device."""
        ...

    def play(self, recording: Recording) -> None:
        """Do recorded work."""
        ...

    def mark(self) -> Mark:
        """Mark how far it has been filled."""
        ...


class Queues(Protocol):
    """The queues of a device.

    Attributes
    ----------
    told : str
        What they add to the name of a runtime.
    pinned : bool
        Whether the device fetches from page-locked memory by itself.
    """

    told: str
    pinned: bool

    def queue(self) -> Queue:
        """Open another one."""
        ...

    def record(self, work: Callable[[], list[Tensor]], queue: Queue) -> Recording:
        """Do some work, and record it for a queue; nothing else may be under way."""
        ...


class Cuda:
    """Streams and graphs of CUDA."""

    told = ", recorded"
    pinned = True

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool: Any = None

    def queue(self) -> CudaQueue:
        """Open a stream."""
        return CudaQueue(self._device)

    def record(self, work: Callable[[], list[Tensor]], queue: Queue) -> CudaRecording:
        """Capture a graph.

        All graphs have one pool of memory: they are played on one stream, and what one gave is
        fetched before the next is played.
        """
        assert isinstance(queue, CudaQueue)
        _cuda.synchronize(self._device)  # what other streams wrote is seen by this one
        with queue.on():
            for _ in range(_WARM):
                work()
        _cuda.synchronize(self._device)
        graph = _cuda.CUDAGraph()
        with _cuda.graph(graph, pool=self._pool, stream=queue.stream):
            outputs = work()
        _cuda.synchronize(self._device)
        self._pool = graph.pool()
        return CudaRecording(graph, outputs)


class CudaRecording:
    """A captured graph."""

    def __init__(self, graph: Any, outputs: list[Tensor]) -> None:
        self.graph, self.outputs = graph, outputs


class CudaQueue:
    """A stream. To be put into it, a call of torch has to be made while it is the current one."""

    def __init__(self, device: torch.device) -> None:
        self.stream = _cuda.Stream(device)

    def on(self) -> AbstractContextManager[object]:
        """Make it the current stream."""
        current: AbstractContextManager[object] = _cuda.stream(self.stream)
        return current

    def wait(self, mark: Mark) -> None:
        """Wait on the device, not here."""
        self.stream.wait_event(mark)

    def copy(self, to: Tensor, what: Tensor) -> None:
        """Copy; waits here where memory of the host is not pinned."""
        to.copy_(what, non_blocking=True)

    def play(self, recording: Recording) -> None:
        """Replay a graph."""
        assert isinstance(recording, CudaRecording)
        recording.graph.replay()

    def mark(self) -> Mark:
        """Record an event."""
        event: Mark = _cuda.Event(blocking=True)  # to wait for it takes no core
        event.record(self.stream)  # type: ignore[attr-defined]
        return event


class InOrder:
    """Everything is done when it is told."""

    told = ""
    pinned = False

    def queue(self) -> InOrderQueue:
        """Open one; all of them are the same."""
        return InOrderQueue()

    def record(self, work: Callable[[], list[Tensor]], queue: Queue) -> Repeated:
        """Remember the work."""
        return Repeated(work)


class Repeated:
    """Work that is done again each time."""

    def __init__(self, work: Callable[[], list[Tensor]]) -> None:
        self._work = work
        self.outputs = [one.clone() for one in work()]

    def again(self) -> None:
        """Do it, and put what it gives where it was put before."""
        for to, what in zip(self.outputs, self._work(), strict=True):
            to.copy_(what)


class InOrderQueue:
    """Has always come to its end."""

    def on(self) -> AbstractContextManager[object]:
        """Change nothing."""
        return nullcontext()

    def wait(self, mark: Mark) -> None:
        """Do not: what was to be waited for is done."""

    def copy(self, to: Tensor, what: Tensor) -> None:
        """Copy, and wait for it."""
        to.copy_(what)

    def play(self, recording: Recording) -> None:
        """Do recorded work."""
        assert isinstance(recording, Repeated)
        recording.again()

    def mark(self) -> Mark:
        """Mark the end, where it is."""
        return self

    def synchronize(self) -> None:
        """Do not wait."""


def queues_of(device: torch.device) -> Queues:
    """Return the queues of a device."""
    return Cuda(device) if device.type == "cuda" else InOrder()
