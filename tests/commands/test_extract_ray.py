"""`cxrfeat extract --engine ray` on this machine alone: the same file, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

import cxrfeat
from cxrfeat.errors import InputError, UnknownNameError
from tests.ray_cluster import ROOT, require_ray

OPTIONS = {"backbone": ["squeezenet1_1"], "weights": ["random"], "image_size": 64}
FILE = "squeezenet1_1-random-64.h5"


def draw(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 40), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:04d}.png")
    return folder


def start(folder: Path, out: Path, *more: str, mark: str = "") -> subprocess.Popen[str]:
    """Start the command where Ray is told of a cluster that has ended."""
    command = [sys.executable, "-c", "from cxrfeat.cli import main; main()", "extract", str(folder)]
    command += ["--out", str(out), "--backbone", "squeezenet1_1", "--weights", "random"]
    command += ["--image-size", "64", "--device", "cpu", "--engine", "ray", "--json", *more]
    environment = {
        **os.environ,
        "RAY_ADDRESS": "127.0.0.1:1",
        "MARK": mark,
        "PYTHONPATH": str(ROOT),
    }
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def content(path: Path) -> Mapping[str, bytes]:
    with h5py.File(path) as file:
        names = ("embeddings", "id", "status", "sha256", "checksum", "stat", "environment")
        return {
            **{name: file[name][...].tobytes() for name in names},
            "environments": file.attrs["environments"],
        }


def test_a_ray_of_this_machine_writes_the_same_file(tmp_path: Path) -> None:
    require_ray()
    folder = draw(tmp_path / "images", 12)
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    process = start(folder, tmp_path / "ray", "--batch-size", "4")
    told, errors = process.communicate(timeout=300)
    assert process.returncode == 1, errors
    result = json.loads(told)
    assert [one["id"] for one in result["failures"]] == ["broken.png"]
    assert result["files"][0]["computed"] == 12
    cxrfeat.extract(folder, out=tmp_path / "local", device="cpu", **OPTIONS)
    assert content(tmp_path / "ray" / FILE) == content(tmp_path / "local" / FILE)


@pytest.mark.slow
def test_a_killed_driver_takes_its_workers_along_and_the_command_goes_on(tmp_path: Path) -> None:
    require_ray()
    folder, out, mark = draw(tmp_path / "images", 400), tmp_path / "e", str(uuid.uuid4())
    process = start(folder, out, "--batch-size", "4", mark=mark)
    deadline = time.monotonic() + 300
    while done_rows(out / FILE) < 8:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert len(marked(mark)) > 2  # the driver, Ray and workers
    process.send_signal(signal.SIGKILL)
    process.communicate()
    while marked(mark):
        assert time.monotonic() < deadline, marked(mark)
        time.sleep(0.1)
    kept = done_rows(out / FILE)
    assert 8 <= kept < 400
    again = start(folder, out)
    told, errors = again.communicate(timeout=300)
    assert again.returncode == 0, errors
    (file,) = json.loads(told)["files"]
    assert (file["reused"], file["computed"]) == (kept, 400 - kept)
    assert cxrfeat.verify(out / FILE).sound


@pytest.mark.parametrize("option", [{"address": "auto"}, {"num_cpus": 1}, {"num_gpus": 0}])
def test_options_of_ray_without_ray_are_refused(tmp_path: Path, option: dict[str, object]) -> None:
    with pytest.raises(InputError, match="add --engine ray"):
        cxrfeat.extract(draw(tmp_path / "i", 1), out=tmp_path / "e", **OPTIONS, **option)


def test_an_unknown_engine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="local, ray"):
        cxrfeat.extract(draw(tmp_path / "i", 1), out=tmp_path / "e", engine="spark", **OPTIONS)


def done_rows(path: Path) -> int:
    """Count rows while another process writes, without HDF5's lock."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            return int((file["status"][:] == 1).sum())
    except (OSError, KeyError):
        return 0


def marked(mark: str) -> list[str]:
    """Return the processes that began with the command, however far down."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"MARK={mark}".encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found
