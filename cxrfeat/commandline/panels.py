"""The groups in which ``--help`` shows options: ``Annotated[int, folds(help="Folds.")]``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import typer


def _panel(title: str) -> Callable[..., Any]:
    return functools.partial(typer.Option, rich_help_panel=title)


images_and_labels = _panel("Images and labels")
networks = _panel("Networks")
embeddings = _panel("Embeddings")
heads = _panel("Heads")
folds = _panel("Folds")
scores = _panel("Scores")
maps = _panel("Maps")
output = _panel("Output")
running = _panel("Running")
machines = _panel("Several machines")
saying = _panel("What is said")
