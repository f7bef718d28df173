"""Run the commands and code of the tutorials, and compare what they print with what the pages say.

A ``console`` block has commands behind ``$``, each with what it prints below it; a ``python`` block
may be followed by a ``text`` block with what it prints, and so may an ``r`` block, which is passed
over where R or its package rhdf5 is not installed; a ``toml`` block becomes the file
``cxrfeat.toml``. Lines may be left out, with ``...`` in their place. Numbers may differ from run to
run, words may not. A command that is shown with a line ``error: ...`` must fail so, any other must
not fail. ``python docs/tutorial_runner.py`` runs all pages, or those named, and writes the numbers
of this run into them.

Everything runs in a home of its own and without network. ``export NAME=VALUE`` lasts until the end
of the page, for Python too. A plain command of cxrfeat runs within this process, as it would take
seconds to import all it needs anew; bash runs what is more than that.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import re
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1]))

from cxrfeat.cli import app  # of these sources

TUTORIALS = Path(__file__).parent / "tutorials"
PAGES = sorted(path for path in TUTORIALS.glob("*.md") if path.stem != "index")
BLOCK = re.compile(r"^```(console|python|r|text|toml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LEFT_OUT = "..."
COLUMNS = "100"
ERROR = "error: "
SETTINGS = "cxrfeat.toml"
SHELL = set("|;&<>$`~*")
ELSEWHERE = ("CXRFEAT_WEIGHTS", "CXRFEAT_PATIENT_KEY", "TORCH_HOME", "XDG_CACHE_HOME")
"""What would let a page find what is this machine's own."""
NOWHERE = "http://127.0.0.1:9"
"""A proxy that is not there, so that no page needs the network."""


@dataclass
class Step:
    """A command, a block of Python or a file of settings, and the lines that it is said to print.

    Attributes
    ----------
    kind : "console", "python", "r" or "settings"
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
        if kind in ("python", "r"):
            steps.append(Step(kind, body))
        elif kind == "toml":
            steps.append(Step("settings", body))
        elif kind == "text":
            if steps and steps[-1].kind in ("python", "r") and not steps[-1].expected:
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


class Place:
    """A folder in which the commands and the code of a page run, one after the other.

    Parameters
    ----------
    folder : Path
        What is not the page's own lies in it below ``.tutorial``: a home, and what ``cxrfeat`` and
        ``python`` are here.
    """

    def __init__(self, folder: Path) -> None:
        own = folder / ".tutorial"
        (own / "home").mkdir(parents=True)
        (own / "bin").mkdir()
        for name, words in (("python", ""), ("cxrfeat", " -m cxrfeat")):
            path = own / "bin" / name
            path.write_text(f'#!/bin/sh\nexec "{sys.executable}"{words} "$@"\n')
            path.chmod(0o755)
        self.folder = folder
        self.scope: dict[str, Any] = {}
        self.environment = {
            **{name: value for name, value in os.environ.items() if name not in ELSEWHERE},
            "COLUMNS": COLUMNS,
            "HOME": str(own / "home"),
            "XDG_CONFIG_HOME": str(own / "home" / ".config"),
            "PATH": f"{own / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(Path(__file__).parents[1]),
            **dict.fromkeys(("http_proxy", "https_proxy"), NOWHERE),
        }

    def run(self, step: Step) -> str:
        """Run a step and return what it printed.

        Raises
        ------
        RuntimeError
            It failed and should not have, or the other way round.
        """
        if step.kind == "python":
            return self._python(step.code)
        if step.kind == "r":
            (self.folder / ".tutorial" / "step.R").write_text(step.code, encoding="utf-8")
            return self._checked(step, *self._shell("Rscript .tutorial/step.R"))
        if step.kind == "settings":
            (self.folder / SETTINGS).write_text(step.code, encoding="utf-8")
            return ""
        if step.code.startswith("export "):
            name, _, value = shlex.split(step.code)[1].partition("=")
            self.environment[name] = value
            return ""
        plain = step.code.startswith("cxrfeat ") and not SHELL & set(step.code)
        return self._checked(step, *(self._command if plain else self._shell)(step.code))

    def _checked(self, step: Step, code: int, printed: str, said: str) -> str:
        to_fail = any(line.startswith(ERROR) for line in step.expected)
        if bool(code) != to_fail:
            raise RuntimeError(f"{step.code} ended with {code}:\n{printed}{said}")
        return printed + said if to_fail else said + printed  # as on a terminal

    def _shell(self, code: str) -> tuple[int, str, str]:
        done = subprocess.run(
            ["bash", "-c", code], cwd=self.folder, env=self.environment,
            capture_output=True, text=True, check=False, timeout=600,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    def _command(self, code: str) -> tuple[int, str, str]:
        with self._here():
            done = CliRunner().invoke(app, shlex.split(code)[1:])
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.exit_code, done.stdout, done.stderr

    def _python(self, code: str) -> str:
        with self._here(), contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(code, "tutorial", "exec"), self.scope)
        return printed.getvalue()

    @contextlib.contextmanager
    def _here(self) -> Iterator[None]:
        before = dict(os.environ)
        os.environ.clear()
        os.environ.update(self.environment)
        try:
            with contextlib.chdir(self.folder):
                yield
        finally:
            os.environ.clear()
            os.environ.update(before)


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
    text, place = path.read_text(encoding="utf-8"), Place(folder)
    steps = steps_of(text)
    pieces, at = [], 0
    for step in steps:
        if step.kind == "r" and not r_is_here():
            continue
        try:
            printed = place.run(step)
            lines = matched(step.expected, printed)
        except (LookupError, RuntimeError) as error:
            raise AssertionError(f"{path.name}: {step.code}\n{error}") from None
        if step.expected:
            pieces += [text[at : step.start], "".join(f"{line}\n" for line in lines)]
            at = step.start + sum(len(line) + 1 for line in step.expected)
    return "".join([*pieces, text[at:]]), len(steps)


@functools.cache
def r_is_here() -> bool:
    """Say whether R is installed, with the package that reads HDF5."""
    if shutil.which("Rscript") is None:
        return False
    asked = ["Rscript", "-e", 'quit(status = !requireNamespace("rhdf5", quietly = TRUE))']
    return subprocess.run(asked, capture_output=True, check=False).returncode == 0


def processor_seconds() -> float:
    """Of this process, and of all those that it started and that have ended."""
    of = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in of)


def main(names: list[str]) -> None:
    """Run pages, each in a folder of its own, and write them anew."""
    for path in PAGES:
        if names and path.stem not in names:
            continue
        begun = processor_seconds()
        with tempfile.TemporaryDirectory() as folder:
            text, count = run_page(path, Path(folder))
        path.write_text(text, encoding="utf-8")
        print(f"{path.name}: {count} steps, {processor_seconds() - begun:.0f} processor seconds")


if __name__ == "__main__":
    main(sys.argv[1:])
