"""What `shards` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxrfeat.display.extraction import failed
from cxrfeat.display.screen import console, table

if TYPE_CHECKING:
    from cxrfeat.commands.shards import ShardsMerge, ShardsStatus


def shards(result: ShardsStatus) -> None:
    """Print what became of the shards of a folder."""
    screen = console()
    screen.print(f"{result.shards} shards of {result.images} images in {result.out}")
    shown = table(
        *("extractor", "complete", "incomplete", "missing", "unusable", "done", "failed"),
        "pending",
        right=1,
    )
    for one in result.extractors:
        counts = (one.complete, one.incomplete, one.missing, one.unusable)
        images = (one.done, one.failed, one.pending)
        shown.add_row(one.name, *(str(count) for count in (*counts, *images)))
    screen.print(shown)
    for one in result.extractors:
        for state in one.shards:
            if state.why:
                screen.print(f"{one.name}, shard {state.shard}: {state.why}")
    if result.complete:
        screen.print(f"all shards are complete: cxrfeat shards merge {result.out}")
    else:
        screen.print(f"still to be run: --array={result.array}")


def merged_shards(result: ShardsMerge) -> None:
    """Print what `shards merge` made."""
    screen = console()
    for file in result.files:
        counts = f"{file.rows} rows: {file.done} done, {file.pending} pending, {file.failed} failed"
        if file.unchanged:
            screen.print(f"{file.path}: has all rows of its shards already; left as it is")
        else:
            screen.print(f"{file.path}: {counts}, from {len(file.sources)} shards")
        if file.path.stem in result.left_out:
            screen.print(f"{file.path}: left out are shards {result.left_out[file.path.stem]}")
        for note in file.notes:
            screen.print(note)
    if result.failures:
        failed(result, screen)
