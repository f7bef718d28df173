"""Other labels at `fit`, out of those that the embedding files hold."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

import cxrfeat
from cxrfeat.errors import InputError, UnknownNameError
from tests.evaluation.made import blobs, write_file


@pytest.fixture
def embeddings(tmp_path: Path) -> Path:
    X, y = blobs(90, 8, distance=3)
    classes = ["Pneumonia/Viral/COVID-19", "normal", "Pneumonia/Bacterial"]
    write_file(tmp_path / "e" / "net.h5", X, y, classes=classes)
    return tmp_path / "e"


def test_one_class_against_the_rest_and_other_names_need_no_new_extract(
    embeddings: Path, tmp_path: Path
) -> None:
    common = {"head": ["lda"], "cv": 3, "report": False}
    covid = cxrfeat.fit(embeddings, positive="COVID-19", out=tmp_path / "covid", **common)
    assert covid.classes == ["not COVID-19", "COVID-19"]
    assert covid.images == 90
    assert any("'COVID-19' against the rest: 30 images" in note for note in covid.notes)

    names = {"Pneumonia": "sick", "normal": "healthy"}
    merged = cxrfeat.fit(embeddings, map=names, out=tmp_path / "merged", **common)
    assert merged.classes == ["sick", "healthy"]
    written = json.loads((tmp_path / "merged" / "results.json").read_text())["options"]
    assert written["map"] == ["Pneumonia=sick", "normal=healthy"]
    again = cxrfeat.fit(embeddings, map=written["map"], out=tmp_path / "again", **common)
    assert again.ranking == merged.ranking

    dropped = cxrfeat.fit(embeddings, map="Bacterial=", out=tmp_path / "two", **common)
    assert (dropped.images, len(dropped.classes)) == (60, 2)
    with pytest.raises(UnknownNameError, match="Viral"):
        cxrfeat.fit(embeddings, positive="Virale", out=tmp_path / "none", **common)


def test_an_outside_set_gets_the_same_labels(embeddings: Path, tmp_path: Path) -> None:
    X, y = blobs(45, 8, distance=3, seed=0)
    classes = ["Pneumonia/Viral/COVID-19", "normal", "Pneumonia/Bacterial"]
    write_file(tmp_path / "o" / "net.h5", X, y, classes=classes, ids=[f"o{i}" for i in range(45)])
    result = cxrfeat.fit(
        embeddings, test=tmp_path / "o", positive="COVID-19", head=["lda"], report=False,
        out=tmp_path / "run",
    )  # fmt: skip
    assert result.classes == ["not COVID-19", "COVID-19"]


def table_of(path: Path, rows: dict[str, str]) -> Path:
    path.write_text("study file,finding\n" + "".join(f"{a},{b}\n" for a, b in rows.items()))
    return path


def test_labels_of_another_table_are_joined_to_the_files_by_id(
    embeddings: Path, tmp_path: Path
) -> None:
    """As paths on another machine, without a suffix: what does not match is listed."""
    _, y = blobs(90, 8, distance=3)
    rows = {f"D:\\study\\{i:04d}": ("a", "b", "b")[y[i]] for i in range(80)}
    table = table_of(tmp_path / "other.csv", {**rows, "D:\\study\\9999": "a"})
    common = {
        "labels": table, "path_column": "study file", "head": ["lda"], "cv": 3, "report": False,
    }  # fmt: skip
    result = cxrfeat.fit(embeddings, out=tmp_path / "run", **common)
    assert (result.images, result.classes) == (80, ["a", "b"])
    assert result.reports[0].classes[0].support == sum(y[:80] == 0)
    written = json.loads((tmp_path / "run" / "results.json").read_text())
    (joined,) = written["tables"]
    assert joined["sha256"] == hashlib.sha256(table.read_bytes()).hexdigest()
    assert (joined["images"], joined["first_rows"]) == (80, ["D:\\study\\9999"])
    assert joined["first_images"] == [f"{i:04d}.png" for i in range(80, 90)]
    assert written["options"]["labels"]["path_column"] == "study file"
    assert any(
        "80 of 90 images, not of 0080.png, 0081.png, 0082.png, ..." in n for n in result.notes
    )
    assert any("1 row(s) without their image left out" in note for note in result.notes)

    against = cxrfeat.fit(
        embeddings, positive="c", map={"b": "c"}, out=tmp_path / "against", **common
    )
    assert against.classes == ["not c", "c"]


def test_patients_of_another_table_take_the_place_of_those_of_the_files(tmp_path: Path) -> None:
    X, y = blobs(60, 8, distance=3)
    write_file(tmp_path / "e" / "net.h5", X, None, meta={"group": [str(i) for i in range(60)]})
    table = tmp_path / "t.csv"
    rows = [f"{i:04d}.png,{'abc'[y[i]]},{i // 2}\n" for i in range(60)]
    table.write_text("image,finding,patient\n" + "".join(rows))
    result = cxrfeat.fit(
        tmp_path / "e", labels=table, head=["lda"], cv=3, report=False, out=tmp_path / "run"
    )
    assert (result.images, result.patients) == (60, 30)


def test_an_outside_set_keeps_its_own_labels_or_gets_a_table_of_its_own(
    embeddings: Path, tmp_path: Path
) -> None:
    """Its ids may be those of the training images and mean others."""
    X, y = blobs(45, 8, distance=3, seed=0)
    write_file(tmp_path / "o" / "net.h5", X, y, classes=["a", "b", "c"])
    ids = {f"{i:04d}.png": "ab"[i % 2] for i in range(90)}
    table = table_of(tmp_path / "t.csv", ids)
    common = {
        "test": tmp_path / "o", "labels": table, "path_column": "study file", "head": ["lda"],
        "report": False,
    }  # fmt: skip
    with pytest.raises(InputError, match="--test has other classes"):
        cxrfeat.fit(embeddings, out=tmp_path / "no", **common)
    result = cxrfeat.fit(embeddings, test_labels=table, out=tmp_path / "run", **common)
    assert [(one.outside, one.images) for one in result.tables] == [(False, 90), (True, 45)]
    with pytest.raises(InputError, match="--test-labels needs"):
        cxrfeat.fit(embeddings, test_labels=table, out=tmp_path / "none")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"label_column": "finding"}, "--label-column names a column, but there is no table"),
        ({"labels": "t.csv"}, "--path-column, one of study file, finding"),
        ({"labels": "t.csv", "path_column": "finding"}, "name the column of ids"),
        ({"labels": "none.csv"}, "none.csv"),
    ],
)
def test_a_table_that_does_not_fit_is_said_with_the_mend(
    embeddings: Path, tmp_path: Path, monkeypatch, options: dict, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    table_of(Path("t.csv"), {"0001.png": "a"})
    with pytest.raises(InputError, match=says):
        cxrfeat.fit(embeddings, **options)
