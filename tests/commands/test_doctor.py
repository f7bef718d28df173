"""The doctor finds what is missing, says how to get it, and changes nothing."""

from __future__ import annotations

import json
import re
import tomllib
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import cxrfeat
from cxrfeat import features
from cxrfeat.commands import doctor as examining
from cxrfeat.commands.doctor import Check, doctor
from cxrfeat.errors import UnknownNameError
from cxrfeat.features import WeightsChoice, locate_weights
from cxrfeat.features.network.architecture import build
from cxrfeat.features.runtimes import kept_conversion
from cxrfeat.features.weights.sidecar import file_sha256
from cxrfeat.memory import usable_memory
from tests.test_cli import run

NAME = "squeezenet1_1"


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No weights on this machine, and a network that must not be asked."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("CXRFEAT_WEIGHTS", raising=False)
    return tmp_path


def checks(**options) -> dict[str, Check]:
    return {check.what: check for check in doctor([NAME], **options).checks}


def local_weights(folder: Path) -> Path:
    path = folder / "ours.safetensors"
    folder.mkdir()
    save_file(build(NAME, 1).state_dict(), path)
    described = {
        "backbone": NAME,
        "input": {"size": 224, "mean": [0.5] * 3, "std": [0.25] * 3},
        "sha256": file_sha256(path),
    }
    path.with_suffix(".json").write_text(json.dumps(described))
    return path


def test_with_everything_needed_nothing_is_to_do_and_nothing_is_left_behind(alone: Path) -> None:
    found = doctor([NAME], weights=["random"], out=alone / "new" / "embeddings")
    assert found.healthy
    assert found.to_do == ""
    assert list(alone.iterdir()) == []
    states = {check.what: check.state for check in found.checks}
    assert states["file locks"] == states["Python"] == states["torch"] == "good"


def test_missing_weights_are_said_with_the_command_that_brings_them(alone: Path) -> None:
    found = doctor([NAME], out=alone)
    assert not found.healthy
    assert f"weights of {NAME}: cxrfeat weights fetch {NAME}" in found.to_do
    assert "\n" not in found.to_do


def test_the_network_is_asked_only_when_told_to(alone: Path, monkeypatch) -> None:
    asked = []

    def refuse(url: str, **_: object) -> None:
        asked.append(url)
        raise OSError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    assert "cannot be downloaded" not in checks()[f"weights of {NAME}"].found
    assert asked == []
    told = checks(online=True)[f"weights of {NAME}"]
    assert len(asked) == 1
    assert told.state == "bad"
    assert "no route to host" in told.found


def test_weights_that_can_be_downloaded_are_no_reason_to_fail(alone: Path, monkeypatch) -> None:
    class Response:
        def close(self) -> None: ...

    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: Response())
    found = doctor([NAME], out=alone, online=True)
    assert found.healthy
    assert list(alone.iterdir()) == []  # asked, not downloaded


def test_local_weights_are_found_in_their_folder_and_their_hash_is_checked(alone: Path) -> None:
    path = local_weights(alone / "weights")
    assert str(path) in checks(weights=[str(path.parent)])[f"weights of {NAME}"].found
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    told = checks(weights=[str(path.parent)])[f"weights of {NAME}"]
    assert told.state == "bad"
    assert "another sha256" in told.mend


def test_weights_list_names_the_local_file_that_extract_would_take(alone: Path) -> None:
    path = local_weights(alone / "weights")
    assert locate_weights(NAME, WeightsChoice("named", folders=(path.parent,))).path == path


def test_a_damaged_download_is_noticed(alone: Path, monkeypatch) -> None:
    folder = alone / "weights"
    folder.mkdir()
    (folder / "squeezenet1_1-b8a52dc0.pth").write_bytes(b"half of it")
    told = checks(weights=[str(folder)])[f"weights of {NAME}"]
    assert told.state == "bad"
    assert "damaged" in told.mend


def test_a_folder_that_cannot_be_written_is_said() -> None:
    told = checks(weights=["random"], out="/proc/nowhere")["the output folder"]
    assert told.state == "bad"
    assert "--out" in told.mend


def test_a_missing_package_is_said_and_what_needs_it_is_not_tried(alone: Path, monkeypatch) -> None:
    real = examining._version
    monkeypatch.setattr(examining, "_version", lambda name: None if name == "h5py" else real(name))
    found = doctor([NAME], weights=["random"], out=alone)
    assert found.to_do == "h5py: pip install 'h5py>=3.11'"
    assert "devices" not in {check.what for check in found.checks}


def test_what_runs_networks_on_the_cpu_is_said_by_doctor_and_backbones(monkeypatch) -> None:
    runtimes = checks(weights=["random"])["runtimes of the CPU"].found
    there = [name for name in ("ncnn", "openvino") if find_spec(name)]
    assert [one.split()[0] for one in runtimes.split(", ")] == ["torch", *there]
    assert runtimes in run("backbones", "vgg16", COLUMNS="200").stdout
    monkeypatch.setattr(kept_conversion, "find_spec", lambda name: None)
    assert features.runtimes_here() == [runtimes.split(", ")[0]]


def test_a_missing_extra_is_a_note_with_its_command(alone: Path, monkeypatch) -> None:
    real = examining._version
    monkeypatch.setattr(
        examining, "_version", lambda name: None if name == "pyarrow" else real(name)
    )
    found = doctor([NAME], weights=["random"], out=alone)
    told = next(check for check in found.checks if check.what == "extra parquet")
    assert (told.state, told.mend) == ("note", "pip install 'cxrfeat[parquet]'")
    assert found.healthy


def test_requirements_are_those_of_the_project() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    project = tomllib.loads(text)["project"]
    found = examining.requirements()
    plain = [re.match(r"[\w.-]+", line)[0] for line in project["dependencies"]]  # type: ignore[index]
    assert [name for name, _ in found[""]] == plain
    assert ("torch", "2.5") in found[""]
    assert set(project["optional-dependencies"]) | {""} == set(found)


def test_an_unknown_backbone_is_refused() -> None:
    with pytest.raises(UnknownNameError):
        doctor(["vgg61"])


def test_a_container_s_memory_limit_counts(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 9000 kB\nMemAvailable: 8000 kB\n")
    assert usable_memory(tmp_path, meminfo) == 8000 * 1024
    (tmp_path / "memory.max").write_text("5000000\n")
    (tmp_path / "memory.current").write_text("1000000\n")
    assert usable_memory(tmp_path, meminfo) == 4000000
    (tmp_path / "memory.max").write_text("max\n")
    assert usable_memory(tmp_path, meminfo) == 8000 * 1024
    assert usable_memory(tmp_path / "none", tmp_path / "none") is None


def test_the_command_exits_with_2_and_one_line_when_nothing_can_be_run(tmp_path: Path) -> None:
    nowhere = {"TORCH_HOME": str(tmp_path), "CXRFEAT_WEIGHTS": ""}
    done = run("doctor", "--backbone", NAME, "--json", cwd=tmp_path, **nowhere)
    assert done.returncode == 2
    assert done.stderr.startswith("error: nothing can be extracted yet")
    assert done.stderr.count("\n") == 1
    found = json.loads(done.stdout)
    assert found["healthy"] is found["usable"] is False
    assert f"cxrfeat weights fetch {NAME}" in found["to_do"]
    done = run("doctor", "--backbone", NAME, "--weights", "random", cwd=tmp_path, **nowhere)
    assert done.returncode == 0
    assert "Everything needed is there." in done.stdout
    assert cxrfeat.doctor is doctor
    assert torch.__version__.partition("+")[0] in done.stdout


def test_what_can_be_run_is_enough_and_what_cannot_is_named(tmp_path: Path) -> None:
    nowhere = {"TORCH_HOME": str(tmp_path), "CXRFEAT_WEIGHTS": ""}
    networks = ["--backbone", NAME, "--backbone", "resnet18"]
    done = run("doctor", *networks, "--weights", f"{NAME}=random", cwd=tmp_path, **nowhere)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("not there yet: ")[1].split(".")[0] == "weights of resnet18"


def test_weights_alone_say_which_networks_are_looked_at(tmp_path: Path) -> None:
    whats = [check.what for check in doctor(weights=[f"{NAME}=random"], out=tmp_path).checks]
    assert [what for what in whats if what.startswith("weights")] == [f"weights of {NAME}"]
