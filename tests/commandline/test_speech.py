"""How much a command says, and the log that it keeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from cxrfeat.cli import app
from tests.evaluation.made import blobs, write_file

FIT = ("fit", "e", "--head", "lda", "--cv", "2", "--no-report")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    X, y = blobs(40, 6, distance=2)
    write_file(tmp_path / "e" / "net.h5", X[np.argsort(y)], np.sort(y))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, arguments)


def logged(path: str = "log") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def test_quiet_says_nothing_but_errors_and_what_was_asked_for_as_json() -> None:
    done = run(*FIT, "--quiet")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "")
    assert Path("runs/fit-001/results.json").is_file()
    asked = run("info", "e/net.h5", "-q", "--json")
    assert json.loads(asked.stdout)["rows"] == 40
    wrong = run("info", "none.h5", "-q")
    assert wrong.exit_code == 2
    assert wrong.stderr.startswith("error: there is no file")


def test_verbose_tells_every_piece_and_where_an_error_arose() -> None:
    assert run(*FIT).stderr.count("net fold") == 1  # the last one
    assert run(*FIT, "-v", "--fresh").stderr.count("net fold") == 2
    said = run("info", "none.h5", "--verbose").stderr
    assert "Traceback" in said
    assert said.splitlines()[-1].startswith("error: there is no file")
    assert "Traceback" not in run("info", "none.h5").stderr


def test_quiet_and_verbose_exclude_each_other() -> None:
    done = run("info", "e/net.h5", "-q", "-v")
    assert done.exit_code == 2
    assert done.stderr == "error: --quiet and --verbose exclude each other: leave one out\n"


def test_a_log_has_what_was_asked_what_happened_and_how_it_ended() -> None:
    done = run(*FIT, "--log", "log", "-q")
    assert done.exit_code == 0, done.stderr
    first, *between, last = logged()
    assert first["event"] == "start"
    assert first["command"].endswith("fit")
    assert (first["options"]["cv"], first["options"]["head"]) == (2, ["lda"])
    assert first["time"].endswith("Z")
    assert {"progress", "note"} == {line["event"] for line in between}
    progress = [line for line in between if line["event"] == "progress"][-1]
    assert progress["done"] == progress["total"] > 0
    assert (last["event"], last["code"]) == ("end", 0)


def test_a_log_is_added_to_and_has_errors_of_every_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("info", "none.h5", "--log", "log").exit_code == 2
    monkeypatch.setattr("cxrfeat.store.describe", lambda path: 1 / 0)
    broken = run("info", "e/net.h5", "--log", "log")
    assert isinstance(broken.exception, ZeroDivisionError)  # a bug keeps its traceback
    assert [(line["event"], line.get("kind"), line.get("code")) for line in logged()] == [
        ("start", None, None),
        ("error", "FileFormatError", None),
        ("end", None, 2),
        ("start", None, None),
        ("error", "ZeroDivisionError", None),
        ("end", None, 1),
    ]


def test_a_log_that_cannot_be_written_is_said_before_anything_is_done() -> None:
    done = run(*FIT, "--log", "e/none/log")
    assert done.exit_code == 2
    assert done.stderr.startswith("error: the log 'e/none/log' cannot be written")
    assert not Path("runs").exists()
