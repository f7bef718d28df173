"""Options that a study repeats, from a file: ``cxrfeat.toml`` or ``[tool.cxrfeat]``.

A table for each command, named as it is typed, with its options as they are typed, without the
dashes in front::

    [extract]
    labels = "metadata.csv"
    backbone = ["vgg16", "resnet50"]
    image-size = 320

    [fit]
    cv = 10

The command line wins. The file is looked for in the folder that the command is started in, and
nowhere else, so that what is in force is in sight; what it decides is said.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cxrfeat.errors import InputError, UnknownNameError

Options = Mapping[str, Mapping[str, bool]]

OWN, SHARED = "cxrfeat.toml", "pyproject.toml"


def file_here() -> str:
    """Name the file that settings come from; "" where there is none."""
    if Path(OWN).is_file():
        return OWN
    if Path(SHARED).is_file() and _tool(_read(SHARED)) is not None:
        return SHARED
    return ""


def read_settings(file: str, options: Options) -> dict[str, Any]:
    """Read what a file sets, by the words of a command, as click takes defaults.

    Parameters
    ----------
    file : str
        From `file_here`; "" for nothing.
    options : mapping of str to dict of str to bool
        By command, such as ``"weights fetch"``, the names of its options in Python, and whether
        each takes several values.

    Raises
    ------
    InputError
        The file cannot be read.
    UnknownNameError
        It names a command or an option that there is not.
    """
    if not file:
        return {}
    given = _read(file)
    tables = given if file == OWN else _tool(given) or {}
    settings: dict[str, Any] = {}
    for command, table in _by_command(tables, options, file):
        known = options[command]
        *first, last = command.split()
        place = settings
        for word in first:
            place = place.setdefault(word, {})
        place = place.setdefault(last, {})
        for key, value in table.items():
            name = key.replace("-", "_")
            if name not in known:
                said = [one.replace("_", "-") for one in sorted(known)]
                raise UnknownNameError(f"option of {command} in {file}", key, said)
            if isinstance(value, Mapping):
                raise InputError(f"{file}: {command}.{key} is a table: give it a value")
            several = known[name]
            if isinstance(value, list) and not several:
                raise InputError(f"{file}: {command}.{key} takes one value, not a list")
            place[name] = [value] if several and not isinstance(value, list) else value
    return settings


def _by_command(
    tables: Mapping[str, Any], options: Options, file: str
) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """Find the table of each command, of those of two words as a table in a table."""
    groups = {command.split()[0] for command in options if " " in command}
    for word, table in tables.items():
        if not isinstance(table, Mapping):
            raise InputError(
                f"{file}: '{word}' stands outside of a command's table: write it below [extract],"
                " [fit] or another command"
            )
        if word not in groups:
            _check_known(word, options, file)
            yield word, table
            continue
        for second, inner in table.items():
            _check_known(f"{word} {second}", options, file)
            if not isinstance(inner, Mapping):
                raise InputError(f"{file}: '{word}.{second}' is a command: give it a table")
            yield f"{word} {second}", inner


def _check_known(command: str, options: Options, file: str) -> None:
    if command not in options:
        raise UnknownNameError(f"command in {file}", command, options)


def _read(file: str) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"the settings in {file} cannot be read ({error})") from None


def _tool(given: Mapping[str, Any]) -> Mapping[str, Any] | None:
    tool = given.get("tool", {})
    return tool.get("cxrfeat") if isinstance(tool, Mapping) else None
