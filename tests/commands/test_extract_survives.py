"""The whole extracting process: killed 30 times, short of room, and beside another writer."""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

import cxrfeat
from cxrfeat.errors import InputError, LockedError
from cxrfeat.inputs import Dataset
from cxrfeat.store import FileLock, load, open_writer, verify

OPTIONS = ["--backbone", "squeezenet1_1", "--weights", "random", "--image-size", "64"]
OPTIONS += ["--device", "cpu", "--batch-size", "4", "--json"]
FILE = "squeezenet1_1-random-64.h5"


def draw(folder: Path, first: int, last: int) -> None:
    for number in range(first, last):
        place = folder / ("clear", "opaque")[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (16, 16), np.uint8)
        Image.fromarray(pixels).save(place / f"{number:05d}.png")


def start(folder: Path, out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", "from cxrfeat.cli import main; main()", "extract"]
    return subprocess.Popen(
        [*command, str(folder), "--out", str(out), *OPTIONS],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def finish(folder: Path, out: Path, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from cxrfeat.cli import main; main()", "extract"]
    return subprocess.run(
        [*command, str(folder), "--out", str(out), *OPTIONS],
        capture_output=True,
        text=True,
        timeout=300,
        **options,
    )


def test_a_full_disk_ends_extract_with_2_and_with_room_it_goes_on(tmp_path: Path) -> None:
    folder, out = tmp_path / "images", tmp_path / "embeddings"
    draw(folder, 0, 20)
    assert finish(folder, out).returncode == 0
    before = (out / FILE).read_bytes()
    draw(folder, 20, 60)
    limit = len(before) + 1000
    told = finish(
        folder, out, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    )
    assert told.returncode == 2
    assert "no room" in told.stderr
    assert (out / FILE).read_bytes() == before
    assert finish(folder, out).returncode == 0
    assert verify(out / FILE).checked == 60


def test_a_second_extract_ends_with_2_and_says_who_holds_the_file(tmp_path: Path) -> None:
    folder, out = tmp_path / "images", tmp_path / "embeddings"
    draw(folder, 0, 4)
    with open_writer(out / FILE, spec={}, dataset=Dataset(ids=["1"], paths=[]), dimension=1):
        told = finish(folder, out)
    assert told.returncode == 2
    assert f"is being written by process {os.getpid()} of " in told.stderr


def test_a_second_extract_hears_of_the_first_before_the_long_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_late(*_: object, **__: object) -> None:
        raise AssertionError("the lock comes first")

    draw(tmp_path / "images", 0, 2)
    monkeypatch.setattr("cxrfeat.commands.extract.inputs.find", too_late)
    monkeypatch.setattr("cxrfeat.commands.extract.current_hashes", too_late)
    monkeypatch.setattr("cxrfeat.features.open_extractor", too_late)
    small = {"backbone": ["squeezenet1_0", "squeezenet1_1"], "weights": ["random"]}
    with FileLock(tmp_path / "e" / "squeezenet1_1-random.h5"), pytest.raises(LockedError):
        cxrfeat.extract(tmp_path / "images", out=tmp_path / "e", **small)
    assert not (tmp_path / "e").exists()  # nor does the lock of the other file stay


def test_an_extract_that_finds_no_images_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        cxrfeat.extract(
            tmp_path / "nowhere",
            out=tmp_path / "e",
            backbone=["squeezenet1_1"],
            weights=["random"],
        )
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_was_taken_over_from_another_machine_is_said(tmp_path: Path) -> None:
    draw(tmp_path / "images", 0, 2)
    (tmp_path / "e").mkdir()
    record = '{"host": "elsewhere", "pid": 12, "user": "ann", "since": "now"}'
    (tmp_path / "e" / f"{FILE}.lock").write_text("\n" + record)
    small = {"backbone": ["squeezenet1_1"], "weights": ["random"], "image_size": 64}
    result = cxrfeat.extract(tmp_path / "images", out=tmp_path / "e", **small)
    assert [note for note in result.notes if "process 12 of ann on elsewhere" in note]


def test_the_locks_of_extract_are_not_counted_among_the_images(tmp_path: Path) -> None:
    draw(tmp_path, 0, 2)
    small = {"backbone": ["squeezenet1_1"], "weights": ["random"], "image_size": 64}
    result = cxrfeat.extract(tmp_path, out=tmp_path / "e", **small)
    assert not [note for note in result.notes if "no image" in note]


def content(path: Path) -> dict[str, bytes]:
    with h5py.File(path) as file:
        return {name: file[name][...].tobytes() for name in ("embeddings", "id", "status")}


@pytest.mark.slow
def test_thirty_kills_of_extract_do_not_change_the_outcome(tmp_path: Path) -> None:
    """Images are added before every run, so that every run begins with a change of shape."""
    folder, out = tmp_path / "images", tmp_path / "killed"
    path, new = out / FILE, out / f"{FILE}.new"
    rng = random.Random(0)
    kills = while_replaced = images = 0
    for attempt in range(60):
        draw(folder, images, images + 60)
        images += 60
        process = start(folder, out)
        while process.poll() is None and not new.exists():
            pass
        time.sleep(rng.uniform(0, 0.002 if attempt % 2 else 0.6))
        process.kill()
        kills += process.wait() < 0
        while_replaced += new.exists()
        if path.exists():
            assert verify(path).sound
            with load(path) as e:
                assert np.isfinite(e.numpy()).all()
        if kills == 30:
            break
    assert kills == 30
    assert while_replaced
    assert start(folder, out).wait() == 0
    assert start(folder, tmp_path / "once").wait() == 0
    assert content(path) == content(tmp_path / "once" / FILE)
    with load(path) as e:
        assert (e.status == 1).all()
        assert len(e) == images
