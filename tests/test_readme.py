"""What the README shows works as shown."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.test_cli import commands

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def shell_commands() -> list[list[str]]:
    """Every `$ cxrfeat ...` of the console blocks and every `cxrfeat ...` in running text."""
    found = []
    for block in re.findall(r"```console\n(.*?)```", README, flags=re.S):
        text = block.replace("\\\n", " ")
        found += [line[2:] for line in text.splitlines() if line.startswith("$ ")]
    found += re.findall(r"`(cxrfeat [a-z][^`|]*)`", README.replace("\n", " "))
    return [shlex.split(line, comments=True) for line in found if line.startswith("cxrfeat")]


def test_the_readme_shows_commands() -> None:
    assert len(shell_commands()) >= 8


@pytest.mark.parametrize("words", shell_commands(), ids=" ".join)
def test_every_command_of_the_readme_is_one_we_take(words) -> None:
    known = commands()
    name = " ".join(words[1:3]) if " ".join(words[1:3]) in known else words[1]
    rest = words[1 + len(name.split()) :]
    known[name].make_context(name, rest, resilient_parsing=False)


def test_the_python_of_the_readme_runs(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for number, label in enumerate(("clear", "opaque")):
        (tmp_path / "images" / label).mkdir(parents=True)
        for image in range(8):
            pixels = rng.integers(70 * number, 140 + 70 * number, (64, 64), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / label / f"{image}.png")
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.S)
    assert len(blocks) == 2
    for block in blocks:
        scope: dict[str, object] = {}
        exec(block, scope)
    assert np.shape(scope["X"]) == (16, 1280)
    assert scope["classes"] == ["clear", "opaque"]
    assert scope["spec"]["weights"]["name"].startswith("imagenet")  # type: ignore[index]
