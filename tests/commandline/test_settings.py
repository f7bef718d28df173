"""Options that a study repeats come from a file; the command line wins."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from cxrfeat.cli import app
from tests.evaluation.made import blobs, write_file


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    X, y = blobs(60, 6, distance=2)
    write_file(tmp_path / "e" / "net.h5", X[np.argsort(y)], np.sort(y))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, arguments)


FIT = """
embeddings = "e"
head = "lda"
cv = 3
report = false
"""


@pytest.mark.parametrize(
    ("file", "text"),
    [("cxrfeat.toml", f"[fit]\n{FIT}"), ("pyproject.toml", f"[tool.cxrfeat.fit]\n{FIT}")],
)
def test_a_file_sets_what_the_command_line_does_not_say(file: str, text: str) -> None:
    Path(file).write_text(text)
    done = run("fit", "--cv", "2")
    assert done.exit_code == 0, done.output
    said = f"from {file}: "
    (line,) = [line for line in done.stderr.splitlines() if line.startswith(said)]
    assert "head = ['lda']" in line
    assert "cv" not in line
    options = json.loads(Path("runs/fit-001/results.json").read_text())["options"]
    assert options["cv"] == 2
    assert options["head"] == ["lda"]
    assert not Path("runs/fit-001/report.html").exists()


def test_commands_of_two_words_are_a_table_in_a_table() -> None:
    Path("cxrfeat.toml").write_text('[weights.list]\nbackbone = ["vgg16"]\n')
    rows = json.loads(run("weights", "list", "--json").stdout)
    assert {row["backbone"] for row in rows} == {"vgg16"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[fit]\ncvs = 3", "unknown option of fit in cxrfeat.toml 'cvs': did you mean cv"),
        ("[fitt]\ncv = 3", "unknown command in cxrfeat.toml 'fitt': did you mean fit"),
        ("[weights.lst]\n", "unknown command in cxrfeat.toml 'weights lst': did you mean weights"),
        ("cv = 3", "'cv' stands outside of a command's table"),
        ("weights.list = 3", "'weights.list' is a command: give it a table"),
        ("[fit]\ncv = [2, 3]", "fit.cv takes one value, not a list"),
        ("[fit.cv]\na = 2", "fit.cv is a table: give it a value"),
        ("[fit\n", "the settings in cxrfeat.toml cannot be read"),
    ],
)
def test_a_file_that_is_wrong_is_one_line(text: str, message: str) -> None:
    Path("cxrfeat.toml").write_text(text)
    done = run("fit", "e")
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_help_works_whatever_the_file_says() -> None:
    Path("cxrfeat.toml").write_text("[fit\n")
    assert run("--help").exit_code == 0
