"""The command line: one verb a command, the same names in Python, errors in one line."""

import builtins
import inspect
import json
import keyword
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.main import get_command

import cxrfeat
from cxrfeat.cli import app

SMALL = ["--backbone", "squeezenet1_1", "--weights", "random", "--image-size", "64"]


def run(*arguments: str, cwd: Path | None = None, **environment: str):
    """Run the command line as a user does."""
    return subprocess.run(
        [sys.executable, "-c", "from cxrfeat.cli import main; main()", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "COLUMNS": "200", **environment},
    )


def commands() -> dict:
    group = get_command(app)
    found = {}
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            found |= {f"{name} {sub}": inner for sub, inner in command.commands.items()}
        else:
            found[name] = command
    return found


def python_name(command: str) -> str:
    """What a command is called in Python, whose own words get a line at their end (PEP 8)."""
    name = command.replace(" ", "_")
    return f"{name}_" if keyword.iskeyword(name) or hasattr(builtins, name) else name


def function_of(command: str) -> Callable[..., object]:
    """The function of the same name."""
    return getattr(cxrfeat, python_name(command))


@pytest.fixture
def folder(tmp_path) -> Path:
    rng = np.random.default_rng(0)
    for number, label in enumerate(("clear", "opaque")):
        (tmp_path / "images" / label).mkdir(parents=True)
        for image in range(10):
            pixels = rng.integers(60 * number, 120 + 60 * number, (80, 80), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / label / f"{image}.png")
    return tmp_path


IN_PYTHON_ALONE = {
    *("__version__", "load", "write", "Embeddings", "CxrfeatError"),
    *("Encoder", "RadiographEmbedder", "open_extractor", "progress_bar"),
}


def test_every_command_is_a_public_function_of_the_same_name_and_no_other_is() -> None:
    names = {python_name(name) for name in commands()}
    assert names == set(cxrfeat.__all__) - IN_PYTHON_ALONE
    assert names == {function_of(name).__name__ for name in commands()}


SHOWING = {"json", "full", "help", "quiet", "verbose", "log"}
"""Options that say how a result is shown, and are none of the function that makes it."""


@pytest.mark.parametrize("name", commands())
def test_a_command_and_its_function_have_the_same_options_and_defaults(name) -> None:
    parameters = {p.name: p for p in commands()[name].params if p.name not in SHOWING}
    signature = inspect.signature(function_of(name)).parameters
    callbacks = [n for n in signature if n.endswith("progress") or n in ("warn", "planned")]
    function = {n: p for n, p in signature.items() if n not in callbacks}
    assert set(parameters) == set(function)
    for option, parameter in parameters.items():
        expected = function[option].default
        if expected is inspect.Parameter.empty:
            assert parameter.required
            continue
        given = parameter.default
        if isinstance(given, list | tuple) or isinstance(expected, list | tuple):
            expected = [expected] if isinstance(expected, str) else expected
            assert list(given or []) == list(expected or [])
        else:
            assert given == expected


def test_every_command_and_option_is_explained() -> None:
    for name, command in commands().items():
        assert command.help, name
        for parameter in command.params:
            assert parameter.name == "help" or parameter.help, f"{name} {parameter.name}"


@pytest.mark.parametrize("module", ["cxrfeat", "cxrfeat.cli"])
def test_python_m_is_the_command_line(module) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, "--version"], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"cxrfeat {cxrfeat.__version__}\n"


def test_from_a_folder_to_a_comparison(folder) -> None:
    extracted = run("extract", "images", *SMALL, cwd=folder)
    assert extracted.returncode == 0, extracted.stderr
    assert "20 of 20 images" in extracted.stderr
    assert "(control)" in extracted.stdout
    fitted = run("fit", "--head", "logreg", "--head", "dummy", cwd=folder)
    assert fitted.returncode == 0, fitted.stderr
    assert "macro AUROC" in fitted.stdout
    assert "(control)" in fitted.stdout
    assert "not for diagnosis" in fitted.stdout
    (results,) = (folder / "runs").iterdir()
    names = {"scores.csv", "predictions.csv", "splits.json", "results.json", "model.skops"}
    assert names <= {path.name for path in results.iterdir()}


def test_json_is_on_stdout_alone(folder) -> None:
    done = run("extract", "images", *SMALL, "--json", cwd=folder)
    result = json.loads(done.stdout)
    assert result["files"][0]["computed"] == 20
    again = json.loads(run("extract", "images", *SMALL, "--json", cwd=folder).stdout)
    assert (again["files"][0]["computed"], again["files"][0]["reused"]) == (0, 20)
    assert json.loads(run("backbones", "vgg1", "--json").stdout)[0]["name"] == "vgg11"


def test_a_broken_image_gives_exit_code_1_and_is_listed(folder) -> None:
    (folder / "images" / "clear" / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    done = run("extract", "images", *SMALL, cwd=folder)
    assert done.returncode == 1
    assert "clear/0.png" in done.stdout
    assert "failures.csv" in done.stdout
    assert (folder / "embeddings" / "failures.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["extract", "--backbone", "vgg91"], ["vgg91", "vgg19"]),
        (["extract", "images", "--weights", "none.pth"], ["none.pth"]),
        (["extract", "nowhere", *SMALL], ["nowhere"]),
        (["extract", "images", *SMALL, "--pool", "mean"], ["mean", "avg"]),
        (["extract", "images", *SMALL, "--path-column", "file"], ["--labels"]),
        (["extract", "images", *SMALL, "--labels", "none.csv"], ["none.csv"]),
        (["extract", "images", *SMALL, "--storage", "float8"], ["float16"]),
        (["fit"], ["embeddings"]),
        (["fit", "images"], ["images"]),
        (["verify", "images"], ["images", "folder", ".h5"]),
        (["backbones", "alxnet"], ["alexnet"]),
        (["weights", "check", "none.pth"], ["none.pth"]),
    ],
)
def test_wrong_input_is_one_line_with_the_mend_and_exit_code_2(folder, arguments, words) -> None:
    done = run(*arguments, cwd=folder)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ")
    for word in words:
        assert word in done.stderr


def test_a_typo_in_an_option_is_refused(folder) -> None:
    done = run("extract", "--backbones", "vgg16", cwd=folder)
    assert done.returncode == 2
    assert "--backbone" in done.stderr


def test_without_network_extract_ends_with_one_line_within_seconds(folder) -> None:
    proxy = "http://127.0.0.1:9"
    start = time.monotonic()
    done = run(
        *("extract", "images", "--backbone", "vgg19"),
        cwd=folder,
        TORCH_HOME=str(folder / "torch"),
        HTTPS_PROXY=proxy,
        https_proxy=proxy,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    for part in ("vgg19-dcbb9e9d.pth", "weights fetch", "--weights random", "efficientnet_lite0"):
        assert part in done.stderr
    assert time.monotonic() - start < 60  # the promise is 15 s on an idle machine


def test_a_bug_keeps_its_traceback(folder) -> None:
    code = (
        "import sys, cxrfeat.commands.backbones as verbs\n"
        "def broken(names): raise ZeroDivisionError('a bug')\n"
        "verbs.backbones = broken\n"
        "sys.argv = ['cxrfeat', 'backbones']\n"
        "from cxrfeat.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "ZeroDivisionError: a bug" in done.stderr
