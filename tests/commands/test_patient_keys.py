"""Groups that were hashed with two keys are not taken for the same patients' groups."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

import cxrfeat
from cxrfeat.comparison.loaded_study import load_study
from cxrfeat.errors import InputError
from cxrfeat.images.dicom import patient_key
from cxrfeat.inputs import Dataset
from cxrfeat.store import open_writer
from cxrfeat.tables import write_table
from tests.commands.test_inputs import SMALL, write_dicom

VARIABLE = "CXRFEAT_PATIENT_KEY"
STEM = "squeezenet1_1-random-64.h5"


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "the first key")


@pytest.fixture
def no_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    patient_key._key_once.cache_clear()
    yield
    patient_key._key_once.cache_clear()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of two patients with two radiographs each."""
    for label in ("a", "b"):
        (tmp_path / "images" / label).mkdir(parents=True)
        for number in range(4):
            pixels = np.full((60, 64), 16 * number, dtype="<u2").tobytes()
            write_dicom(
                tmp_path / "images" / label / f"{number}.dcm",
                PatientID=f"{label}{number // 2}",
                PixelData=pixels,
            )
    return tmp_path / "images"


def groups(path: Path) -> list[str]:
    with cxrfeat.load(path) as e:
        assert e.groups is not None
        return list(e.groups)


def test_the_file_names_the_key_of_its_patients(folder: Path, tmp_path: Path) -> None:
    cxrfeat.extract(folder, out=tmp_path / "e", **SMALL)
    with h5py.File(tmp_path / "e" / STEM) as file:
        stated = file.attrs["patient_key"]
    assert len(stated) == 16
    assert int(stated, 16) >= 0
    assert "first" not in stated
    assert cxrfeat.info(tmp_path / "e" / STEM).patient_key == stated


def test_a_file_is_not_continued_with_another_key(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cxrfeat.extract(folder, out=tmp_path / "e", **SMALL)
    path = tmp_path / "e" / STEM
    before, old = path.read_bytes(), groups(path)
    monkeypatch.setenv(VARIABLE, "another key")
    with pytest.raises(InputError, match=r"hashed with another key.*CXRFEAT_PATIENT_KEY.*--prune"):
        cxrfeat.extract(folder, out=tmp_path / "e", **SMALL)
    assert path.read_bytes() == before
    result = cxrfeat.extract(folder, out=tmp_path / "e", prune=True, **SMALL)
    assert result.read == 0
    assert not set(groups(path)) & set(old)
    assert len(set(groups(path))) == 4
    assert cxrfeat.extract(folder, out=tmp_path / "e", **SMALL).read == 0


def test_a_key_that_will_not_last_is_said_and_a_file_is_not_continued_with_it(
    folder: Path, tmp_path: Path, no_home: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = cxrfeat.extract(folder, out=tmp_path / "e", **SMALL)
    assert any("$CXRFEAT_PATIENT_KEY" in note for note in result.notes)
    before = (tmp_path / "e" / STEM).read_bytes()
    cxrfeat.extract(folder, out=tmp_path / "e", **SMALL)  # of the same process
    patient_key._key_once.cache_clear()
    for prune in (False, True):
        with pytest.raises(InputError, match=r"no place to keep.*CXRFEAT_PATIENT_KEY.*--prune"):
            cxrfeat.extract(folder, out=tmp_path / "e", prune=prune, **SMALL)
    assert (tmp_path / "e" / STEM).read_bytes() == before
    # What the message says: the rows of a run that was killed there are not lost with its key.
    monkeypatch.setenv(VARIABLE, "a new secret")
    assert cxrfeat.extract(folder, out=tmp_path / "e", prune=True, **SMALL).read == 0


def test_groups_of_a_table_have_no_key(folder: Path, tmp_path: Path, no_home: None) -> None:
    table = tmp_path / "t.csv"
    ids = [f"{label}/{n}.dcm" for label in "ab" for n in range(4)]
    write_table(table, {"path": ids, "patient": [str(n // 2) for n in range(8)]})
    for _ in range(2):
        result = cxrfeat.extract(folder, labels=table, out=tmp_path / "e", **SMALL)
        assert not any("KEY" in note for note in result.notes)
        patient_key._key_once.cache_clear()
    with h5py.File(tmp_path / "e" / STEM) as file:
        assert "patient_key" not in file.attrs


def test_a_damaged_key_file_matters_only_where_patients_come_from_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "cxrfeat").mkdir()
    (tmp_path / "cxrfeat" / "patient-key").touch()
    patient_key._key_once.cache_clear()
    with pytest.raises(InputError, match="patient key"):
        cxrfeat.extract(folder, out=tmp_path / "e", **SMALL)
    table = tmp_path / "t.csv"
    write_table(table, {"path": ["a/0.dcm", "b/0.dcm"], "patient": ["1", "2"]})
    result = cxrfeat.extract(folder, labels=table, out=tmp_path / "e", **SMALL)
    assert (result.images, result.failures) == (2, [])


def test_shards_and_extractors_of_two_keys_are_not_joined(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cxrfeat.extract(folder, out=tmp_path / "one", **SMALL)
    monkeypatch.setenv(VARIABLE, "another key")
    other = tmp_path / "other"
    shutil.copytree(folder / "a", other / "images" / "a")
    for file in sorted((other / "images" / "a").iterdir()):
        file.rename(file.with_name(f"later-{file.name}"))
    cxrfeat.extract(other / "images", out=other, **SMALL)
    paths = [tmp_path / "one" / STEM, other / STEM]
    with pytest.raises(InputError, match=r"different keys.*CXRFEAT_PATIENT_KEY"):
        cxrfeat.merge(paths, out=tmp_path / "all.h5")
    assert not (tmp_path / "all.h5").exists()
    cxrfeat.extract(folder, out=tmp_path / "two", **{**SMALL, "weights": ["random:1"]})
    with pytest.raises(InputError, match=r"different keys.*CXRFEAT_PATIENT_KEY"):
        cxrfeat.fit([tmp_path / "one", tmp_path / "two"], head=["dummy"], cv=2, report=False)
    monkeypatch.setenv(VARIABLE, "the first key")
    cxrfeat.extract(other / "images", out=other, prune=True, **SMALL)
    cxrfeat.merge(paths, out=tmp_path / "all.h5")
    assert len(set(groups(tmp_path / "all.h5"))) == 4
    assert cxrfeat.info(tmp_path / "all.h5").patient_key == cxrfeat.info(paths[0]).patient_key


def test_an_outside_set_of_another_key_is_used_and_said(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cxrfeat.extract(folder, out=tmp_path / "here", **SMALL)
    monkeypatch.setenv(VARIABLE, "the key of another site")
    cxrfeat.extract(folder, out=tmp_path / "there", **SMALL)
    result = cxrfeat.fit(
        tmp_path / "here", test=tmp_path / "there", head=["dummy"], report=False, out=tmp_path / "r"
    )
    assert any("hashed with another key" in note for note in result.notes)


def test_a_merge_of_hashed_and_other_groups_is_said(folder: Path, tmp_path: Path) -> None:
    cxrfeat.extract(folder / "a", out=tmp_path / "one", **SMALL)
    for file in sorted((folder / "b").iterdir()):
        file.rename(file.with_name(f"later-{file.name}"))
    write_table(
        tmp_path / "t.csv",
        {"path": [f"later-{n}.dcm" for n in range(4)], "patient": [str(n // 2) for n in range(4)]},
    )
    cxrfeat.extract(folder / "b", labels=tmp_path / "t.csv", out=tmp_path / "two", **SMALL)
    one, two = tmp_path / "one" / STEM, tmp_path / "two" / STEM
    merged = cxrfeat.merge([one, two], out=tmp_path / "all.h5")
    (note,) = merged.notes
    assert f"'{one}' were hashed with a key, those of '{two}' were not" in note
    assert cxrfeat.info(tmp_path / "all.h5").patient_key == ""
    assert cxrfeat.merge([one, tmp_path / "all.h5"], out=tmp_path / "again.h5").notes


def test_a_patient_that_only_the_second_file_names_is_kept_together(tmp_path: Path) -> None:
    """One file was made before its images had patients; the empty text is nobody."""
    labels = np.array([[1, 0], [0, 1], [1, 0]], dtype=np.float32)
    for name, group in (("vgg16", ["p", "", ""]), ("resnet50", ["p", "q", "q"])):
        found = Dataset(["1", "2", "3"], [], ["a", "b"], labels, meta={"group": np.array(group)})
        path = tmp_path / f"{name}.h5"
        with open_writer(path, spec={"backbone": name}, dataset=found, dimension=2) as writer:
            writer.write(["1", "2", "3"], np.ones((3, 2), dtype=np.float32), ["0" * 64] * 3)
    for order in (["vgg16", "resnet50"], ["resnet50", "vgg16"]):
        study = load_study([tmp_path / f"{name}.h5" for name in order])
        assert study.meta["group"].tolist() == ["p", "q", "q"]
