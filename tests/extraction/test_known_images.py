"""A second run reads of an image no more than its size and time, whatever came of the first."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import cxrfeat
import cxrfeat.extraction.changed_images as changed
from cxrfeat import images
from cxrfeat.commands.extract import ExtractResult
from cxrfeat.extraction.hash_journal import HashJournal
from cxrfeat.extraction.sources import Stamp
from cxrfeat.tables import write_table
from tests.commands.test_inputs import write_dicom

SMALL = {"backbone": ["squeezenet1_1"], "weights": ["random"], "image_size": 32, "device": "cpu"}
FILE = "squeezenet1_1-random-32.h5"


@pytest.fixture(autouse=True)
def patient_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXRFEAT_PATIENT_KEY", "a key for tests only")


@pytest.fixture
def looked_into(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The DICOM headers that were read, in the order of the readings."""
    seen: list[str] = []
    plain = images.declared_columns

    def look(file: Any, **options: Any) -> dict[str, str]:
        seen.append(Path(file.name).name)
        return plain(file, **options)

    monkeypatch.setattr(images, "declared_columns", look)
    return seen


def radiographs(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        write_dicom(folder / f"{number}.dcm", PatientID=f"p{number // 2}")
    return folder


def columns(out: Path, *names: str) -> dict[str, list[str]]:
    with cxrfeat.load(out / FILE) as embeddings:
        return {name: embeddings.meta[name].tolist() for name in names}


def test_headers_of_images_that_have_not_changed_are_not_read_again(
    tmp_path: Path, looked_into: list[str]
) -> None:
    folder, out = radiographs(tmp_path / "images", 4), tmp_path / "e"
    first = cxrfeat.extract(folder, out=out, **SMALL)
    assert sorted(looked_into) == [f"{number}.dcm" for number in range(4)]
    looked_into.clear()
    before = (out / FILE).read_bytes()
    second = cxrfeat.extract(folder, out=out, **SMALL)
    said = first.notes[:3]  # then come those on images that were read
    assert (looked_into, second.notes, second.read) == ([], said, 0)
    assert (out / FILE).read_bytes() == before

    write_dicom(folder / "1.dcm", PatientID="p7", ViewPosition="AP")
    write_dicom(folder / "9.dcm", PatientID="p0")
    third = cxrfeat.extract(folder, out=out, **SMALL)
    assert sorted(looked_into) == ["1.dcm", "9.dcm"]
    assert third.notes[:3] == [note.replace("of 4 DICOM", "of 5 DICOM") for note in said]
    cxrfeat.extract(folder, out=tmp_path / "anew", **SMALL)
    names = ("group", "view", "modality", "rows")
    assert columns(out, *names) == columns(tmp_path / "anew", *names)


def test_what_a_table_said_instead_is_asked_of_the_images_once_there_is_no_table(
    tmp_path: Path, looked_into: list[str]
) -> None:
    folder, out = radiographs(tmp_path / "images", 2), tmp_path / "e"
    table = tmp_path / "labels.csv"
    write_table(table, {"path": ["0.dcm", "1.dcm"], "patient": ["a", "b"], "label": ["x", "y"]})
    cxrfeat.extract(folder, labels=table, out=out, **SMALL)
    looked_into.clear()
    cxrfeat.extract(folder, labels=table, out=out, **SMALL)
    assert looked_into == []
    assert columns(out, "group") == {"group": ["a", "b"]}
    cxrfeat.extract(folder, out=out, **SMALL)
    assert sorted(looked_into) == ["0.dcm", "1.dcm"]
    cxrfeat.extract(folder, out=tmp_path / "anew", **SMALL)
    assert columns(out, "group") == columns(tmp_path / "anew", "group")


def test_hashing_that_was_interrupted_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = tmp_path / "images", tmp_path / "e"
    folder.mkdir()
    for number in range(40):
        Image.fromarray(np.full((8, 8), number, np.uint8)).save(folder / f"{number:02d}.png")
    cxrfeat.extract(folder, out=out, **SMALL)
    for path in folder.iterdir():
        os.utime(path, ns=(0, 0))
    hashed: list[str] = []
    plain = changed._sha256

    def interrupted(source: Any) -> str:
        if source.id == "30.png":
            raise KeyboardInterrupt
        hashed.append(source.id)
        return plain(source)

    monkeypatch.setattr(changed, "_sha256", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cxrfeat.extract(folder, out=out, workers=1, **SMALL)
    kept = set(hashed[:16])
    hashed.clear()

    def counted(source: Any) -> str:
        hashed.append(source.id)
        return plain(source)

    monkeypatch.setattr(changed, "_sha256", counted)
    result = cxrfeat.extract(folder, out=out, workers=1, **SMALL)
    assert kept.isdisjoint(hashed)
    assert len(hashed) == 24
    assert (result.read, result.files[0].reused) == (0, 40)
    assert sorted(path.name for path in out.iterdir()) == [FILE]
    hashed.clear()
    cxrfeat.extract(folder, out=out, **SMALL)
    assert hashed == []


def test_a_kept_hash_counts_for_the_image_as_it_was_and_a_cut_line_for_none(tmp_path: Path) -> None:
    path, stamp, digest = tmp_path / "e.h5.hashed", Stamp(3, 4), "ab" * 32
    with HashJournal(path) as journal:
        journal.keep("with\nline.png", stamp, digest)
        journal.keep("b.png", stamp, digest)
    path.write_text(path.read_text()[:-5])
    with HashJournal(path) as journal:
        assert journal.find("with\nline.png", stamp) == digest
        assert journal.find("with\nline.png", Stamp(3, 5)) == ""
        assert journal.find("b.png", stamp) == ""
        journal.keep("b.png", stamp, digest)
    with HashJournal(path) as journal:
        assert journal.find("b.png", stamp) == digest


def test_two_files_that_saw_different_bytes_of_an_image_agree_after_one_run(tmp_path: Path) -> None:
    folder, out = tmp_path / "images", tmp_path / "e"
    folder.mkdir()
    for number in range(3):
        Image.fromarray(np.full((8, 8), number, np.uint8)).save(folder / f"{number}.png")
    other = {**SMALL, "backbone": ["squeezenet1_0"]}
    cxrfeat.extract(folder, out=out, **other)
    Image.fromarray(np.full((8, 8), 99, np.uint8)).save(folder / "1.png")
    cxrfeat.extract(folder, out=out, **SMALL)
    both = {**SMALL, "backbone": ["squeezenet1_1", "squeezenet1_0"]}
    result: ExtractResult = cxrfeat.extract(folder, out=out, **both)
    assert [file.changes.changed for file in result.files] == [0, 1]
    assert [file.computed for file in result.files] == [0, 1]
    with cxrfeat.load(out / FILE) as one, cxrfeat.load(result.files[1].path) as two:
        assert one.sha256 == two.sha256
