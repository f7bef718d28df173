"""`help`: a short page behind a message."""

from __future__ import annotations

from typing import Annotated

import typer

from cxrfeat import display
from cxrfeat.commandline import options
from cxrfeat.commandline.running import show


def help_(
    topic: Annotated[
        str | None,
        typer.Argument(help="A topic, or a code such as control-not-beaten.  [default: list them]"),
    ] = None,
    json: options.Json = False,
) -> None:
    """Say more about a message: what it means, and what to do.

    Topics are named by messages; codes are those of findings, audits and failed images.
    """
    from cxrfeat.commands.help_ import help_ as verb

    found = verb(topic)
    show(found, json, display.topics if topic is None else display.topic)
