"""The fastest runtime is measured once and kept."""

import json
from collections.abc import Callable

import numpy as np
import pytest

from cxrfeat.features.runtimes import (
    benchmark,
)
from cxrfeat.features.runtimes.recipe import Recipe


class Timed:
    """A runtime that takes a known time, by a clock of its own."""

    side_by_side = False

    def __init__(self, name: str, seconds: float, clock: "Clock") -> None:
        self.name, self._seconds, self._clock = name, seconds, clock

    def __call__(self, images: np.ndarray) -> np.ndarray:
        self._clock.run(self._seconds)
        return np.zeros((len(images), 1), np.float32)


class Clock:
    """Time that passes only in `Timed`; from `spell` on to its end everything is slower."""

    def __init__(self) -> None:
        self.now = 0.0
        self.spell = (0.0, 0.0)

    def run(self, seconds: float) -> None:
        begun, ended = self.spell
        self.now += seconds * (1.25 if begun <= self.now < ended else 1)

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def timed(cache, clock, monkeypatch) -> Callable[..., str]:
    monkeypatch.setattr(benchmark, "time", clock)

    def fastest_of(**seconds: float) -> str:
        recipe = Recipe(32, (0.5,) * 3, (0.25,) * 3, "avg", "fp32")
        candidates = {
            name: (lambda name=name, each=each: Timed(name, each, clock))
            for name, each in seconds.items()
        }
        return benchmark.fastest("graph", recipe, candidates).runtime.name

    return fastest_of


def test_the_fastest_runtime_is_taken_and_kept(timed, cache) -> None:
    assert timed(ncnn=2.0, NCHW=1.0, channels_last=3.0) == "NCHW"
    assert timed(ncnn=0.1, NCHW=1.0, channels_last=3.0) == "NCHW"  # measured before
    (kept,) = (cache / "fastest").glob("*.json")
    told = json.loads(kept.read_text())
    assert told["fastest"] == "NCHW"
    assert told["images_per_second"]["ncnn"] == 2.0
    kept.write_text("{")
    assert timed(ncnn=0.1, NCHW=1.0, channels_last=3.0) == "ncnn"


def test_a_small_lead_is_noise(timed) -> None:
    assert timed(ncnn=1.0, NCHW=0.98, channels_last=0.99) == "ncnn"


def test_of_several_that_lead_by_more_the_first_is_taken_that_none_clearly_leads(timed) -> None:
    assert timed(ncnn=1.0, NCHW=0.91, channels_last=0.9) == "NCHW"
    assert timed(ncnn=0.95, openvino=0.91, NCHW=0.9) == "openvino"


def test_a_lead_is_taken_although_the_machine_was_slow_when_it_began(timed, clock) -> None:
    clock.spell = (3.0, 6.0)  # after the first rounds of ncnn
    assert timed(ncnn=1.0, NCHW=0.9, channels_last=3.0) == "NCHW"


def test_the_first_runtime_is_taken_where_nothing_can_be_kept(timed, cache) -> None:
    cache.write_text("in the way")
    assert timed(ncnn=2.0, NCHW=1.0) == "ncnn"
