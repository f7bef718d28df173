"""A network of one's own, from an installed package: the example of docs/encoders.md."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

DOCUMENT = Path(__file__).parents[3] / "docs" / "encoders.md"


def example(language: str) -> str:
    (text,) = re.findall(rf"```{language}\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
    return text


def install(folder: Path, name: str, code: str, value: str, version: str = "1.0") -> None:
    """Lay a package out as an installer does."""
    (folder / f"{name}.py").write_text(code)
    about = folder / f"{name}-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (about / "entry_points.txt").write_text(f"[cxrfeat.encoders]\n{value}\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "installed").mkdir()
    (tmp_path / "images").mkdir()
    for number in range(3):
        grey = np.random.default_rng(number).integers(0, 256, (64, 64), np.uint8)
        Image.fromarray(grey).save(tmp_path / "images" / f"{number}.png")
    return tmp_path


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    package = Path(__file__).parents[3]
    path = os.pathsep.join([str(package), str(folder / "installed")])
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip


def test_the_example_has_15_lines_and_is_extracted_with(folder: Path) -> None:
    code = example("python")
    assert len(code.splitlines()) <= 15
    stated = example("toml").splitlines()[1]
    install(folder / "installed", "squares", code, stated.replace('"', ""))
    done = run(
        folder, "-m", "cxrfeat", "extract", "images", "--backbone", "own:squares", "--out", "e"
    )
    assert done.returncode == 0, done.stderr
    checked = run(
        folder, "-c",
        "import json, cxrfeat\n"
        "with cxrfeat.load('e/own-squares.h5') as file:\n"
        "    print(json.dumps([file.spec, file.ids, file.numpy().tolist()]))\n",
    )  # fmt: skip
    spec, ids, rows = json.loads(checked.stdout)
    assert spec["package"] == "squares 1.0"
    assert spec["weights"]["name"] == "built-in"
    for id_, row in zip(ids, rows, strict=True):
        grey = np.asarray(Image.open(folder / "images" / id_), np.float64) / 255
        squares = ((grey - 0.5) / 0.25).reshape(8, 8, 8, 8).transpose(0, 2, 1, 3).reshape(64, 64)
        expected = np.concatenate([squares.mean(1), squares.std(1, ddof=1)])
        np.testing.assert_allclose(row, expected, rtol=1e-4, atol=1e-5)
    listed = run(folder, "-m", "cxrfeat", "backbones", "own:", "--json")
    (entry,) = json.loads(listed.stdout)
    assert (entry["name"], entry["weights"], entry["size"]) == ("own:squares", ["built-in"], 64)
    refused = run(folder, "-m", "cxrfeat", "extract", "images", "--weights", "own:squares=random")
    assert refused.returncode == 2
    assert "makes its weights itself" in refused.stderr


@pytest.mark.slow
def test_another_version_of_a_package_is_another_extractor(folder: Path) -> None:
    install(folder / "installed", "squares", example("python"), "squares = squares:encoder")
    command = ("-m", "cxrfeat", "extract", "images", "--backbone", "own:squares", "--out", "e")
    assert run(folder, *command).returncode == 0
    about = folder / "installed" / "squares-1.0.dist-info"
    about.rename(folder / "installed" / "squares-1.1.dist-info")
    metadata = folder / "installed" / "squares-1.1.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("1.0", "1.1"))
    done = run(folder, *command)
    assert done.returncode == 2
    assert "package: squares 1.1 here, squares 1.0 there" in done.stderr


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("1 / 0", "cannot be imported (division by zero): mend broken:encoder"),
        ("encoder = 3", "is a int: broken:encoder must be a cxrfeat.Encoder"),
        (
            "import cxrfeat\nencoder = cxrfeat.Encoder(build=None, size=64, mean=[0], std=[0])",
            "needs mean and std of 1 or 3 channels",
        ),
    ],
)
def test_a_package_that_is_broken_is_named_and_hides_no_other(
    folder: Path, code: str, message: str
) -> None:
    install(folder / "installed", "broken", code, "mine = broken:encoder")
    done = run(folder, "-m", "cxrfeat", "extract", "images", "--backbone", "own:mine")
    assert done.returncode == 2
    assert message in done.stderr
    assert "of broken 1.0" in done.stderr
    listed = json.loads(run(folder, "-m", "cxrfeat", "backbones", "--json").stdout)
    assert {"vgg16", "own:mine"} <= {one["name"] for one in listed}
