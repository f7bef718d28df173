"""A pickle becomes tensors in a process of its own, or is refused; nothing in it ever runs."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torchvision import models

import cxrfeat
from cxrfeat.errors import InputError, WeightsError
from cxrfeat.features.network.architecture import build
from cxrfeat.features.network.xrv import pickle_of
from tests.test_cli import run

XRV = "xrv:densenet121"


class Calls:
    """Calls a function when it is unpickled."""

    def __init__(self, function: Callable[..., Any], *given: Any) -> None:
        self.given = (function, given)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.given


def hostile(kind: str, mark: Path) -> Any:
    """What leaves a mark where it runs, or ends the process that it runs in."""
    return {
        "writes": lambda: Calls(os.mkdir, str(mark)),
        "shell": lambda: Calls(os.system, f"touch {mark}"),
        "exits": lambda: Calls(os._exit, 0),
        "evaluates": lambda: Calls(eval, f"open({str(mark)!r}, 'w')"),
    }[kind]()


@pytest.mark.parametrize(
    ("kind", "zipped"), [("writes", True), ("shell", True), ("exits", False), ("evaluates", False)]
)
def test_a_hostile_pickle_runs_nothing_here_or_in_the_other_process(
    tmp_path: Path, kind: str, zipped: bool
) -> None:
    source, mark = tmp_path / "evil.pt", tmp_path / "ran"
    content = {"features.weight": torch.zeros(2), "more": hostile(kind, mark)}
    torch.save(content, source, _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match=r"is refused \(it asks for .*nothing of it was run"):
        cxrfeat.weights_convert(source, tmp_path / "out.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evil.pt"]


def test_a_bare_pickle_that_ends_its_process_ends_neither(tmp_path: Path) -> None:
    source = tmp_path / "evil.pkl"
    source.write_bytes(pickle.dumps(Calls(os._exit, 0)))
    with pytest.raises(WeightsError, match="nothing of it was"):
        cxrfeat.weights_convert(source, tmp_path / "out.safetensors")


def test_a_shell_cannot_be_used_to_reach_functions(tmp_path: Path) -> None:
    """A name below torch.nn is an empty class, whatever torch has under it."""
    source = tmp_path / "evil.pt"
    torch.save({"x": Calls(torch.nn.init.ones_, torch.zeros(3)), "w": torch.zeros(1)}, source)
    cxrfeat.weights_convert(source, tmp_path / "out.safetensors")
    assert load_file(tmp_path / "out.safetensors").keys() == {"w"}


class Scripted(torch.nn.Module):
    """Opens a file for writing as soon as it is loaded, in TorchScript's own language."""

    def __init__(self, mark: str) -> None:
        super().__init__()
        self.mark = mark
        self.opened = torch.zeros(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:
        return self.mark, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.mark = state[0]
        self.training = state[1]
        self.opened = torch.from_file(state[0], True, 8)


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_a_program_in_torchscript_is_refused_before_it_runs(tmp_path: Path) -> None:
    source, mark = tmp_path / "evil.pt", tmp_path / "ran"
    torch.jit.script(Scripted(str(mark))).save(str(source))  # type: ignore[no-untyped-call]
    with pytest.raises(WeightsError, match=r"TorchScript.*state_dict"):
        cxrfeat.weights_convert(source, tmp_path / "out.safetensors")
    assert not mark.exists()


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_pickle_of_a_whole_network_gives_its_state_dict(tmp_path: Path, zipped: bool) -> None:
    network = models.squeezenet1_1(weights=None)
    source = tmp_path / "whole.pt"
    torch.save(network, source, _use_new_zipfile_serialization=zipped)
    made = cxrfeat.weights_convert(source, tmp_path / "made.safetensors", backbone="squeezenet1_1")
    tensors = load_file(tmp_path / "made.safetensors")
    expected = network.state_dict()
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensors[name], expected[name]) for name in expected)
    assert made.backbone == "squeezenet1_1"
    assert cxrfeat.weights_check(tmp_path / "made.safetensors").sha256 == made.sha256


@pytest.mark.parametrize("wrapped", ["state_dict", "module"])
def test_what_training_scripts_save_is_taken_apart(tmp_path: Path, wrapped: str) -> None:
    tensors = {"a.weight": torch.arange(3.0), "a.bias": torch.ones(1)}
    content: Any = {f"module.{name}": tensor for name, tensor in tensors.items()}
    if wrapped == "state_dict":
        content = {"epoch": 3, "state_dict": content, "optimizer": {"lr": 0.1}}
    torch.save(content, tmp_path / "some.pth")
    made = cxrfeat.weights_convert(tmp_path / "some.pth", tmp_path / "some.safetensors")
    assert load_file(tmp_path / "some.safetensors").keys() == tensors.keys()
    assert (made.backbone, made.path) == ("", tmp_path / "some.safetensors")


def test_torchxrayvisions_own_file_is_known_by_its_name(tmp_path: Path) -> None:
    """Its pickles hold whole networks, of classes that are not imported to read them."""
    source = tmp_path / pickle_of("densenet121-res224-rsna")
    torch.save(build(XRV).state_dict(), source)
    said: list[str] = []
    out = tmp_path / "densenet121-res224-rsna.safetensors"
    made = cxrfeat.weights_convert(source, out, warn=said.append)
    assert made.backbone == XRV
    assert made.pretraining == ["RSNA pneumonia"]
    assert "process of its own" in said[0]
    sidecar = json.loads(out.with_suffix(".json").read_text())
    assert sidecar["licence"] == "Apache-2.0"
    assert "Cohen" in sidecar["citation"]
    assert sidecar["input"]["crop"] == "centre"


def test_a_network_of_torchxrayvisions_classes_is_read_without_them(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.filterwarnings", lambda *args, **options: None)
        xrv = pytest.importorskip(
            "torchxrayvision", reason="saves a network of torchxrayvision, which is not installed"
        )
    network = xrv.models.DenseNet()
    torch.save(network, tmp_path / "whole.pt")
    cxrfeat.weights_convert(tmp_path / "whole.pt", tmp_path / "whole.safetensors", backbone=XRV)
    tensors, expected = load_file(tmp_path / "whole.safetensors"), network.state_dict()
    assert all(torch.equal(tensors[name], tensor) for name, tensor in expected.items())


def test_weights_of_another_network_leave_nothing_behind(tmp_path: Path) -> None:
    torch.save({"x": torch.zeros(1)}, tmp_path / "some.pt")
    with pytest.raises(WeightsError):
        cxrfeat.weights_convert(
            tmp_path / "some.pt", tmp_path / "out.safetensors", backbone="squeezenet1_1"
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["some.pt"]


def test_what_cannot_be_written_is_said_in_one_line(tmp_path: Path) -> None:
    torch.save({"x": torch.zeros(1)}, tmp_path / "some.pt")
    (tmp_path / "there.safetensors").touch()
    for file, out, message in (
        ("none.pt", "out.safetensors", "there is no file"),
        ("some.pt", "out.pt", "must end in .safetensors"),
        ("some.pt", "there.safetensors", "is there already"),
    ):
        with pytest.raises(InputError, match=message):
            cxrfeat.weights_convert(tmp_path / file, tmp_path / out)


def test_the_command_warns_and_ends_with_2_where_it_refuses(tmp_path: Path) -> None:
    torch.save({"x": hostile("writes", tmp_path / "ran")}, tmp_path / "evil.pt")
    done = run("weights", "convert", str(tmp_path / "evil.pt"), str(tmp_path / "o.safetensors"))
    assert done.returncode == 2
    warned, error = done.stderr.strip().splitlines()
    assert "is a pickle" in warned
    assert "is refused" in error
    assert not (tmp_path / "ran").exists()


def test_extract_names_the_command_and_opens_nothing(tmp_path: Path) -> None:
    torch.save({"x": hostile("writes", tmp_path / "ran")}, tmp_path / "evil.pt")
    sidecar = {"backbone": "squeezenet1_1", "input": {"size": 64, "mean": [0] * 3, "std": [1] * 3}}
    (tmp_path / "evil.json").write_text(json.dumps(sidecar))
    with pytest.raises(WeightsError, match="cxrfeat weights convert"):
        cxrfeat.extract(tmp_path, weights=[str(tmp_path / "evil.pt")], out=tmp_path / "e")
    assert not (tmp_path / "ran").exists()
