"""`shards ...`: several processes that share a folder, and one file in the end."""

from __future__ import annotations

from typing import Annotated

import typer

from cxrfeat import defaults, display
from cxrfeat.commandline import options
from cxrfeat.commandline.running import end_with_1_if, show

Out = Annotated[str, typer.Argument(help="Folder that `extract --out` was given.")]


def shards_status(out: Out = defaults.EMBEDDINGS, json: options.Json = False) -> None:
    """Say which shards are complete, and which are still to be run.

    Exit code 1 means that some are; they are listed as --array= of Slurm takes them.
    """
    from cxrfeat.commands.shards import shards_status as verb

    found = verb(out)
    show(found, json, display.shards)
    end_with_1_if(not found.complete)


def shards_merge(
    out: Out = defaults.EMBEDDINGS,
    partial: Annotated[
        bool, typer.Option("--partial", help="Leave out shards that are not there yet.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Make one file per extractor out of its shards, as one run over all images would have.

    Exit code 1 means: done, but some images failed; they are listed.
    """
    from cxrfeat.commands.shards import shards_merge as verb

    result = verb(out, partial=partial)
    show(result, json, display.merged_shards)
    end_with_1_if(result.failures)
