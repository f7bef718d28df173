"""One part of the images, for one of several processes that share nothing but a folder.

An image falls to the shard that its id says and nothing else, so that every process finds its own
by itself, and again after a kill.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cxrfeat.errors import InputError
from cxrfeat.inputs import Dataset, PlaceList

SHARDS = "shards"
"""Folder of the shards' files, below that of the embeddings."""

MOST_SHARDS = 100_000


@dataclass(frozen=True)
class Shard:
    """One of several parts.

    Attributes
    ----------
    index : int
        From 0.
    count : int
    """

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``I/N``.

        Raises
        ------
        InputError
            Not two numbers, or I not one from 0 to N - 1.
        """
        parts = re.fullmatch(r"\s*([0-9]{1,9})\s*/\s*([0-9]{1,9})\s*", text)
        if parts is None:
            raise InputError(f"shard '{text}': write I/N, e.g. 0/8 for the first of eight")
        index, count = int(parts[1]), int(parts[2])
        if not 1 <= count <= MOST_SHARDS:
            raise InputError(f"{count} shards: use from 1 to {MOST_SHARDS:,} of them")
        if index >= count:
            raise InputError(f"shard {index} of {count}: they are counted from 0 to {count - 1}")
        return cls(index, count)

    def folder(self, out: Path) -> Path:
        """Return where its files are, below the folder of the embeddings."""
        width = max(4, len(str(self.count)))
        return out / SHARDS / f"{self.index:0{width}}-of-{self.count:0{width}}"

    def of(self, found: Dataset) -> Dataset:
        """Return its images, in their order; classes and columns stay those of all."""
        rows = [row for row, id_ in enumerate(found.ids) if shard_of(id_, self.count) == self.index]
        chosen = np.array(rows, dtype=np.int64)
        return replace(
            found,
            ids=[found.ids[row] for row in rows],
            paths=PlaceList(found.paths[row] for row in rows),
            labels=None if found.labels is None else found.labels[chosen],
            meta={name: values[chosen] for name, values in found.meta.items()},
        )


def shard_of(id: str, count: int) -> int:
    """Return which of `count` shards an image falls to: the sha256 of its id, modulo `count`.

    The id is taken in UTF-8, and the 64 hexadecimal digits of its sha256 as one number.
    """
    return int.from_bytes(hashlib.sha256(id.encode()).digest()) % count
