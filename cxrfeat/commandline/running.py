"""How a command ends: its result on stdout, an error in one line on stderr, an exit code."""

from __future__ import annotations

import functools
import inspect
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import typer

from cxrfeat import display
from cxrfeat.commandline import options
from cxrfeat.errors import CxrfeatError, SpecMismatchError
from cxrfeat.version import __version__

EXIT_DONE, EXIT_SOME_FAILED, EXIT_WRONG_INPUT, EXIT_INTERRUPTED = 0, 1, 2, 130

R = TypeVar("R")

SPEECH = {"quiet": options.Quiet, "verbose": options.Verbose, "log": options.Log}
"""Options that every command has, and their defaults in this order: no, no, none."""


def as_command(function: Callable[..., R]) -> Callable[..., R]:
    """Make a command of a function: with `SPEECH`, and what the library raises as an exit code."""

    @functools.wraps(function)
    def run(**kwargs: Any) -> R:
        context: typer.Context = kwargs.pop("context")
        asked = {name: kwargs.pop(name) for name in SPEECH}
        with (
            exit_codes(as_json=kwargs.get("json", False)),
            display.speaking(**asked) as said,
            _told(said, context),
        ):
            return function(**kwargs)

    own = inspect.signature(function, eval_str=True)
    added = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, annotation=kind,
            default=None if name == "log" else False,
        )
        for name, kind in SPEECH.items()
    ]  # fmt: skip
    context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    run.__signature__ = own.replace(  # type: ignore[attr-defined]  # what typer reads
        parameters=[*own.parameters.values(), *added, context]
    )
    run.__annotations__ = {**function.__annotations__, **SPEECH, "context": typer.Context}
    return run


@contextmanager
def exit_codes(*, as_json: bool = False) -> Iterator[None]:
    """Turn what the library raises into one line on stderr and an exit code.

    Where JSON was asked for, the error is also on stdout, as JSON.
    """
    display.write_what_can_be_written()
    try:
        yield
    except CxrfeatError as error:
        if as_json:
            typer.echo(display.to_json(_described(error)))
        print_error(f"error: {error}")
        if isinstance(error, SpecMismatchError):
            for line in error.difference:
                print_error(f"  {line}")
        raise typer.Exit(EXIT_WRONG_INPUT) from None
    except KeyboardInterrupt:
        print_error("interrupted: everything finished is kept; the same command goes on")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except BrokenPipeError:  # `cxrfeat ... | head`
        sys.stderr.close()
        raise typer.Exit(EXIT_DONE) from None


@contextmanager
def _told(said: display.Speech, context: typer.Context) -> Iterator[None]:
    """Log what a command began with and how it ended; say what the file of settings decided."""
    from_file = [
        name
        for name in context.params
        if getattr(context.get_parameter_source(name), "name", "") == "DEFAULT_MAP"
    ]
    settings = context.find_root().obj
    if from_file:
        told = ", ".join(f"{name.replace('_', '-')} = {context.params[name]}" for name in from_file)
        say(f"from {settings}: {told}")
    said.log(
        "start", cxrfeat=__version__, command=context.command_path, options=context.params,
        settings=dict.fromkeys(from_file, settings),
    )  # fmt: skip
    begun, code = time.monotonic(), EXIT_DONE
    try:
        yield
    except CxrfeatError as error:
        code = EXIT_WRONG_INPUT
        said.log("error", **_described(error)["error"])
        if said.verbose:
            traceback.print_exc()
        raise
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
        raise
    except typer.Exit as end:
        code = end.exit_code
        raise
    except BaseException as error:
        code = 1
        said.log("error", kind=type(error).__name__, message=str(error))
        raise
    finally:
        said.log("end", code=code, seconds=round(time.monotonic() - begun, 3))


def _described(error: CxrfeatError) -> dict[str, Any]:
    difference = error.difference if isinstance(error, SpecMismatchError) else []
    return {"error": {"kind": type(error).__name__, "message": str(error), "lines": difference}}


def say(line: str) -> None:
    """Print one line on stderr, where results are not, unless that is to be quiet."""
    if not display.speech().quiet:
        print_error(line)


def print_error(line: str) -> None:
    """Print one line on stderr, whatever was asked for."""
    typer.echo(line, err=True)


def show(result: Any, as_json: bool, for_people: Callable[[Any], None]) -> None:
    """Print a result on stdout: as JSON, or as `for_people` shows it; log what it notes."""
    said = display.speech()
    for note in getattr(result, "notes", ()):
        said.log("note", text=note)
    if as_json:
        typer.echo(display.to_json(result))
    elif not said.quiet:
        for_people(result)
    took = getattr(result, "steps", None)
    if said.verbose and took:
        say(display.steps(took))


def end_with_1_if(some_failed: object) -> None:
    """End with exit code 1 where something failed that the result lists."""
    if some_failed:
        raise typer.Exit(EXIT_SOME_FAILED)
