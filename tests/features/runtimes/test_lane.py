"""Rows are right however late a device does what it was told, and in whatever order it may.

`Late` is a device that keeps to its marks and to nothing else: its queues go on at random times, a
copy reads memory only when its turn comes. A mark that is not waited for is a wrong row there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrfeat.features.runtimes import accelerator_runtime
from cxrfeat.features.runtimes.accelerator_runtime import BLOCKS, Lane
from cxrfeat.features.runtimes.device_queues import InOrder, Mark, Recording, Repeated
from cxrfeat.features.runtimes.recipe import Recipe
from cxrfeat.features.runtimes.torch_forward import Forward

CPU = torch.device("cpu")
BLOCK, SIZE = 2, 8
RECIPE = Recipe(SIZE, (0.5,) * 3, (0.25,) * 3, "avg", "fp32")


class LateMark:
    def __init__(self, device: Late) -> None:
        self.device, self.reached = device, False

    def synchronize(self) -> None:
        while not self.reached:
            self.device.go_on()


class LateQueue:
    def __init__(self, device: Late) -> None:
        self.device = device
        self.todo: deque[Callable[[], object] | LateMark] = deque()

    def on(self) -> AbstractContextManager[object]:
        return nullcontext()

    def wait(self, mark: Mark) -> None:
        if isinstance(mark, LateMark):
            self.todo.append(mark)

    def copy(self, to: torch.Tensor, what: torch.Tensor) -> None:
        self._put(lambda: to.copy_(what))

    def play(self, recording: Recording) -> None:
        assert isinstance(recording, Repeated)
        self._put(recording.again)

    def mark(self) -> Mark:
        mark = LateMark(self.device)
        self._put(lambda: setattr(mark, "reached", True))
        return mark

    def _put(self, work: Callable[[], object]) -> None:
        self.todo.append(work)
        for _ in range(self.device.random.randrange(self.device.eager + 1)):
            self.device.go_on()

    def step(self) -> None:
        first = self.todo[0] if self.todo else None
        if isinstance(first, LateMark):
            if first.reached:
                self.todo.popleft()
        elif first is not None:
            self.todo.popleft()
            with torch.inference_mode():
                first()


class Late:
    """At each call it goes on by `eager` steps at most; none at all is as late as can be."""

    told = ", late"
    pinned = False

    def __init__(self, seed: int = 0, eager: int = 0) -> None:
        self.random, self.eager = Random(seed), eager
        self.queues: list[LateQueue] = []

    def queue(self) -> LateQueue:
        self.queues.append(LateQueue(self))
        return self.queues[-1]

    def record(self, work: Callable[[], list[torch.Tensor]], queue: object) -> Repeated:
        return Repeated(work)

    def go_on(self) -> None:
        self.random.choice(self.queues).step()


@pytest.fixture(scope="module")
def forward() -> Forward:
    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = torch.nn.Conv2d(3, 4, 3)
            self.second = torch.nn.Conv2d(4, 5, 3)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
            return (self.second(torch.relu(self.first(x))),)

    torch.manual_seed(0)
    return Forward(torch.fx.symbolic_trace(Network()), RECIPE, CPU, "channels_last")


def pictures(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, SIZE, SIZE), np.float32)


def exact(forward: Forward, images: np.ndarray, block: int = BLOCK) -> list[np.ndarray]:
    """Give rows and maps of blocks that are filled up with blank pictures."""
    lane = Lane(forward, RECIPE, block, InOrder())
    parts = [
        lane.start(images[i : i + block], maps=True).fetched() for i in range(0, len(images), block)
    ]
    return [np.concatenate(some) for some in zip(*parts, strict=True)]


calls = st.lists(st.tuples(st.integers(1, BLOCKS * BLOCK), st.booleans()), min_size=1, max_size=6)


@pytest.mark.parametrize("told_in_one", [True, False])
@given(calls=calls, seed=st.integers(0, 1000), eager=st.integers(0, 12), data=st.data())
@settings(max_examples=30, deadline=None)
def test_rows_are_right_in_any_order_that_marks_allow(
    forward, told_in_one, calls, seed, eager, data
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accelerator_runtime, "FAST_SECONDS", np.inf if told_in_one else 0)
        lane = Lane(forward, RECIPE, BLOCK, Late(seed, eager))
    assert (lane.by_batch is not None) == told_in_one
    images = [pictures(count, number) for number, (count, _) in enumerate(calls)]
    begun = [lane.start(some, maps=maps) for some, (_, maps) in zip(images, calls, strict=True)]
    for number in data.draw(st.permutations(range(len(calls)))):
        expected = exact(forward, images[number])
        found = begun[number].fetched()
        assert len(found) == (2 if calls[number][1] else 1)
        for one, other in zip(found, expected, strict=False):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("forgotten", ["wait for what is sent", "wait for what was taken"])
def test_a_mark_that_is_not_waited_for_is_seen_by_this_device(
    forward, monkeypatch, forgotten: str
) -> None:
    """What the test above rests on."""
    lane = Lane(forward, RECIPE, BLOCK, Late())
    queue = lane.computing if "sent" in forgotten else lane._copying
    monkeypatch.setattr(queue, "wait", lambda mark: None)
    images = [pictures(BLOCKS * BLOCK, number) for number in range(8)]
    begun = [lane.start(some) for some in images]
    wrong = [
        not np.array_equal(one.fetched()[0], exact(forward, some)[0])
        for one, some in zip(begun, images, strict=True)
    ]
    assert any(wrong)


@given(
    counts=st.lists(st.integers(1, BLOCKS * BLOCK), min_size=2, max_size=6),
    seed=st.integers(0, 1000),
    eager=st.integers(0, 12),
)
@settings(max_examples=30, deadline=None)
def test_pictures_that_are_sent_once_are_there_until_every_network_has_taken_them(
    forward, counts, seed, eager
) -> None:
    device = Late(seed, eager)
    other = Forward(forward._module, RECIPE, CPU, "NCHW")
    with torch.no_grad():
        other._module.get_submodule("first").weight.mul_(2)
    networks = [forward, other, forward]
    first, *others = [
        Lane(one, RECIPE, block, device)
        for one, block in zip(networks, (BLOCK, 2 * BLOCK, 1), strict=True)
    ]
    images = [pictures(count, number) for number, count in enumerate(counts)]
    begun = [first.start_all(some, others) for some in images]
    for some, of_network in reversed(list(zip(images, begun, strict=True))):
        expected = [
            exact(one, some, block)[0] for one, block in zip(networks, (2, 4, 1), strict=True)
        ]
        for one, rows in zip(of_network, expected, strict=True):
            np.testing.assert_array_equal(one.fetched()[0], rows)


def test_a_batch_that_gives_other_bits_than_its_blocks_is_not_told_in_one(
    forward, monkeypatch
) -> None:
    monkeypatch.setattr(accelerator_runtime, "FAST_SECONDS", np.inf)
    rows = accelerator_runtime.all_rows
    monkeypatch.setattr(accelerator_runtime, "all_rows", lambda *given: rows(*given) * 1.000001)
    lane = Lane(forward, RECIPE, BLOCK, InOrder())
    assert lane.by_batch is None
    images = pictures(BLOCKS * BLOCK)
    np.testing.assert_array_equal(lane.start(images).fetched()[0], exact(forward, images)[0])


def test_a_batch_that_memory_does_not_take_goes_through_block_by_block(
    forward, monkeypatch
) -> None:
    monkeypatch.setattr(accelerator_runtime, "FAST_SECONDS", np.inf)

    def none_left(*given: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(accelerator_runtime, "all_rows", none_left)
    lane = Lane(forward, RECIPE, BLOCK, InOrder())
    assert (lane.by_batch, lane.block) == (None, BLOCK)
    images = pictures(BLOCKS * BLOCK)
    np.testing.assert_array_equal(lane.start(images).fetched()[0], exact(forward, images)[0])
