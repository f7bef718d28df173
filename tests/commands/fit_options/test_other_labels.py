"""Other labels at `fit`, out of those that the embedding files hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import cxrfeat
from cxrfeat.errors import UnknownNameError
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
