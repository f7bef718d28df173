"""Where no row is missing, no network is opened, nothing is measured, and torch stays away."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cxrfeat
from cxrfeat.errors import SpecMismatchError
from cxrfeat.features.runtimes import select

NAME = "squeezenet1_1"
OPTIONS = {
    "backbone": [NAME],
    "weights": ["random"],
    "image_size": 64,
    "device": "cpu",
    "runtime": "torch",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 40), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number}.png")
    return tmp_path / "images"


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("a network was opened, or something was measured")


def test_a_second_run_neither_opens_a_network_nor_measures(folder, tmp_path, monkeypatch) -> None:
    first = cxrfeat.extract(folder, out=tmp_path / "e", **OPTIONS)
    monkeypatch.setattr(select, "choose", refuse)
    monkeypatch.setattr(select, "fastest", refuse)
    monkeypatch.setattr(select, "Torch", refuse)
    second = cxrfeat.extract(folder, out=tmp_path / "e", **OPTIONS)
    assert (second.files[0].computed, second.files[0].reused) == (0, 3)
    assert second.files[0].fingerprint == first.files[0].fingerprint
    assert (second.files[0].weights, second.files[0].control) == ("random-seed-0", True)


def test_a_second_run_still_refuses_other_options(folder, tmp_path, monkeypatch) -> None:
    cxrfeat.extract(folder, name="mine", out=tmp_path / "e", **OPTIONS)
    monkeypatch.setattr(select, "fastest", refuse)
    with pytest.raises(SpecMismatchError) as caught:
        cxrfeat.extract(folder, name="mine", out=tmp_path / "e", **{**OPTIONS, "pool": "max"})
    assert any(line.startswith("pooling") for line in caught.value.difference)


def test_only_the_network_whose_file_lacks_rows_is_opened(folder, tmp_path, monkeypatch) -> None:
    cxrfeat.extract(folder, out=tmp_path / "e", **OPTIONS)
    opened = []
    original = cxrfeat.features.Prepared.open

    def open_(prepared):
        opened.append(prepared.description.backbone)
        return original(prepared)

    monkeypatch.setattr(cxrfeat.features.Prepared, "open", open_)
    both = {**OPTIONS, "backbone": [NAME, "squeezenet1_0"]}
    result = cxrfeat.extract(folder, out=tmp_path / "e", **both)
    assert [file.computed for file in result.files] == [0, 3]
    assert opened == ["squeezenet1_0"]


def test_a_second_command_imports_no_torch_though_torch_runs_the_network(folder, tmp_path) -> None:
    code = (
        "import json, sys, cxrfeat\n"
        f"result = cxrfeat.extract('images', out='e', **{OPTIONS!r})\n"
        "print(json.dumps(['torch' in sys.modules, result.files[0].computed]))"
    )
    told = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path, capture_output=True, text=True, timeout=300, check=True,
        )  # fmt: skip
        told.append(json.loads(done.stdout))
    assert told == [[True, 3], [False, 0]]
