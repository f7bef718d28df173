"""Images that moved, went away or came back between two runs of `extract`."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import cxrfeat
import cxrfeat.extraction.changed_images as changed
from cxrfeat.cli import app
from cxrfeat.commands.extract import ExtractResult
from cxrfeat.comparison.loaded_study import load_study
from cxrfeat.store import Changes

SMALL = {"backbone": ["squeezenet1_1"], "weights": ["random"], "image_size": 32, "device": "cpu"}
STEM = "squeezenet1_1-random-32"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of four pictures each, of different sizes in bytes."""
    rng = np.random.default_rng(0)
    for label in ("Covid", "Normal"):
        (tmp_path / "images" / label).mkdir(parents=True)
        for number in range(4):
            pixels = rng.integers(0, 256, (40, 40 + number), np.uint8)
            name = f"{label[0].lower()}{number}.png"
            Image.fromarray(pixels).save(tmp_path / "images" / label / name)
    return tmp_path / "images"


@pytest.fixture
def out(tmp_path: Path, folder: Path) -> Path:
    cxrfeat.extract(folder, out=tmp_path / "e", **SMALL)
    return tmp_path / "e"


def again(folder: Path, out: Path, **options: Any) -> tuple[ExtractResult, Changes]:
    result = cxrfeat.extract(folder, out=out, **SMALL, **options)
    return result, result.files[0].changes


def test_a_relabelled_image_is_moved_and_counts_once(folder: Path, out: Path) -> None:
    with cxrfeat.load(out / f"{STEM}.h5") as e:
        before = e.numpy(["Normal/n0.png"])
    (folder / "Normal" / "n0.png").rename(folder / "Covid" / "n0.png")
    result, changes = again(folder, out)
    assert (result.read, changes.moved, changes.gone, changes.added) == (0, 1, 0, 0)
    assert result.files[0].reused == result.files[0].rows == 8
    with cxrfeat.load(out / f"{STEM}.h5") as e:
        assert "Normal/n0.png" not in e.ids
        np.testing.assert_array_equal(e.numpy(["Covid/n0.png"]), before)
    study = load_study(out)
    assert len(study) == len(set(study.sha256)) == 8
    assert np.nansum(study.labels, axis=0).tolist() == [5, 3]
    assert not study.notes


def test_a_vanished_image_is_left_out_of_fit_and_said_unless_asked_for(
    folder: Path, out: Path
) -> None:
    (folder / "Normal" / "n3.png").unlink()
    result, changes = again(folder, out)
    assert (result.read, changes.moved, changes.gone) == (0, 0, 1)
    study = load_study(out)
    assert len(study) == 7
    assert study.notes == [
        f"1 images of {STEM} were left out: gone, not among those of the last extract"
        " (--include-gone takes them)"
    ]
    everything = load_study(out, include_gone=True)
    assert len(everything) == 8
    assert not everything.notes
    fitted = cxrfeat.fit(out, head=["dummy"], cv=2, report=False, out=out / "without")
    assert fitted.images == 7
    assert (fitted.embeddings[0].rows, fitted.embeddings[0].done) == (8, 7)
    assert fitted.embeddings[0].gone == 1
    taken = cxrfeat.fit(
        out, head=["dummy"], cv=2, report=False, out=out / "with", include_gone=True
    )
    assert taken.images == 8
    assert taken.options["include_gone"] is True


def test_an_image_that_comes_back_counts_again_and_is_not_computed(folder: Path, out: Path) -> None:
    away = folder.parent / "away.png"
    shutil.move(folder / "Normal" / "n3.png", away)
    again(folder, out)
    shutil.move(away, folder / "Normal" / "n3.png")
    result, changes = again(folder, out)
    assert (result.read, changes.gone, result.files[0].reused) == (0, 0, 8)
    assert len(load_study(out)) == 8


def test_an_image_that_comes_back_elsewhere_is_moved(folder: Path, out: Path) -> None:
    away = folder.parent / "away.png"
    shutil.move(folder / "Normal" / "n1.png", away)
    again(folder, out)
    shutil.copyfile(away, folder / "Covid" / "other.png")  # with another time of change
    result, changes = again(folder, out)
    assert (result.read, changes.moved, changes.gone) == (0, 1, 0)
    result, changes = again(folder, out)
    assert (result.read, changes.moved, result.files[0].reused) == (0, 0, 8)


def test_of_two_copies_of_a_vanished_image_none_is_computed(folder: Path, out: Path) -> None:
    source = folder / "Normal" / "n2.png"
    shutil.copyfile(source, folder / "Covid" / "a.png")
    shutil.copyfile(source, folder / "Covid" / "b.png")
    source.unlink()
    result, changes = again(folder, out)
    assert (result.read, changes.moved, changes.gone, changes.added) == (0, 2, 0, 0)
    with cxrfeat.load(out / f"{STEM}.h5") as e:
        first, second = e.numpy(["Covid/a.png", "Covid/b.png"])
        np.testing.assert_array_equal(first, second)
    assert cxrfeat.verify(out / f"{STEM}.h5").sound


def test_a_new_image_with_the_size_of_a_vanished_one_is_computed(folder: Path, out: Path) -> None:
    """Hashing tells what the size alone does not."""
    old = folder / "Normal" / "n0.png"
    size = old.stat().st_size
    old.unlink()
    other = folder / "Covid" / "other.png"
    Image.fromarray(np.full((40, 40), 99, np.uint8)).save(other)
    other.write_bytes(other.read_bytes().ljust(size, b"\0"))
    result, changes = again(folder, out)
    assert other.stat().st_size == size
    assert (result.read, changes.moved, changes.added, changes.gone) == (1, 0, 1, 1)


def test_only_images_of_the_size_of_a_vanished_one_are_hashed(
    folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []
    plain = changed._sha256
    monkeypatch.setattr(
        changed, "_sha256", lambda one: hashed.append(Path(one.path).name) or plain(one)
    )
    rng = np.random.default_rng(5)
    for number in range(5):
        pixels = rng.integers(0, 256, (60, 50 + number), np.uint8)
        Image.fromarray(pixels).save(folder / "Covid" / f"new{number}.png")
    again(folder, out)
    assert hashed == []
    for number in range(5):
        pixels = rng.integers(0, 256, (80, 50 + number), np.uint8)
        Image.fromarray(pixels).save(folder / "Covid" / f"newer{number}.png")
    (folder / "Normal" / "n0.png").rename(folder / "Covid" / "n0.png")
    again(folder, out)
    assert hashed == ["n0.png"]


def test_prune_reuses_what_moved_and_drops_what_is_gone(folder: Path, out: Path) -> None:
    (folder / "Normal" / "n0.png").rename(folder / "Covid" / "n0.png")
    (folder / "Normal" / "n1.png").unlink()
    result, changes = again(folder, out, prune=True)
    assert (result.read, changes.moved, changes.gone, changes.dropped) == (0, 1, 0, 1)
    assert result.files[0].rows == 7


def test_a_broken_image_that_was_taken_away_fails_no_more(folder: Path, out: Path) -> None:
    broken = folder / "Covid" / "broken.png"
    broken.write_bytes((folder / "Covid" / "c0.png").read_bytes()[:60])
    assert [failure.id for failure in again(folder, out)[0].failures] == ["Covid/broken.png"]
    broken.rename(folder / "Normal" / "broken.png")  # unread, it has no sha256 to be known by
    assert [failure.id for failure in again(folder, out)[0].failures] == ["Normal/broken.png"]
    (folder / "Normal" / "broken.png").unlink()
    result, _ = again(folder, out)
    assert (result.failures, result.files[0].failed) == ([], 0)
    assert not (out / "failures.csv").exists()


def test_info_export_and_numpy_leave_gone_rows_out(folder: Path, out: Path) -> None:
    path = out / f"{STEM}.h5"
    (folder / "Normal" / "n3.png").unlink()
    again(folder, out)
    found = cxrfeat.info(path)
    assert (found.rows, found.done, found.gone) == (8, 7, 1)
    assert found.classes == {"Covid": 4, "Normal": 3}
    with cxrfeat.load(path) as e:
        assert len(e.numpy()) == len(np.array(e.ids)[e.done]) == 7
        assert len(e.numpy(include_gone=True)) == 8
        assert e.numpy(["Normal/n3.png"]).shape[0] == 1
        assert "1 gone" in repr(e)
    done = cxrfeat.export(path, to="csv")
    assert (done.rows, done.left_out, done.gone) == (7, 0, 1)
    taken = cxrfeat.export(path, to="csv", out=out / "all.csv", include_gone=True)
    assert (taken.rows, taken.gone) == (8, 0)
    with taken.path.open(newline="") as file:
        assert {r["id"] for r in csv.DictReader(file) if r["gone"] == "1"} == {"Normal/n3.png"}
    board = cxrfeat.export(path, to="tensorboard").path / "metadata.tsv"
    assert "n3.png" not in board.read_text()


def test_the_command_line_says_what_moved_and_what_is_gone(folder: Path, out: Path) -> None:
    (folder / "Normal" / "n0.png").rename(folder / "Covid" / "n0.png")
    (folder / "Normal" / "n3.png").unlink()
    options = ["--backbone", "squeezenet1_1", "--weights", "random", "--image-size", "32"]
    told = CliRunner().invoke(app, ["extract", str(folder), "--out", str(out), *options])
    assert told.exit_code == 0
    assert "1 moved and not computed again" in " ".join(told.output.split())
    assert "1 gone: their rows are kept" in " ".join(told.output.split())
    told = CliRunner().invoke(app, ["extract", str(folder), "--out", str(out), *options, "--json"])
    changes = json.loads(told.stdout)["files"][0]["changes"]
    assert (changes["moved"], changes["gone"]) == (0, 1)
    path = str(out / f"{STEM}.h5")
    assert (
        "8: 7 done, 0 pending, 0 failed, 1 gone" in CliRunner().invoke(app, ["info", path]).output
    )
    shown = CliRunner().invoke(app, ["export", path, "--to", "npz"]).output
    assert "1 gone left out (--include-gone)" in " ".join(shown.split())
    shown = CliRunner().invoke(
        app, ["export", path, "--to", "npz", "--include-gone", "--out", str(out / "all.npz")]
    )
    with np.load(out / "all.npz") as arrays:
        assert arrays["gone"].tolist() == [0] * 7 + [1]
    run = ["fit", str(out), "--head", "dummy", "--cv", "2", "--no-report", "--json"]
    for flags, images in (([], 7), (["--include-gone"], 8)):
        told = CliRunner().invoke(app, [*run, *flags, "--out", str(out / f"run{images}")])
        assert json.loads(told.stdout)["images"] == images


def test_a_model_is_not_applied_to_rows_whose_image_is_gone(folder: Path, out: Path) -> None:
    fitted = cxrfeat.fit(out, head=["logreg"], cv=2, report=False, out=out / "run")
    (folder / "Normal" / "n3.png").unlink()
    again(folder, out)
    predicted = cxrfeat.predict(fitted.files["model.skops"], out / f"{STEM}.h5")
    assert len(predicted.predictions) == 7
    assert any(note.startswith("1 row(s) whose image is gone") for note in predicted.notes)
