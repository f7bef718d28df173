"""The reference of the command line, written out of the commands themselves."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import typer.main

from cxrfeat.cli import COMMANDS, app
from cxrfeat.commandline.running import SPEECH

HEAD = """# Commands

Every command, as `cxrfeat COMMAND --help` prints it. Each is also a function of the same name in
Python ({doc}`python`). All take `--quiet`, `--verbose` and `--log FILE` ({doc}`/command-line`).
"""


def write(path: Path) -> None:
    """Write the page, unless it is as it should be."""
    text = HEAD + "".join(
        f"\n## {heading}\n" + "".join(_command(name) for name in names)
        for heading, names in COMMANDS.items()
    )
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        new = path.with_name(f".{path.name}.{os.getpid()}")
        new.write_text(text, encoding="utf-8")
        os.replace(new, path)  # at once: another build may be reading it


def _find(name: str) -> Any:
    found: Any = typer.main.get_command(app)
    for word in name.split():
        found = found.commands[word]
    return found


def _command(name: str) -> str:
    command = _find(name)
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [
        p for p in command.params
        if p.param_type_name == "option" and p.name not in SPEECH and p.name != "help"
    ]  # fmt: skip
    usage = " ".join(
        [f"cxrfeat {name}", *("[OPTIONS]" for _ in options[:1]), *map(_named, arguments)]
    )
    parts = [
        f"\n### `cxrfeat {name}`\n",
        f"```console\n$ {usage}\n```\n",
        f"{command.help.strip()}\n",
    ]
    rows = [(f"`{_named(p)}`", p.help) for p in arguments]
    rows += [(", ".join(f"`{flag}`" for flag in _flags(p)), _help(p)) for p in options]
    if rows:
        parts.append(
            "| option | what |\n|---|---|\n" + "".join(f"| {a} | {_cell(b)} |\n" for a, b in rows)
        )
    return "\n".join(parts)


def _named(argument: Any) -> str:
    text = argument.name.upper()
    return text + ("..." if argument.nargs == -1 else "")


def _flags(option: Any) -> list[str]:
    flags = sorted(option.opts, key=len, reverse=True)
    if option.is_flag and option.secondary_opts:
        flags += option.secondary_opts
    return flags


def _help(option: Any) -> str:
    text = " ".join((option.help or "").split())
    default = option.default
    if "[default:" in text or option.is_flag or default in (None, [], (), ""):
        return text
    shown = ", ".join(map(str, default)) if isinstance(default, list | tuple) else str(default)
    return f"{text} [default: {shown}]"


def _cell(text: str) -> str:
    return (text or "").replace("|", "\\|").replace("[default:", "*default:*").rstrip("]")
