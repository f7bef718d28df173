"""Every command and block of code of the tutorials runs, and prints what the page says."""

from __future__ import annotations

import code
import os
from pathlib import Path

import pytest

from tests.scripts import load

DOCS = Path(__file__).parents[2] / "docs"


runner = load("docs/tutorial_runner.py")


@pytest.mark.parametrize("page", runner.PAGES, ids=lambda path: path.stem)
def test_a_tutorial_runs_as_it_stands(page: Path, tmp_path: Path) -> None:
    text, steps = runner.run_page(page, tmp_path)
    assert steps >= 3
    assert [runner.masked(line) for line in text.splitlines()] == [
        runner.masked(line) for line in page.read_text(encoding="utf-8").splitlines()
    ]


class Prompt(code.InteractiveConsole):
    """The prompt of Python, which reads a line at a time, and runs nothing here."""

    def runcode(self, code: object) -> None:
        """Run nothing."""

    def showsyntaxerror(self, filename: str | None = None, **more: object) -> None:
        """Do not print it."""
        raise


@pytest.mark.parametrize("page", runner.PAGES, ids=lambda path: path.stem)
def test_code_can_be_pasted_at_the_prompt_of_python(page: Path) -> None:
    """Which takes a line behind an indented block for a part of it until 3.13."""
    for step in runner.steps_of(page.read_text(encoding="utf-8")):
        if step.kind == "python":
            prompt = Prompt()
            for line in [*step.code.splitlines(), ""]:
                more = prompt.push(line)
            assert not more


def test_what_is_not_printed_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text('```python\nprint("1 image")\n```\n\n```text\n2 images\n```\n')
    with pytest.raises(AssertionError, match="not printed: '2 images'"):
        runner.run_page(page, tmp_path / "a")
    page.write_text("```console\n$ cxrfeat info none.h5\n```\n")
    with pytest.raises(AssertionError, match="ended with 2"):
        runner.run_page(page, tmp_path / "b")


def test_numbers_of_a_run_are_written_into_the_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    code = '```python\nprint("a\\n2 images in 3.5 s\\nb")\n```\n\n'
    page.write_text(f"{code}```text\n...\n1 images in 99 s\n```\nend\n")
    text, _ = runner.run_page(page, tmp_path)
    assert text.endswith("```text\n...\n2 images in 3.5 s\n```\nend\n")


def test_a_command_that_is_shown_with_an_error_must_fail_so(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```console\n$ cxrfeat info none.h5\nerror: none.h5: no such file\n```\n")
    with pytest.raises(AssertionError, match="not printed: 'error: none"):
        runner.run_page(page, tmp_path / "a")
    page.write_text("```console\n$ echo fine\nerror: nothing\n```\n")
    with pytest.raises(AssertionError, match="ended with 0"):
        runner.run_page(page, tmp_path / "b")


def test_what_a_page_sets_lasts_to_its_end_and_no_longer(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```console\n$ export COLOUR='bone bright'\n$ echo $COLOUR in $HOME\n```\n\n"
        '```python\nimport os\n\nseen = os.environ["COLOUR"], os.environ["HOME"]\nprint(*seen)\n```'
        f"\n\n```text\nbone bright {tmp_path}/here/.tutorial/home\n```\n\n"
        "```toml\n[fit]\ncv = 3\n```\n\n"
        "```console\n$ cat cxrfeat.toml\n[fit]\ncv = 3\n```\n"
    )
    _, steps = runner.run_page(page, tmp_path / "here")
    assert steps == 5
    assert "COLOUR" not in os.environ
