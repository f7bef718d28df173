"""Every option, its help and its default are said once."""

from __future__ import annotations

import ast
import inspect
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from cxrfeat import commandline, commands
from tests.test_cli import commands as every_command
from tests.test_cli import python_name

FOLDERS = [Path(package.__path__[0]) for package in (commandline, commands)]
ITS_OWN = {"--out"}
"""What a command writes is its own, and the help has to say what."""


def typed_options() -> Iterator[tuple[str, str, object, object]]:
    """Every option of every command: its command, its flag, its type in Python, and itself."""
    for name, command in every_command().items():
        typed = inspect.signature(command.callback, eval_str=True).parameters
        for parameter in command.params:
            if parameter.name in typed and parameter.param_type_name == "option":
                kind = get_args(typed[parameter.name].annotation)[0]
                yield name, parameter.opts[0], kind, parameter


def test_an_option_of_one_type_has_the_same_help_in_every_command() -> None:
    helps = defaultdict(set)
    for _, flag, kind, option in typed_options():
        helps[flag, str(kind)].add(option.help)
    assert {flag for (flag, _), texts in helps.items() if len(texts) > 1} == ITS_OWN


def test_no_two_options_have_the_same_help() -> None:
    flags = defaultdict(set)
    for _, flag, _, option in typed_options():
        flags[option.help].add(flag)
    assert [sorted(names) for names in flags.values() if len(names) > 1] == []


def test_an_option_is_below_the_same_heading_in_every_command() -> None:
    headings = defaultdict(set)
    for _, flag, _, option in typed_options():
        headings[flag].add(option.rich_help_panel)
    assert {flag: found for flag, found in headings.items() if len(found) > 1} == {}


def test_no_help_is_written_twice() -> None:
    written = [
        ast.unparse(keyword.value)
        for path in FOLDERS[0].glob("*.py")
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call)
        for keyword in call.keywords
        if keyword.arg == "help"
    ]
    assert len(written) > 50
    assert sorted({text for text in written if written.count(text) > 1}) == []


def functions() -> dict[str, ast.FunctionDef]:
    """What a user calls: the commands as they are typed, and the functions behind them."""
    names = {python_name(name) for name in every_command()}
    return {
        f"{folder.name}.{node.name}": node
        for folder in FOLDERS
        for path in folder.glob("*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name in names
    }


FUNCTIONS = functions()


def test_both_sides_of_every_command_are_looked_at() -> None:
    assert len(FUNCTIONS) == 2 * len(every_command())


@pytest.mark.parametrize("place", FUNCTIONS)
def test_a_default_is_nothing_or_has_its_one_place(place) -> None:
    """A literal such as 5 would be written on both sides, and had to be changed on both."""
    arguments = FUNCTIONS[place].args
    given = [*arguments.defaults, *filter(None, arguments.kw_defaults)]
    texts = {ast.unparse(default).strip("[]*()") for default in given} - {"None", "False", ""}
    assert [text for text in texts if not text.startswith("defaults.")] == []
