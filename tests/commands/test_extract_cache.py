"""`extract --cache`: another network decodes no image again, and its file is the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import cxrfeat
from cxrfeat import images
from cxrfeat.cli import app
from cxrfeat.errors import InputError
from tests.commands.test_inputs import write_dicom

SMALL = {"weights": ["random"], "image_size": 32, "device": "cpu", "runtime": "torch channels_last"}
ONE, OTHER = "squeezenet1_1", "squeezenet1_0"


@pytest.fixture(autouse=True)
def patient_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXRFEAT_PATIENT_KEY", "a key for tests only")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures of 16 bits that do not state their depth, one of 8 bits, and a DICOM file."""
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(5):
        pixels = rng.integers(0, 4096, (60, 70), dtype=np.uint16)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    Image.fromarray(rng.integers(0, 256, (60, 70), np.uint8)).save(folder / "eight.png")
    write_dicom(folder / "ct.dcm", Modality="CT", PatientID="one")
    return folder


def extract(folder: Path, out: Path, network: str = ONE, **options: Any) -> cxrfeat.ExtractResult:
    return cxrfeat.extract(folder, out=out, backbone=[network], **SMALL, **options)


def content(result: cxrfeat.ExtractResult) -> dict[str, Any]:
    """Everything in its file but when it was made."""
    with h5py.File(result.files[0].path) as file:
        found = {name: file.attrs[name] for name in file.attrs if name != "created"}
        file.visititems(lambda name, one: found.update({name: _bytes(one)}))
    return found


def _bytes(one: h5py.Group | h5py.Dataset) -> bytes:
    return one[...].tobytes() if isinstance(one, h5py.Dataset) else b""


@pytest.mark.slow
def test_another_network_decodes_no_picture_and_its_file_is_the_same(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = {name: content(extract(folder, tmp_path / "exact", name)) for name in (ONE, OTHER)}
    first = extract(folder, tmp_path / "a", ONE, cache=tmp_path / "c")
    assert content(first) == exact[ONE]
    assert any("6 were added" in note for note in first.notes)
    read: list[int] = []
    for name in ("read_image", "largest_sample"):
        monkeypatch.setattr(images, name, _counted(getattr(images, name), read))
    second = extract(folder, tmp_path / "b", OTHER, cache=tmp_path / "c")
    assert content(second) == exact[OTHER]
    assert any(note.startswith("6 picture(s) came from the cache") for note in second.notes)
    assert len(read) == 1  # the image that fails, which says again why
    assert [failure.id for failure in second.failures] == ["ct.dcm"]
    read.clear()
    moved = folder.rename(tmp_path / "moved")
    third = extract(moved, tmp_path / "d", OTHER, cache=tmp_path / "c")
    assert content(third) == content(extract(moved, tmp_path / "e", OTHER))
    assert len(read) == 1 + 7 + 5  # as before; then all, and the samples of five
    without = [note for note in first.notes if "cache" not in note]
    assert without == [note for note in second.notes if "cache" not in note]


def _counted(original: Any, calls: list[int]) -> Any:
    def counting(*args: Any, **options: Any) -> Any:
        calls.append(1)
        return original(*args, **options)

    return counting


def test_an_image_that_fails_now_is_not_taken_because_it_did_not_before(
    folder: Path, tmp_path: Path
) -> None:
    both = extract(folder, tmp_path / "a", cache=tmp_path / "c", modality=["any"])
    assert both.failures == []
    result = extract(folder, tmp_path / "b", cache=tmp_path / "c")
    assert [failure.id for failure in result.failures] == ["ct.dcm"]


def test_nothing_to_do_opens_nothing_of_it(folder: Path, tmp_path: Path) -> None:
    extract(folder, tmp_path / "a", cache=tmp_path / "c")
    again = extract(folder, tmp_path / "a", cache=tmp_path / "c")
    assert again.read == 0
    assert not any("came from the cache" in note for note in again.notes)


def test_shards_share_a_cache(folder: Path, tmp_path: Path) -> None:
    for number in (0, 1):
        extract(folder, tmp_path / "a", ONE, cache=tmp_path / "c", shard=f"{number}/2")
    whole = extract(folder, tmp_path / "b", OTHER, cache=tmp_path / "c")
    assert any(note.startswith("6 picture(s) came from the cache") for note in whole.notes)
    assert content(whole) == content(extract(folder, tmp_path / "exact", OTHER))


def test_a_cluster_is_refused_before_anything_else(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--cache is kept by one process"):
        extract(folder, tmp_path / "a", cache=tmp_path / "c", engine="ray")
    assert not (tmp_path / "c").exists()


def test_the_command_line_says_how_many_came_from_it(folder: Path, tmp_path: Path) -> None:
    command = [
        *("extract", str(folder), "--weights", "random", "--image-size", "32", "--device", "cpu"),
        *("--runtime", "torch channels_last", "--cache", str(tmp_path / "c")),
    ]
    for network, said in ((ONE, "6 were added"), (OTHER, "6 picture(s) came from the cache")):
        options = ["--backbone", network, "--out", str(tmp_path / network)]
        done = CliRunner().invoke(app, [*command, *options])
        assert done.exit_code == 1, done.output
        assert said in " ".join(done.output.split())
    done = CliRunner().invoke(app, [*command, "--cache-size", "plenty"])
    assert done.exit_code == 2
    assert "cache size 'plenty'" in done.output
