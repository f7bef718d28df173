"""A public table as it really comes is read by one command, down to folds that keep patients."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import cxrfeat
from cxrfeat.cli import app

# As in the covid-chestxray-dataset: the last column has no name, and in a few rows a value.
HEADER = (
    "patientid,offset,sex,age,finding,RT_PCR_positive,survival,intubated,intubation_present,"
    "went_icu,in_icu,needed_supplemental_O2,extubated,temperature,pO2_saturation,leukocyte_count,"
    "neutrophil_count,lymphocyte_count,view,modality,date,location,folder,filename,doi,url,license,"
    "clinical_notes,other_notes,"
)
FINDINGS = [
    *["Pneumonia/Viral/COVID-19"] * 7,
    *["COVID-19, ARDS"] * 2,
    *["Pneumonia"] * 3,
    *["Pneumonia/Bacterial/Streptococcus"] * 2,
    *["Tuberculosis", "No Finding", "No Finding", "todo"],
]
"""By patient; each has two radiographs."""


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    rows: list[dict[str, str]] = []

    def add(patient: int, name: str, finding: str, folder: str = "images", **more: str) -> None:
        known = {"patientid": str(patient), "finding": finding, "folder": folder, "filename": name}
        basic = {"modality": "X-ray", "view": "PA", "age": "60", "clinical_notes": "a, b\nand c"}
        rows.append({**basic, **known, **more})
        path = tmp_path / "collection" / folder / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            bright = 60 if "COVID" in finding else 0
            Image.fromarray(rng.integers(bright, bright + 190, (64, 64), np.uint8)).save(path)

    for patient, finding in enumerate(FINDINGS):
        for day in range(2):
            suffix = "png" if patient % 2 else "jpeg"
            add(patient, f"{patient}-day{day}.{suffix}", finding, offset=str(day))
    for patient in (0, 12):
        add(patient, f"{patient}-axial.png", FINDINGS[patient], "volumes", modality="CT")
    add(1, "1-day0.png", "Pneumonia/Viral/COVID-19, ARDS", **{"": "see above"})
    add(12, "12-day1.jpeg", "Pneumonia")
    assert len(rows) == 40

    with (tmp_path / "collection" / "metadata.csv").open("w", newline="") as file:
        file.write(HEADER + "\n")
        writer = csv.DictWriter(file, HEADER.split(","), restval="", lineterminator="\n")
        writer.writerows(rows)
    return tmp_path / "collection"


def run(*arguments: object):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_the_covid_collection_is_one_command_away_from_honest_folds(
    collection: Path, tmp_path: Path
) -> None:
    table = collection / "metadata.csv"
    small = [
        "--backbone",
        "squeezenet1_1",
        "--weights",
        "random",
        "--image-size",
        64,
        "--device",
        "cpu",
    ]
    asked = [collection, "--labels", table, "--positive", "COVID-19", "--repeated-rows", "join"]
    done = run("extract", *asked, *small, "--runtime", "torch", "--out", tmp_path / "e")
    assert done.exit_code == 0, done.output
    said = " ".join(done.output.split())
    assert "2 row(s) of another modality than X-ray left out" in said
    assert "labels of 2 image(s) that stand in several rows joined" in said
    assert "36 row(s) joined by the file name alone" not in said  # rows, not images
    assert "38 row(s) joined by the file name alone" in said
    assert "'COVID-19' against the rest: 18 image(s) with it" in said

    (path,) = (tmp_path / "e").glob("*.h5")
    with cxrfeat.load(path) as embeddings:
        assert len(embeddings) == 36
        assert embeddings.classes == ["not COVID-19", "COVID-19"]
        known = embeddings.labels[~np.isnan(embeddings.labels).any(axis=1)]
        assert known.sum(axis=0).tolist() == [16, 18]
        patients = [id_.split("/")[1].split("-")[0] for id_ in embeddings.ids]
        assert embeddings.groups is not None
        assert embeddings.groups.tolist() == patients
        assert set(embeddings.meta) == {"group", "view", "age", "sex", "location"}

    fitted = run(
        *("fit", tmp_path / "e", "--head", "lda", "--cv", 2, "--no-report"),
        *("--out", tmp_path / "run"),
    )
    assert fitted.exit_code == 0, fitted.output
    assert "no patient column" not in fitted.output
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["classes"] == ["not COVID-19", "COVID-19"]


def test_repeated_rows_of_the_collection_are_named_and_others_can_be_chosen(
    collection: Path,
) -> None:
    asked = ["dataset", collection / "metadata.csv", "--positive", "COVID-19"]
    refused = run(*asked)
    assert refused.exit_code == 2
    # as a spreadsheet counts rows, whatever breaks the lines in the file
    assert "'images/1-day0.png' in rows 4 and 40" in refused.output
    assert "--repeated-rows first or join" in refused.output

    done = run(*asked, "--where", "modality=CT", "--json")
    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout)
    assert summary["images"] == 2
    assert summary["joined_by_fallback"] == {
        "0-axial.png": "volumes/0-axial.png",
        "12-axial.png": "volumes/12-axial.png",
    }
    done = run(*asked, "--where", "modality=X-ray", "--where", "age=60", "--repeated-rows", "first")
    assert done.exit_code == 0, done.output
    assert "38 of 40 rows, where modality=X-ray and age=60" in done.output
    wrong = run(*asked, "--where", "modality=MR")
    assert wrong.exit_code == 2
    assert "X-ray, CT" in wrong.output
