"""What became of each shard, by its files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal

import numpy as np

from cxrfeat import store
from cxrfeat.errors import FileFormatError
from cxrfeat.extraction.shard_plan import ShardPlan
from cxrfeat.extraction.shards import Shard, shard_of

ShardStatus = Literal["complete", "incomplete", "missing", "unusable"]


@dataclass(frozen=True)
class ShardState:
    """What became of one shard of one extractor.

    Attributes
    ----------
    shard : int
    status : str
        "complete" (no image is pending; some may have failed), "incomplete", "missing" (there is
        no file), or "unusable" (damaged, or not of the plan).
    path : Path
    images, done, failed, pending : int
        Images that fall to it by the plan, and what became of them.
    why : str
        What is wrong with a file that is unusable; "" otherwise.
    """

    shard: int
    status: ShardStatus
    path: Path
    images: int
    done: int
    failed: int
    pending: int
    why: str = ""


def states_of(plan: ShardPlan, out: Path, name: str) -> list[ShardState]:
    """Look at the file of every shard of an extractor."""
    return [_state(plan, out, name, index) for index in range(plan.shards)]


def _state(plan: ShardPlan, out: Path, name: str, index: int) -> ShardState:
    path = Shard(index, plan.shards).folder(out) / f"{name}.h5"
    images = plan.images[index]
    if not path.exists():
        status: ShardStatus = "missing" if images else "complete"
        return ShardState(index, status, path, images, 0, 0, images)
    try:
        with store.load(path) as embeddings:
            why = _not_of(plan, name, index, embeddings)
            count = np.bincount(embeddings.status, minlength=3)
    except FileFormatError as error:
        return ShardState(index, "unusable", path, images, 0, 0, images, str(error))
    done, failed = int(count[store.DONE]), int(count[store.FAILED])
    pending = images - done - failed
    if why:
        return ShardState(index, "unusable", path, images, done, failed, pending, why)
    status = "incomplete" if pending else "complete"
    return ShardState(index, status, path, images, done, failed, pending)


def _not_of(plan: ShardPlan, name: str, index: int, embeddings: store.Embeddings) -> str:
    mend = "move it away and run this shard again"
    if embeddings.fingerprint != plan.fingerprint(name):
        return f"'{embeddings.path}' was made in another way than the plan says: {mend}"
    of_shard = all(shard_of(id_, plan.shards) == index for id_ in embeddings.ids)
    if not of_shard or len(embeddings) != plan.images[index]:
        return f"'{embeddings.path}' has other images than fall to this shard: {mend}"
    return ""


def as_array(indices: Iterable[int]) -> str:
    """Write indices as ``--array=`` takes them: ``3,5-7``."""
    runs = groupby(enumerate(sorted(set(indices))), key=lambda pair: pair[1] - pair[0])
    written = []
    for _, run in runs:
        members = [index for _, index in run]
        first, last = members[0], members[-1]
        written.append(str(first) if first == last else f"{first}-{last}")
    return ",".join(written)
