"""The documentation is one site that opens from a folder, without network."""

from __future__ import annotations

import ast
import html
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag

import pytest
from filelock import FileLock

import cxrfeat
from tests.test_cli import commands

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make docs` builds, once for all processes of the tests; any warning is an error."""
    root = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        root = root.parent
    folder, built = root / "site", root / "site-is-built.txt"
    with FileLock(root / "site.lock"):
        if not built.exists():
            done = subprocess.run(
                [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "docs", str(folder)],
                cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            built.touch()
    return folder


def pages(site: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted(site.rglob("*.html")):
        yield path, path.read_text(encoding="utf-8")


def test_no_link_is_broken(site: Path) -> None:
    texts = dict(pages(site))
    anchors = {path: set(re.findall(r'\bid="([^"]+)"', text)) for path, text in texts.items()}
    links = 0
    for path, text in texts.items():
        for target in re.findall(r'<a [^>]*href="([^"]+)"', text):
            place, anchor = urldefrag(html.unescape(target))
            if re.match(r"[a-z]+:", place):
                continue
            other = (path.parent / unquote(place)).resolve() if place else path
            assert other.is_file(), f"{path.name}: {target}"
            if anchor and other in anchors:
                assert unquote(anchor) in anchors[other], f"{path.name}: {target}"
            links += 1
    assert links > 500


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for path, text in pages(site):
        for tag in re.findall(r"<(?:script|link|img)\b[^>]*>", text):
            source = re.search(r'(?:src|href)="([^"]+)"', tag)
            if source and 'rel="canonical"' not in tag:
                assert not re.match(r"(https?:)?//", source[1]), f"{path.name}: {tag}"


def test_pictures_are_those_that_the_script_makes_and_each_is_told_in_words() -> None:
    script = ast.parse((ROOT / "docs/pictures.py").read_text(encoding="utf-8"))
    (table,) = (
        node.value for node in script.body
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "PICTURES"
    )  # fmt: skip
    assert isinstance(table, ast.Dict)
    made = {ast.literal_eval(key) for key in table.keys if key is not None}
    shown = [
        (words, path.parent / place)
        for path in (ROOT / "docs").rglob("*.md")
        for words, place in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", path.read_text("utf-8"))
    ]
    folder = ROOT / "docs/_static/pictures"
    assert {place.resolve() for _, place in shown} == {folder / name for name in made}
    assert {path.name for path in folder.iterdir()} == made
    assert all(len(words) > 40 for words, _ in shown)
    assert sum(path.stat().st_size for path in folder.iterdir()) < 600_000


def test_every_command_and_option_is_in_the_reference(site: Path) -> None:
    text = html.unescape(re.sub(r"<[^>]+>", "", (site / "reference/commands.html").read_text()))
    for name, command in commands().items():
        assert f"cxrfeat {name}" in text
        for option in command.params:
            assert max(option.opts, key=len) in text or option.param_type_name == "argument"


def test_everything_public_is_in_the_reference(site: Path) -> None:
    text = (site / "reference/python.html").read_text()
    missing = [name for name in cxrfeat.__all__ if f"cxrfeat.{name}" not in text]
    assert set(missing) <= {"__version__"}


def test_pages_named_in_the_texts_are_links(site: Path) -> None:
    for path, text in pages(site):
        assert not re.search(r"<code[^>]*>(<span[^>]*>)?docs/[a-z/-]+\.md", text), path.name


@pytest.mark.parametrize("width", [390, 1440])
def test_pages_are_readable_without_network_and_search_finds(
    site: Path, browser: Any, width: int
) -> None:
    context = browser.new_context(offline=True, viewport={"width": width, "height": 900})
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("requestfailed", lambda request: errors.append(request.url))
    for name in ("index", "reference/commands", "audit", "performance", "tutorials/index"):
        page.goto((site / f"{name}.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
    page.goto((site / "search.html").as_uri() + "?q=patient")
    page.wait_for_selector("#search-results li")
    assert "Labels and patients" in page.inner_text("#search-results")
    assert errors == []
    context.close()


def test_a_command_of_two_lines_is_copied_whole_and_without_what_it_prints(
    site: Path, browser: Any
) -> None:
    page = browser.new_page()
    page.goto((site / "tutorials/first-comparison.html").as_uri())
    page.evaluate("document.addEventListener('copy', event => window.copied = event.target.value)")
    block = page.locator("div.highlight", has_text="squeezenet1_1=random").last
    block.hover()
    block.locator("button.copybtn").click()
    first, second = page.evaluate("window.copied").splitlines()
    assert first.startswith("cxrfeat extract radiographs")
    assert first.endswith("\\")
    assert second.split() == ["--backbone", "squeezenet1_1", "--weights", "squeezenet1_1=random"]
    page.close()
