"""How a command ends: its result on stdout, an error in one line on stderr, an exit code."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import typer

from cxrfeat import display
from cxrfeat.errors import CxrfeatError, SpecMismatchError

EXIT_DONE, EXIT_SOME_FAILED, EXIT_WRONG_INPUT, EXIT_INTERRUPTED = 0, 1, 2, 130

P = ParamSpec("P")
R = TypeVar("R")


def with_exit_codes(function: Callable[P, R]) -> Callable[P, R]:
    """Turn what the library raises into one line on stderr and an exit code.

    Where JSON was asked for, the error is also on stdout, as JSON.
    """

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        display.write_what_can_be_written()
        try:
            return function(*args, **kwargs)
        except CxrfeatError as error:
            if kwargs.get("json"):
                typer.echo(display.to_json(_described(error)))
            say(f"error: {error}")
            if isinstance(error, SpecMismatchError):
                for line in error.difference:
                    say(f"  {line}")
            raise typer.Exit(EXIT_WRONG_INPUT) from None
        except KeyboardInterrupt:
            say("interrupted: everything finished is kept; the same command goes on")
            raise typer.Exit(EXIT_INTERRUPTED) from None
        except BrokenPipeError:  # `cxrfeat ... | head`
            sys.stderr.close()
            raise typer.Exit(EXIT_DONE) from None

    return run


def _described(error: CxrfeatError) -> dict[str, Any]:
    difference = error.difference if isinstance(error, SpecMismatchError) else []
    return {"error": {"kind": type(error).__name__, "message": str(error), "lines": difference}}


def say(line: str) -> None:
    """Print one line on stderr, where results are not."""
    typer.echo(line, err=True)


def show(result: Any, as_json: bool, for_people: Callable[[Any], None]) -> None:
    """Print a result on stdout: as JSON, or as `for_people` shows it."""
    if as_json:
        typer.echo(display.to_json(result))
    else:
        for_people(result)


def end_with_1_if(some_failed: object) -> None:
    """End with exit code 1 where something failed that the result lists."""
    if some_failed:
        raise typer.Exit(EXIT_SOME_FAILED)
