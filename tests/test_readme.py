"""What the README and the pages of the documentation show works as shown."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.test_cli import commands

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {"README": README} | {
    path.stem: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))
}
"""Tutorials are not among them: tests/site runs these whole."""

IN_TEXT = ("README", "extract", "in-python", "install", "session")
"""Pages whose commands in running text are whole; others name commands by their first words."""


def shell_commands() -> list[tuple[str, list[str]]]:
    """Every `$ cxrfeat ...` of the console blocks, and every `cxrfeat ...` in running text."""
    found = []
    for name, page in PAGES.items():
        lines = []
        for block in re.findall(r"```console\n(.*?)```", page, flags=re.S):
            text = block.replace("\\\n", " ")
            lines += [line[2:] for line in text.splitlines() if line.startswith("$ ")]
        if name in IN_TEXT:
            lines += re.findall(r"`(cxrfeat [a-z][^`|]*)`", page.replace("\n", " "))
        words = [shlex.split(line, comments=True) for line in lines if line.startswith("cxrfeat")]
        found += [(name, one) for one in words]
    return found


def test_the_readme_and_the_pages_show_commands() -> None:
    pages = [name for name, _ in shell_commands()]
    assert pages.count("README") >= 6
    assert len(pages) >= 45
    assert set(IN_TEXT) <= set(pages)


@pytest.mark.parametrize(("page", "words"), shell_commands(), ids=str)
def test_every_command_of_a_page_is_one_we_take(page: str, words: list[str]) -> None:
    known = commands()
    name = " ".join(words[1:3]) if " ".join(words[1:3]) in known else words[1]
    rest = words[1 + len(name.split()) :]
    known[name].make_context(name, rest, resilient_parsing=False)


def test_the_python_of_the_page_on_python_runs(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for number, label in enumerate(("clear", "opaque")):
        (tmp_path / "images" / label).mkdir(parents=True)
        for image in range(8):
            pixels = rng.integers(70 * number, 140 + 70 * number, (64, 64), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / label / f"{image}.png")
    blocks = re.findall(r"```python\n(.*?)```", PAGES["in-python"], flags=re.S)
    assert len(blocks) == 2
    for block in blocks:
        scope: dict[str, object] = {}
        exec(block, scope)
    assert np.shape(scope["X"]) == (16, 1280)
    assert scope["classes"] == ["clear", "opaque"]
    assert scope["spec"]["weights"]["name"].startswith("imagenet")  # type: ignore[index]


def test_the_readme_is_two_screens() -> None:
    lines = README.splitlines()
    assert len(lines) <= 100
    assert max(map(len, lines)) <= 120


def test_everything_that_the_readme_links_to_is_there() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert len(links) > 15
    for link in links:
        assert (ROOT / link).is_file(), link


def test_the_picture_of_the_readme_is_small() -> None:
    (picture,) = re.findall(r"!\[[^]]+\]\(([^)]+)\)", README)
    assert (ROOT / picture).stat().st_size < 150_000
