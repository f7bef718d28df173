"""`--help` answers at once, in groups, and fits on the narrowest screen."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from cxrfeat.commandline.running import SPEECH
from tests.test_cli import commands

HEAVY = [
    *("torch", "torchvision", "numpy", "sklearn", "scipy", "xgboost", "h5py", "PIL", "pydicom"),
    *("skops", "pyarrow", "joblib", "jinja2", "vl_convert"),
]
PROGRAM = f"""
import contextlib, io, json, sys
from cxrfeat.cli import app
shown = {{}}
for name in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as text, contextlib.suppress(SystemExit):
        app([*name.split(), "--help"], prog_name="cxrfeat")
    heavy = [module for module in {HEAVY} if module in sys.modules]
    shown[name] = {{"text": text.getvalue(), "heavy": heavy}}
print(json.dumps(shown))
"""


@pytest.fixture(scope="module")
def shown() -> dict[str, dict]:
    """The help of the program and of every command, on a screen of 80 columns."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(["", *commands()])],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, "COLUMNS": "80", "TERM": "dumb", "PYTHONIOENCODING": "utf-8"},
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", ["", *commands()])
def test_help_imports_nothing_heavy(shown, name) -> None:
    assert shown[name]["heavy"] == []
    assert f"Usage: cxrfeat {name}".strip() in shown[name]["text"]


@pytest.mark.parametrize("name", commands())
def test_every_option_is_readable_at_80_columns(shown, name) -> None:
    text = shown[name]["text"]
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "…" not in text
    for parameter in commands()[name].params:
        if parameter.param_type_name == "option":
            assert f" {max(parameter.opts, key=len)} " in text


@pytest.mark.parametrize("name", commands())
def test_the_options_of_a_long_command_are_in_groups(shown, name) -> None:
    """Those that every command has stand first, without a heading of their own."""
    options = [p for p in commands()[name].params if p.param_type_name == "option"]
    loose = [p.name for p in options if p.rich_help_panel is None]
    if len(options) > 4 + len(SPEECH):
        assert loose == ["json"]
    for heading in {p.rich_help_panel for p in options} - {None}:
        assert f"─ {heading} ─" in shown[name]["text"]


def test_the_commands_are_in_groups_in_the_order_of_the_work(shown) -> None:
    text = shown[""]["text"]
    headings = [
        *("Options", "Images and labels", "Embeddings", "Comparison", "Saved models"),
        *("Networks and this machine", "Questions"),
    ]
    assert [line.split("─ ")[1].split(" ─")[0] for line in text.splitlines() if "╭─" in line] == (
        headings
    )
    assert "not for diagnosis" in " ".join(text.split())
