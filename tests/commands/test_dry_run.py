"""A dry run says what would be computed, and how long that takes; nothing is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from cxrfeat import extract
from cxrfeat.cli import app
from cxrfeat.errors import InputError, SpecMismatchError

SMALL = {
    "backbone": ["squeezenet1_1"], "weights": ["random"], "image_size": 64, "device": "cpu",
    "runtime": "torch", "name": "net",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for number in range(6):
        draw(number)
    return tmp_path


def draw(number: int, seed: int = 0) -> None:
    path = Path("images", "ab"[number % 2], f"{number}.png")
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng((number, seed)).integers(0, 256, (40, 40), np.uint8)
    Image.fromarray(pixels).save(path)


def foreseen(**options: Any):
    before = {path: path.stat().st_mtime_ns for path in Path().rglob("*")}
    result = extract("images", **{**SMALL, **options}, dry_run=True)
    assert {path: path.stat().st_mtime_ns for path in Path().rglob("*")} == before
    assert result.forecast is not None
    return result


def test_nothing_is_written_and_all_is_to_be_computed(folder: Path) -> None:
    result = foreseen()
    told = result.forecast
    assert (result.images, result.read, told.images, told.rows) == (6, 0, 6, {"net": 6})
    assert (told.tried, told.failed) == (6, 0)
    assert told.seconds > 0
    assert told.size_bytes == 6 * 512 * 4


def test_what_it_says_is_what_the_run_then_does(folder: Path) -> None:
    extract("images", **SMALL)
    assert foreseen().forecast.images == 0
    assert foreseen().forecast.seconds is None
    draw(6)  # new
    draw(2, seed=1)  # changed
    Path("images/b/1.png").rename("images/b/renamed.png")  # moved
    Path("images/b/3.png").write_bytes(b"no picture")  # changed, and will fail
    told = foreseen()
    (file,) = extract("images", **SMALL).files
    assert told.forecast.rows == {"net": file.computed + file.failed} == {"net": 3}
    assert told.forecast.failed == 1
    assert told.files[0].changes == file.changes
    assert foreseen().forecast.images == 0
    assert foreseen(retry_failed=True).forecast.images == 1


def test_another_spec_is_refused_as_by_the_run(folder: Path) -> None:
    extract("images", **SMALL)
    with pytest.raises(SpecMismatchError, match="made in another way"):
        extract("images", **{**SMALL, "image_size": 96}, dry_run=True)


def test_what_cannot_be_foretold_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match=r"--dry-run .* not with --engine ray"):
        extract("images", **SMALL, dry_run=True, engine="ray")
    with pytest.raises(InputError, match="without --shard"):
        extract("images", **SMALL, dry_run=True, shard="0/2")


def test_it_is_printed(folder: Path) -> None:
    typed = ["--backbone", "squeezenet1_1", "--weights", "random", "--image-size", "64"]
    done = CliRunner().invoke(app, ["extract", "images", *typed, "--dry-run"])
    assert done.exit_code == 0, done.output
    assert "6 of 6 images would be read; about " in done.output
    assert "Nothing was written" in done.output
    assert not Path("embeddings").exists()
