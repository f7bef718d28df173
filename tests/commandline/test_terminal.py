"""What a person at a terminal sees first, and what a pipe, a log and an old locale get."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cxrfeat
from cxrfeat import display
from cxrfeat.results import Finding, FitResult
from tests.evaluation.made import blobs, write_file
from tests.test_cli import run

HEADS = ["logreg", "linear_svm", "lda", "knn"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("terminal")
    for number in range(3):
        X, y = blobs(60, 8, distance=1.5 + number, seed=number)
        write_file(folder / "e" / f"net{number}.h5", X[np.argsort(y)], np.sort(y))
    return folder


@pytest.fixture(scope="module")
def result(folder: Path) -> FitResult:
    return cxrfeat.fit(folder / "e", head=HEADS, cv=3, report=False, out=folder / "run", jobs=1)


def printed(capsys: pytest.CaptureFixture[str], result: FitResult, **options: Any) -> str:
    display.comparison(result, **options)
    return capsys.readouterr().out


def test_the_extractors_come_first_then_the_ten_best_rows(capsys, result: FitResult) -> None:
    said = printed(capsys, result)
    assert said.startswith("Extractors, the head chosen inside the training images of each fold:")
    ranking = said.split("macro AUROC")[1].split("mean ±")[0]
    assert sum(line.strip().startswith("net") for line in ranking.splitlines()) == 10
    assert "... and 2 more (--full shows them" in ranking
    whole = printed(capsys, result, full=True)
    ranking = whole.split("macro AUROC")[1].split("mean ±")[0]
    assert sum(line.strip().startswith("net") for line in ranking.splitlines()) == 12
    assert said.count(" with ") < whole.count(" with ")  # one class table, and three


def test_findings_of_one_kind_are_one_line(capsys, result: FitResult) -> None:
    rare = [Finding("label-too-rare", f"label {n} has 3 images") for n in range(10)]
    many = replace(result, findings=rare)
    said = printed(capsys, many)
    assert "[label-too-rare] label 0 has 3 images (and 9 more of this kind: --full)" in said
    assert "label 1" not in said
    assert printed(capsys, many, full=True).count("[label-too-rare]") == 10


def test_a_pipe_keeps_to_the_columns_it_is_told(capsys, monkeypatch, result: FitResult) -> None:
    monkeypatch.setenv("COLUMNS", "70")
    assert max(map(len, printed(capsys, result).splitlines())) <= 70
    monkeypatch.setenv("COLUMNS", "many")
    assert 70 < max(map(len, printed(capsys, result).splitlines())) <= 120


def test_signs_that_a_locale_has_not_are_written_otherwise(monkeypatch, result: FitResult) -> None:
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding="ascii")
    monkeypatch.setattr("sys.stdout", stream)
    display.write_what_can_be_written()
    display.comparison(result)
    print("Müller")
    stream.flush()
    assert b" +- " in written.getvalue()
    assert b"M?ller" in written.getvalue()
    assert json.loads(display.to_json({"name": "Müller"})) == {"name": "Müller"}
    assert display.to_json({"name": "Müller"}).isascii()


def test_a_comparison_runs_in_the_plainest_locale(folder: Path) -> None:
    plainest = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = run("fit", "e", "--head", "lda", "--no-report", cwd=folder, **plainest)
    assert done.returncode == 0, done.stderr
    assert " +- " in done.stdout


def test_an_error_is_json_too_where_json_was_asked_for(tmp_path: Path) -> None:
    done = run("info", "none.h5", "--json", cwd=tmp_path)
    assert done.returncode == 2
    error = json.loads(done.stdout)["error"]
    assert error["kind"] == "FileFormatError"
    assert done.stderr == f"error: {error['message']}\n"
