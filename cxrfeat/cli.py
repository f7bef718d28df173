"""The command line: every command by its name; how each is typed is in `cxrfeat.commandline`.

Results go to stdout, progress and errors to stderr. Everything heavy is imported inside the
command that needs it, so that ``cxrfeat --help`` answers at once.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, get_args

import typer

from cxrfeat.commandline import (
    comparison,
    embeddings,
    inputs,
    machine,
    models,
    questions,
    shards,
)
from cxrfeat.commandline.running import as_command, exit_codes
from cxrfeat.commandline.settings import file_here, read_settings
from cxrfeat.version import __version__

COMMANDS: dict[str, dict[str, Callable[..., None]]] = {
    "Images and labels": {"dataset": inputs.dataset, "inspect": inputs.inspect},
    "Embeddings": {
        "extract": embeddings.extract,
        "info": embeddings.info,
        "verify": embeddings.verify,
        "merge": embeddings.merge,
        "export": embeddings.export,
        "import": embeddings.import_,
        "shards status": shards.shards_status,
        "shards merge": shards.shards_merge,
        "shards script": shards.shards_script,
    },
    "Comparison": {
        "fit": comparison.fit,
        "audit": comparison.audit,
        "report": comparison.report,
        "demo": comparison.demo,
    },
    "Saved models": {
        "predict": models.predict,
        "explain": models.explain,
        "model info": models.model_info,
    },
    "Networks and this machine": {
        "backbones": machine.backbones,
        "weights list": machine.weights_list,
        "weights fetch": machine.weights_fetch,
        "weights add": machine.weights_add,
        "weights check": machine.weights_check,
        "weights convert": machine.weights_convert,
        "doctor": machine.doctor,
    },
    "Questions": {"help": questions.help_},
}
"""Every command as it is typed, below the heading that ``cxrfeat --help`` gives it."""

GROUPS = {
    "model": "Look into a saved model.",
    "shards": "Extract in several processes that share a folder, such as the jobs of a cluster.",
    "weights": "List, fetch, describe, check and convert weights, also without network.",
}
"""What the first word of the commands of two words is about."""


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"cxrfeat {__version__}")
        raise typer.Exit


def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Before a command, see which of its options a file sets."""
    with exit_codes():
        context.obj = file_here()
        context.default_map = read_settings(
            context.obj, {name: _takes(function) for name, function in _functions().items()}
        )


def _takes(function: Callable[..., None]) -> dict[str, bool]:
    """Name the options of a command, and whether each takes several values."""
    options = inspect.signature(function, eval_str=True).parameters.items()
    return {name: "list" in str(get_args(option.annotation)[0]) for name, option in options}


def _functions() -> dict[str, Callable[..., None]]:
    return {name: function for of in COMMANDS.values() for name, function in of.items()}


def _command_line() -> typer.Typer:
    made = typer.Typer(
        name="cxrfeat",
        help="Run frozen ImageNet backbones once over chest radiographs, keep their embeddings in "
        "HDF5, and compare the extractors honestly. For research only, not for diagnosis.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,  # a bug keeps its plain traceback
        context_settings={"help_option_names": ["-h", "--help"]},
        rich_markup_mode="markdown",
    )
    made.callback()(_root)
    groups: dict[str, typer.Typer] = {}
    for heading, commands in COMMANDS.items():
        for name, function in commands.items():
            *first, last = name.split()
            parent = made
            for word in first:
                if word not in groups:
                    groups[word] = typer.Typer(help=GROUPS[word], no_args_is_help=True)
                    made.add_typer(groups[word], name=word, rich_help_panel=heading)
                parent = groups[word]
            parent.command(last, rich_help_panel=None if first else heading)(as_command(function))
    return made


app = _command_line()


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
