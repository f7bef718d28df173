"""`shards ...`: several processes that share a folder, and one file in the end."""

from __future__ import annotations

from typing import Annotated

import typer

from cxrfeat import defaults, display
from cxrfeat.commandline import options, panels
from cxrfeat.commandline.running import end_with_1_if, show

ShardWorkers = Annotated[int, panels.running(help="Threads that each of them reads with.")]
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


def shards_script(
    arguments: Annotated[
        list[str], typer.Argument(help="What `extract` is to be given; after `--`.")
    ],
    slurm: Annotated[
        bool,
        panels.running("--slurm", help="For Slurm.  [default: for machines that share a folder]"),
    ] = False,
    shards: Annotated[int, panels.running(help="How many there are.")] = defaults.SHARDS,
    at_once: Annotated[
        int, panels.running(help="How many run at the same time (Slurm).")
    ] = defaults.SHARDS_AT_ONCE,
    workers: ShardWorkers = defaults.SHARD_WORKERS,
    memory: Annotated[
        str, panels.running(help="Of each, as sbatch --mem takes it (Slurm).")
    ] = defaults.SHARD_MEMORY,
    json: options.Json = False,
) -> None:
    """Print a script that runs all shards and merges them, to be edited: docs/cluster.md.

    cxrfeat shards script --slurm --shards 64 -- images --backbone vgg16 > shards.sh
    """
    from cxrfeat.commands.shard_script import shards_script as verb

    text = verb(
        arguments, slurm=slurm, shards=shards, at_once=at_once, workers=workers, memory=memory
    )
    show(text, json, lambda script: typer.echo(script, nl=False))
