"""DICOM columns, privacy, failures, `dataset` and `inspect`, from files to what is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid
from typer.testing import CliRunner

import cxrfeat
from cxrfeat import display
from cxrfeat.cli import app
from cxrfeat.images.drawing.phantom import write_phantoms
from cxrfeat.tables import read_table, write_table

SMALL = {"backbone": ["squeezenet1_1"], "weights": ["random"], "image_size": 64, "device": "cpu"}
IDENTIFYING = {
    "PatientName": "Quellmalz^Ottilie",
    "PatientID": "MRN-55512399",
    "PatientBirthDate": "19310517",
    "PatientAddress": "Lindenstrasse 77",
    "AccessionNumber": "ACC2026119",
    "StudyDate": "20250303",
    "StudyDescription": "Thorax Quellmalz",
    "InstitutionName": "Klinikum Musterstadt",
    "ReferringPhysicianName": "Arzt^Anton",
    "OperatorsName": "Operator^Olga",
    "StationName": "ROOM7XRAY",
    "StudyInstanceUID": "1.2.826.0.1.3680043.8.498.777001",
    "PatientComments": "wheelchair, deaf",
}


@pytest.fixture(autouse=True)
def patient_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXRFEAT_PATIENT_KEY", "a key for tests only")


def write_dicom(path: Path, **elements: Any) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(path.name, {}, file_meta=meta, preamble=b"\0" * 128)
    pixels = np.arange(60 * 64, dtype="<u2").reshape(60, 64)
    base = {
        "SOPClassUID": meta.MediaStorageSOPClassUID,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "Modality": "DX",
        "ViewPosition": "PA",
        "PhotometricInterpretation": "MONOCHROME2",
        "SamplesPerPixel": 1,
        "Rows": 60,
        "Columns": 64,
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
        "PixelData": pixels.tobytes(),
    }
    for name, value in {**base, **elements}.items():
        setattr(dataset, name, value)
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)


@pytest.fixture
def dicoms(tmp_path: Path) -> Path:
    """Three images of a patient with every name in the book, and a fourth that is cut short."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(4):
        write_dicom(folder / f"{number}.dcm", **IDENTIFYING, PatientAge="094Y", PatientSex="F")
    whole = (folder / "3.dcm").read_bytes()
    (folder / "3.dcm").write_bytes(whole[:-1000])
    return folder


def test_dicom_headers_become_columns_and_groups(dicoms: Path, tmp_path: Path) -> None:
    write_dicom(dicoms / "other.dcm", PatientID="someone else", PatientAge="041Y")
    result = cxrfeat.extract(dicoms, out=tmp_path / "e", **SMALL)
    with cxrfeat.load(result.files[0].path) as embeddings:
        meta = {name: values.tolist() for name, values in embeddings.meta.items()}
    assert meta["age"] == ["90+"] * 4 + ["41"]
    assert meta["sex"] == ["F"] * 4 + [""]
    assert meta["view"] == ["PA"] * 5
    assert meta["photometric"] == ["MONOCHROME2"] * 5
    assert len(set(meta["group"])) == 2
    assert [failure.code for failure in result.failures] == ["truncated"]
    assert "burned-in annotation not ruled out: 4 image(s)" in result.notes


def test_a_table_stands_above_the_headers(dicoms: Path, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    write_table(table, {"path": ["0.dcm", "1.dcm"], "patient": ["A", "B"]})
    result = cxrfeat.extract(dicoms, labels=table, out=tmp_path / "e", **SMALL)
    with cxrfeat.load(result.files[0].path) as embeddings:
        assert embeddings.meta["group"].tolist() == ["A", "B"]
        assert embeddings.meta["view"].tolist() == ["PA", "PA"]


def test_nothing_that_identifies_a_patient_is_written_or_printed(
    dicoms: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    runner = CliRunner()
    options = ["--backbone", "squeezenet1_1", "--weights", "random", "--image-size", "64"]
    runs = [
        ["extract", str(dicoms), *options, "--out", str(out / "e")],
        ["extract", str(dicoms), *options, "--out", str(out / "e"), "--json", "--retry-failed"],
        ["inspect", str(dicoms), "--out", str(out / "sheet.png")],
        ["inspect", str(dicoms), "--json"],
        ["dataset", str(dicoms)],
        ["dataset", str(dicoms), "--json"],
    ]
    printed = ""
    for arguments in runs:
        result = runner.invoke(app, arguments)
        assert result.exit_code == (0 if arguments[0] == "dataset" else 1), result.output
        printed += result.output
    captured = capfd.readouterr()
    everything = (printed + captured.out + captured.err).encode()
    files = [path for path in out.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} >= {".h5", ".csv", ".png"}
    everything += b"".join(path.read_bytes() for path in files)
    values = {*IDENTIFYING.values(), "Quellmalz", "Ottilie", "094Y"}
    assert [v for v in values if v.lower().encode() in everything.lower()] == []


def test_other_modalities_and_frames_are_read_when_asked_for(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    write_dicom(folder / "ct.dcm", Modality="CT")
    write_dicom(folder / "frames.dcm", NumberOfFrames=2, Rows=30)

    def codes(**options: Any) -> list[str]:
        result = cxrfeat.extract(folder, out=tmp_path / f"e{len(options)}", **SMALL, **options)
        return [failure.code for failure in result.failures]

    assert codes() == ["modality", "multi_frame"]
    assert codes(modality=["any"], frame=1) == []  # a file of one frame has no choice
    spec = cxrfeat.load(tmp_path / "e2" / "squeezenet1_1-random-64.h5").spec
    assert spec["image"]["frame"] == 1
    seen = CliRunner().invoke(app, ["inspect", str(folder), "--modality", "any", "--frame", "0"])
    assert seen.exit_code == 0


def test_failures_are_listed_and_tried_again_when_asked(dicoms: Path, tmp_path: Path) -> None:
    def run(**options: Any) -> Any:
        return cxrfeat.extract(dicoms, out=tmp_path / "e", **SMALL, **options)

    assert [f.id for f in run().failures] == ["3.dcm"]
    table = read_table(tmp_path / "e" / "failures.csv")
    assert (table["id"], table["code"]) == (["3.dcm"], ["truncated"])
    write_dicom(dicoms / "3.dcm", **IDENTIFYING)
    result = run(retry_failed=True)
    assert (result.read, result.failures) == (1, [])
    assert not (tmp_path / "e" / "failures.csv").exists()


def test_too_many_failures_stop_early_and_keep_what_is_done(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    good = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    for number in range(20):
        path = folder / f"{number:02d}.png"
        if number % 2:
            path.write_bytes(b"broken")
        else:
            Image.fromarray(good).save(path)
    options = {**SMALL, "out": tmp_path / "e", "batch_size": 2, "workers": 1}
    result = cxrfeat.extract(folder, max_failures=3, **options)
    assert result.stopped_early
    assert (result.read, len(result.failures)) == (8, 4)
    assert result.files[0].computed == 4
    again = cxrfeat.extract(folder, **options)
    assert (again.read, len(again.failures), again.stopped_early) == (12, 10, False)


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantoms")
    write_phantoms(folder, patients=9, images_per_patient=2, size=96)
    return folder


def test_dataset_counts_classes_patients_and_what_does_not_match(
    phantoms: Path, tmp_path: Path
) -> None:
    columns = read_table(phantoms / "labels.csv")
    kept = {name: [*cells[:-1], cells[-1]] for name, cells in columns.items()}
    kept["path"][-1] = "clear/gone.png"
    write_table(tmp_path / "t.csv", kept)
    output = CliRunner().invoke(
        app, ["dataset", str(phantoms), "--labels", str(tmp_path / "t.csv"), "--json"]
    )
    summary = json.loads(output.stdout)
    assert summary["images"] == 17
    assert {c["name"]: c["positive"] for c in summary["classes"]} == {
        "clear": 6,
        "diffuse_opacity": 6,
        "focal_opacity": 5,
    }
    assert (summary["patients"], summary["images_per_patient"]) == (9, [1, 2, 2])
    assert summary["missing"] == ["clear/gone.png"]
    assert summary["images_without_row"] == [columns["path"][-1]]


def test_inspect_marks_what_looks_wrong_and_draws_it(phantoms: Path, tmp_path: Path) -> None:
    paths = sorted(phantoms.rglob("*.png"))
    folder = tmp_path / "images"
    folder.mkdir()
    for path in paths:
        (folder / path.name).write_bytes(path.read_bytes())
    pixels = np.asarray(Image.open(paths[0]))
    odd = {
        "constant": np.full((50, 50), 128, np.uint8),
        "nearly empty": np.pad(pixels[40:50, 40:50], 90),
        "inverted against the rest": 255 - pixels,
        "odd aspect": np.hstack([pixels, pixels]),
    }
    for number, picture in enumerate(odd.values()):
        Image.fromarray(picture).save(folder / f"odd{number}.png")
    (folder / "broken.png").write_bytes(b"broken")
    sheet = tmp_path / "sheet.png"
    output = CliRunner().invoke(app, ["inspect", str(folder), "--out", str(sheet), "--json"])
    assert output.exit_code == 1
    seen = {image["id"]: image for image in json.loads(output.stdout)["images"]}
    for number, warning in enumerate(odd):
        assert warning in seen[f"odd{number}.png"]["warnings"]
    assert seen["broken.png"]["error"].startswith("unrecognised: ")
    assert all(not seen[path.name]["warnings"] for path in paths)
    assert (seen[paths[0].name]["width"], seen[paths[0].name]["bits"]) == (96, 8)
    with Image.open(sheet) as drawn:
        assert drawn.width > 5 * 224
    table = CliRunner().invoke(app, ["inspect", str(folder)]).stdout
    assert "inverted against" in table


def test_a_sheet_that_cannot_be_written_is_one_line(phantoms: Path, tmp_path: Path) -> None:
    for name in ("absent/sheet.png", "sheet.unknown"):
        result = CliRunner().invoke(app, ["inspect", str(phantoms), "--out", str(tmp_path / name)])
        assert result.exit_code == 2
        assert "cannot be written" in result.stderr


def test_dataset_says_how_many_dicom_files_extract_refuses_by_modality(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, modality in enumerate(["DX", "CR", "CT", "CT", "MR", ""]):
        write_dicom(tmp_path / f"{number}.dcm", Modality=modality)
    summary = cxrfeat.dataset(tmp_path)
    assert (summary.images, summary.refused) == (6, {"CT": 2, "MR": 1, "": 1})
    display.dataset_summary(summary)
    assert (
        "extract takes 2 of them at most: 4 are of another DICOM modality (CT 2, MR 1, not stated"
        " 1); --modality names those that are read"
    ) in " ".join(capsys.readouterr().out.split())
    assert cxrfeat.dataset(tmp_path, modality=["any"]).refused == {}
    assert cxrfeat.dataset(tmp_path, modality=["ct"]).refused == {"DX": 1, "CR": 1, "MR": 1, "": 1}
