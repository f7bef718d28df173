"""Run the commands and code of the tutorials, and compare what they print with what the pages say.

A ``console`` block has commands behind ``$``, each with what it prints below it; a ``python`` block
may be followed by a ``text`` block with what it prints. Lines may be left out, with ``...`` in
their place. Numbers may differ from run to run, words may not. ``python docs/tutorial_runner.py``
runs all pages and writes the numbers of this run into them.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PAGES = sorted(path for path in (Path(__file__).parent / "tutorials").glob("*.md"))
BLOCK = re.compile(r"^```(console|python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LEFT_OUT = "..."
COLUMNS = "100"


@dataclass
class Step:
    """A command, or a block of Python, and the lines that it is said to print.

    Attributes
    ----------
    kind : "console" or "python"
    code : str
    expected : list of str
    start : int
        Of the expected lines in the page's text; -1 where there are none.
    """

    kind: str
    code: str
    expected: list[str] = field(default_factory=list)
    start: int = -1


def steps_of(text: str) -> list[Step]:
    """Read the steps of a page."""
    steps: list[Step] = []
    for block in BLOCK.finditer(text):
        kind, body, at = block[1], block[2], block.start(2)
        if kind == "python":
            steps.append(Step("python", body))
        elif kind == "text":
            if steps and steps[-1].kind == "python" and not steps[-1].expected:
                steps[-1].expected, steps[-1].start = body.splitlines(), at
        else:
            steps += _commands(body, at)
    return steps


def _commands(body: str, at: int) -> list[Step]:
    steps: list[Step] = []
    more = False
    for line in body.splitlines(keepends=True):
        at += len(line)
        text = line.rstrip("\n")
        if more:
            steps[-1].code += " " + text.strip().removesuffix("\\")
        elif text.startswith("$ "):
            steps.append(Step("console", text[2:].removesuffix("\\"), start=at))
        elif steps:
            steps[-1].expected.append(text)
            continue
        else:
            raise ValueError(f"no command before {text!r}")
        more = text.endswith("\\")
        steps[-1].start = at
    return steps


def run(step: Step, folder: Path, scope: dict[str, Any]) -> str:
    """Run a step in a folder; Python goes on with the names that the page has made."""
    if step.kind == "python":
        with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.chdir(folder):
            exec(compile(step.code, "tutorial", "exec"), scope)
        return printed.getvalue()
    words = shlex.split(step.code)
    if words[0] == "cxrfeat":
        words = [sys.executable, "-m", *words]
    elif words[0] == "python":
        words[0] = sys.executable
    done = subprocess.run(
        words, cwd=folder, capture_output=True, text=True, check=False, timeout=600,
        env={**os.environ, "COLUMNS": COLUMNS, "PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{step.code} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def matched(expected: list[str], printed: str) -> list[str]:
    """Return the expected lines with the numbers of this run.

    Raises
    ------
    LookupError
        A line was not printed, or not in this order.
    """
    lines = [line.rstrip() for line in printed.splitlines()]
    found, place = [], 0
    for line in expected:
        if line.strip() in ("", LEFT_OUT):
            found.append(line)
            continue
        while place < len(lines) and masked(lines[place]) != masked(line):
            place += 1
        if place == len(lines):
            raise LookupError(f"not printed: {line!r}; printed was\n{printed}")
        found.append(lines[place])
        place += 1
    return found


def masked(line: str) -> str:
    """Take out what may differ: numbers, and how wide the columns of a table are."""
    line = re.sub(r"[+-]?\d[\d,]*(\.\d+)?(e-?\d+)?", "#", line)
    return " ".join(re.sub("─+", "─", line).split())


def run_page(path: Path, folder: Path) -> tuple[str, int]:
    """Run a page; return its text with the numbers of this run, and how many steps there were."""
    text, scope = path.read_text(encoding="utf-8"), dict[str, Any]()
    steps = steps_of(text)
    pieces, at = [], 0
    for step in steps:
        try:
            printed = run(step, folder, scope)
            lines = matched(step.expected, printed)
        except (LookupError, RuntimeError) as error:
            raise AssertionError(f"{path.name}: {step.code}\n{error}") from None
        if step.expected:
            pieces += [text[at : step.start], "".join(f"{line}\n" for line in lines)]
            at = step.start + sum(len(line) + 1 for line in step.expected)
    return "".join([*pieces, text[at:]]), len(steps)


def main() -> None:
    """Run every page in a folder of its own and write it anew."""
    for path in PAGES:
        begun = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            text, count = run_page(path, Path(folder))
        path.write_text(text, encoding="utf-8")
        print(f"{path.name}: {count} steps, {time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
