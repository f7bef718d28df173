"""What a precision may differ by, and what is said where it brings nothing."""

import re

import numpy as np
import pytest

from cxrfeat.errors import InputError
from cxrfeat.features.network.architecture import build
from cxrfeat.features.network.backbones import expected_input
from cxrfeat.features.network.truncation import truncate
from cxrfeat.features.runtimes import (
    benchmark,
    checking,
    kept_conversion,
    select,
)
from cxrfeat.features.runtimes.checking import Yardstick
from cxrfeat.features.runtimes.recipe import Recipe
from cxrfeat.features.runtimes.torch_runtime import Torch
from tests.features.runtimes.made import CONVERTED, EVERY, opened, pictures, relative_error


def test_fp16_is_refused_on_the_cpu_and_bf16_stays_within_a_hundredth() -> None:
    with pytest.raises(InputError, match="fp16 needs a GPU"):
        opened(precision="fp16")
    exact = opened("resnet18", runtime="torch")(pictures(2))
    for runtime in (*EVERY, "auto"):
        rough = opened("resnet18", runtime=runtime, precision="bf16")(pictures(2))
        assert 1e-6 < relative_error(rough, exact) < 1e-2


@pytest.mark.parametrize("name", CONVERTED)
def test_bf16_is_not_refused_for_what_rounding_alone_does(name: str) -> None:
    """Random weights make this network sensitive: 1.1e-2 with any runtime that is right."""
    extractor = opened("mobilenet_v3_small", runtime=name, precision="bf16")
    assert any(re.search(r"differ from fp32 by 1\.\de-02", note) for note in extractor.notes)


class Wrong(Torch):
    """What computes in bfloat16, and is wrong as told."""

    off = 0.0

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return super().__call__(images) * np.float32(1 + self.off)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small"])
def test_what_is_wrong_in_bf16_is_not_excused_by_rounding(name: str) -> None:
    expected = expected_input(name)
    cut = truncate(build(name), 64).module
    recipe = Recipe(64, expected.mean, expected.std, "avg", "bf16")
    yardstick, runtime = Yardstick(cut, recipe), Wrong(cut, recipe)
    for off, refused in ((0.0, False), (0.03, True), (np.nan, True)):
        runtime.off = off
        error = yardstick.error_of(runtime)
        assert (not error <= yardstick.bound("bf16", error)) == refused
    assert yardstick.bound("bf16", 1.0) < 0.03
    assert yardstick.bound("fp32", 1.0) == 1e-5


def test_a_network_that_bf16_makes_nothing_of_is_refused(monkeypatch) -> None:
    """Whatever rounding does: nothing could be told from a wrong runtime."""
    monkeypatch.setitem(checking.LARGEST, "bf16", 1e-3)
    monkeypatch.setitem(checking.BOUNDS, "bf16", 1e-4)
    module = truncate(build("resnet18"), 64).module
    yardstick = Yardstick(module, Recipe(64, (0.5,) * 3, (0.25,) * 3, "avg", "bf16"))
    assert yardstick.bound("bf16", 2e-3) == 1e-3


@pytest.mark.parametrize(
    ("bf16", "fp32", "extra", "told"),
    [
        (44.0, 27.0, True, ""),
        (28.0, 27.0, True, "(28.0 against 27.0 images/s): use --precision fp32"),
        (23.0, 27.0, False, "--precision fp32, or pip install 'cxrfeat[openvino]'"),
        (None, 27.0, True, ""),
    ],
)
def test_a_precision_that_is_not_faster_here_says_so(
    monkeypatch, bf16: float | None, fp32: float, extra: bool, told: str
) -> None:
    def measured(graph: str, recipe: Recipe, candidates: dict) -> benchmark.Fastest:
        return benchmark.Fastest(
            candidates["torch NCHW"](), bf16 if recipe.precision == "bf16" else fp32
        )

    monkeypatch.setattr(select, "fastest", measured)
    monkeypatch.setattr(select, "has_bfloat16", lambda: True)
    if not extra:
        monkeypatch.setattr(kept_conversion, "find_spec", lambda name: None)
    notes = [note for note in opened(precision="bf16").notes if "not faster" in note]
    assert len(notes) == bool(told)
    assert told in "".join(notes)


def test_a_processor_without_bf16_says_so_without_a_trial(monkeypatch) -> None:
    measured = []

    def fastest(graph: str, recipe: Recipe, candidates: dict) -> benchmark.Fastest:
        measured.append(recipe.precision)
        return benchmark.Fastest(candidates["torch NCHW"](), 1.0)

    monkeypatch.setattr(select, "fastest", fastest)
    monkeypatch.setattr(select, "has_bfloat16", lambda: False)
    notes = opened(precision="bf16").notes
    assert any("no bf16 of its own; fp32 may be as fast" in note for note in notes)
    assert measured == ["bf16"]


def test_a_precision_that_is_too_far_from_float32_says_so(cache, monkeypatch) -> None:
    monkeypatch.setitem(checking.BOUNDS, "bf16", 1e-9)
    for runtime in ("torch", "openvino"):
        notes = opened("resnet18", runtime=runtime, precision="bf16").notes
        assert any("differ from fp32 by" in note for note in notes)
