"""A network is converted once, checked, kept, and made again where what is kept is damaged."""

import subprocess

import numpy as np
import pytest
import torch

from cxrfeat.errors import InputError, MissingExtraError
from cxrfeat.features import WeightsChoice, open_extractor
from cxrfeat.features.runtimes import (
    checking,
    kept_conversion,
    ncnn_convert,
)
from cxrfeat.features.runtimes.checking import Yardstick
from cxrfeat.features.runtimes.converting import converted
from cxrfeat.features.runtimes.recipe import OPENVINO_WINOGRAD, Recipe
from cxrfeat.features.runtimes.runners import RUNNERS
from tests.features.runtimes.made import (
    CONVERTED,
    NAME,
    opened,
    pictures,
    plain_torch,
    relative_error,
)


@pytest.fixture
def conversions(monkeypatch) -> list[list[str]]:
    """The converter's calls."""
    calls: list[list[str]] = []
    original = subprocess.run

    def counting(command, **options):
        calls.append(command)
        return original(command, **options)

    monkeypatch.setattr(ncnn_convert.subprocess, "run", counting)
    return calls


@pytest.fixture
def ncnn_alone(monkeypatch) -> None:
    """OpenVINO would run what ncnn does not."""
    monkeypatch.delitem(RUNNERS, "openvino")
    monkeypatch.delitem(RUNNERS, OPENVINO_WINOGRAD)


def test_a_network_is_converted_once_for_its_weights(cache, conversions) -> None:
    first = opened(runtime="ncnn")(pictures(2))
    again = opened(runtime="ncnn", pooling="max")
    assert len(conversions) == 1
    assert again(pictures(2)).shape == first.shape
    open_extractor(
        NAME, weights=WeightsChoice("random", seed=1), image_size=64, device="cpu", runtime="ncnn"
    )
    assert len(conversions) == 2


def test_winograd_is_left_out_where_a_convolution_takes_the_picture(cache) -> None:
    opened(runtime="ncnn")
    (kept,) = cache.rglob("network.param")
    lines = [line.split() for line in kept.read_text().splitlines()]
    without = [line[0] for line in lines if "31=64" in line]
    of_picture = [line[0] for line in lines if line[2:5] == ["1", "1", "in0"]]
    assert without == of_picture == ["Convolution"]


@pytest.mark.parametrize("name", ["network.bin", "network.param", "about.json"])
def test_a_damaged_conversion_is_made_again(cache, conversions, name: str) -> None:
    before = opened(runtime="ncnn")(pictures(2))
    (kept,) = cache.rglob(name)
    content = bytearray(kept.read_bytes())
    content[len(content) // 2] ^= 0xFF
    kept.write_bytes(content)
    np.testing.assert_array_equal(opened(runtime="ncnn")(pictures(2)), before)
    assert len(conversions) == 2


def test_what_a_faster_process_has_converted_stays_where_it_is(cache, monkeypatch) -> None:
    """That process may be about to read it."""
    original, of_faster = subprocess.run, list[int]()

    def slower(command, **options):
        done = original(command, **options)
        if not of_faster:
            of_faster.append(0)
            opened(runtime="ncnn")
            (kept,) = cache.rglob("about.json")
            of_faster[0] = kept.parent.stat().st_ino
        return done

    monkeypatch.setattr(ncnn_convert.subprocess, "run", slower)
    opened(runtime="ncnn")
    (kept,) = cache.rglob("about.json")
    assert kept.parent.stat().st_ino == of_faster[0]


def test_a_conversion_that_differs_from_torch_is_not_used(cache, ncnn_alone, monkeypatch) -> None:
    monkeypatch.setitem(checking.BOUNDS, "fp32", 1e-12)
    extractor = opened()
    assert extractor.environment()["runtime"].startswith("torch")
    assert any("differs from torch by" in note for note in extractor.notes)
    with pytest.raises(InputError, match="use --runtime torch"):
        opened(runtime="ncnn")


def test_a_converter_that_was_killed_says_nothing_about_the_network(
    cache, ncnn_alone, monkeypatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(
            ncnn_convert.subprocess,
            "run",
            lambda command, **options: subprocess.CompletedProcess(command, -9, b"", b""),
        )
        extractor = opened()
        assert extractor.environment()["runtime"].startswith("torch")
    assert opened(runtime="ncnn").environment()["runtime"].startswith("ncnn")


def test_a_network_that_the_converter_cannot_take_runs_with_torch_and_is_remembered(
    cache, ncnn_alone, monkeypatch
) -> None:
    calls = []

    def failing(command, **options):
        calls.append(command)
        return subprocess.CompletedProcess(command, 1, b"", b"")

    monkeypatch.setattr(ncnn_convert.subprocess, "run", failing)
    for _ in range(2):
        extractor = opened()
        assert extractor.environment()["runtime"].startswith("torch")
        assert any("pnnx cannot convert it" in note for note in extractor.notes)
    assert len(calls) == 1


@pytest.mark.parametrize(("name", "extra"), [("ncnn", "cpu"), ("openvino", "openvino")])
def test_without_the_extra_torch_runs_and_asking_for_it_names_the_extra(
    name: str, extra: str, monkeypatch
) -> None:
    monkeypatch.setattr(kept_conversion, "find_spec", lambda name: None)
    assert opened().environment()["runtime"].startswith("torch")
    with pytest.raises(MissingExtraError, match=rf"cxrfeat\[{extra}\]"):
        opened(runtime=name)


def test_a_cache_that_cannot_be_written_costs_the_speed_alone(tmp_path, monkeypatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("CXRFEAT_CACHE", str(tmp_path / "file"))
    extractor = opened()
    assert any("cannot be kept" in note for note in extractor.notes)
    reference = plain_torch(NAME, pictures(2))
    assert relative_error(extractor(pictures(2)), reference) < 1e-5


@pytest.mark.parametrize("name", CONVERTED)
def test_an_error_of_the_network_itself_is_not_read_as_the_converters(cache, name: str) -> None:
    class Broken(torch.nn.Module):
        def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor]:
            return (pictures.reshape(7, -1),)

    module, recipe = torch.fx.symbolic_trace(Broken()), Recipe(32, (0.5,), (0.25,), "avg", "fp32")
    with pytest.raises(RuntimeError, match="is invalid for input of size"):
        converted(name, module, "", recipe, Yardstick(module, recipe))


@pytest.mark.parametrize("name", CONVERTED)
def test_what_cannot_be_traced_is_refused_with_the_reason(cache, monkeypatch, name: str) -> None:
    def failing(*given: object, **options: object) -> None:
        raise RuntimeError("no such operator\nand more")

    monkeypatch.setattr(torch.jit, "trace", failing)
    with pytest.raises(InputError, match=r"torch cannot trace it \(no such operator\)"):
        opened(runtime=name)


def test_a_converter_that_writes_nothing_is_refused(cache, ncnn_alone, monkeypatch) -> None:
    done = subprocess.CompletedProcess([], 0, b"", b"")
    monkeypatch.setattr(ncnn_convert.subprocess, "run", lambda *_, **__: done)
    with pytest.raises(InputError, match="it wrote nothing"):
        opened(runtime="ncnn")
