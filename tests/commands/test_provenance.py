"""What made the numbers stands in the file, row by row, and is shown."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import cxrfeat
from cxrfeat.cli import app
from cxrfeat.features import Extractor

SMALL = {"backbone": ["squeezenet1_1"], "weights": ["random"], "image_size": 32, "device": "cpu"}


def draw(folder: Path, numbers: range) -> None:
    folder.mkdir(exist_ok=True)
    for number in numbers:
        pixels = np.random.default_rng(number).integers(0, 256, (40, 40), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")


def test_a_file_that_went_on_elsewhere_tells_whose_rows_are_whose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = tmp_path / "images", tmp_path / "e"
    draw(folder, range(3))
    path = cxrfeat.extract(folder, out=out, **SMALL).files[0].path
    plain = Extractor.environment
    monkeypatch.setattr(Extractor, "environment", lambda e: {**plain(e), "platform": "elsewhere"})
    draw(folder, range(3, 5))
    cxrfeat.extract(folder, out=out, **SMALL)

    first, second = cxrfeat.info(path).origins
    assert (first.rows, second.rows) == (3, 2)
    assert first.environment is not None
    assert second.environment is not None
    assert first.environment["platform"] != second.environment["platform"] == "elsewhere"
    for package in ("Pillow", "pydicom", "pyjpegls", "python-gdcm"):
        assert first.environment[package] == version(package)
    assert first.environment["cxrfeat"] == cxrfeat.__version__
    assert "libjpeg-turbo" in first.environment

    shown = " ".join(CliRunner().invoke(app, ["info", str(path)]).output.split())
    assert "environment 1 3 rows were computed in it" in shown
    assert "environment 2: platform elsewhere" in shown


def test_decoders_that_are_not_installed_are_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import PackageNotFoundError

    from cxrfeat.images import versions

    def without_gdcm(package: str) -> str:
        if package == "python-gdcm":
            raise PackageNotFoundError(package)
        return version(package)

    monkeypatch.setattr(versions, "version", without_gdcm)
    assert "python-gdcm" not in versions.decoders()
    assert "pyjpegls" in versions.decoders()
