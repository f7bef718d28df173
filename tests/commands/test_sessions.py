"""Sessions of a new user from an empty folder, on the command line: two commands, no editing.

That of the covid-chestxray-dataset stands in `test_public_table.py`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from cxrfeat.cli import app
from tests.commands.test_inputs import write_dicom

SMALL = [
    *("--backbone", "squeezenet1_1", "--weights", "random", "--image-size", "64"),
    *("--device", "cpu", "--runtime", "torch"),
]
FIT = ["fit", "--head", "lda", "--cv", "2", "--no-report", "--out", "run"]
NIH = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
)


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CXRFEAT_PATIENT_KEY", "a key for tests only")


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code in (0, 1), done.output
    return " ".join(done.output.split())


def results() -> dict[str, Any]:
    return json.loads(Path("run/results.json").read_text())


def picture(bright: bool, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 120, (64, 64), np.uint8)
    return noise + np.uint8(100 if bright else 0)


def test_nih_from_its_table_to_folds_that_keep_patients_and_to_other_labels() -> None:
    Path("images_001/images").mkdir(parents=True)
    lines = [NIH]
    for number in range(24):
        name, ill = f"{number // 2 + 1:08d}_{number % 2:03d}.png", number // 2 % 2
        Image.fromarray(picture(bool(ill), number)).save(f"images_001/images/{name}")
        found = "Infiltration|Mass" if ill else "No Finding"
        lines.append(f"{name},{found},0,{number // 2 + 1},58,M,PA,2682,2749,0.143,0.143,")
    lines.append("00000099_000.png,Hernia,0,99,70,F,AP,2500,2048,0.171,0.171,")
    Path("Data_Entry_2017.csv").write_text("\n".join(lines) + "\n")

    said = run("extract", ".", "--labels", "Data_Entry_2017.csv", *SMALL)
    assert "NIH ChestX-ray14" in said
    assert "no image has: Atelectasis, Cardiomegaly" in said
    fitted = run(*FIT)
    assert "2-fold cross-validation, stratified, patients kept together" in fitted
    assert results()["classes"] == ["Infiltration", "Mass"]
    assert results()["patients"] == 12

    names = [line.split(".")[0] for line in lines[1:21]]  # file names alone, without a suffix
    rows = [f"{name},{'ab'[i // 2 % 2]}" for i, name in enumerate(names)]
    Path("other.csv").write_text("file,reading\n" + "\n".join(rows) + "\n")
    again = run(
        *FIT[:-1], "other", "--labels", "other.csv", "--label-column", "reading", "--positive", "a"
    )
    assert "20 of 24 images" in again
    assert "not of images_001/images/00000011_000.png" in again


def test_dicom_from_class_folders_to_folds_that_keep_patients() -> None:
    for number in range(24):
        kind = "covid" if number // 2 % 2 else "normal"
        path = Path("images", kind, f"{number:02d}.dcm")
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = picture(kind == "covid", number).astype("<u2") * 16
        write_dicom(
            path, Rows=64, PixelData=pixels.tobytes(), PatientID=f"patient {number // 2}",
            Modality="CT" if number >= 20 else "DX",
        )  # fmt: skip
    assert "extract takes 20 of them at most: 4 are of another DICOM modality (CT 4)" in run(
        "dataset", "images"
    )
    assert "4 images failed" in run("extract", "images", *SMALL)
    run(*FIT)
    assert (results()["images"], results()["patients"]) == (20, 10)
    assert results()["classes"] == ["covid", "normal"]
