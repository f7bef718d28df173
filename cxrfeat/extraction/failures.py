"""Failures are data: read from embedding files, and written as a table beside them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cxrfeat import store, tables


@dataclass(frozen=True)
class Failure:
    """One image that could not be used."""

    id: str
    code: str
    reason: str


def failures_in(files: Iterable[Path]) -> list[Failure]:
    """Return the failures that embedding files record, each image once, gone ones left out."""
    failures: dict[str, Failure] = {}
    for file in files:
        with store.load(file) as embeddings:
            for row in np.flatnonzero((embeddings.status == store.FAILED) & ~embeddings.gone):
                code, _, reason = embeddings.errors[row].partition(": ")
                failures.setdefault(embeddings.ids[row], Failure(embeddings.ids[row], code, reason))
    return list(failures.values())


def write_failures(path: Path, failures: list[Failure]) -> Path | None:
    """Write the table of failures, or remove the one of an earlier run that no longer holds."""
    if not failures:
        path.unlink(missing_ok=True)
        return None
    tables.write_table(
        path,
        {
            "id": [failure.id for failure in failures],
            "code": [failure.code for failure in failures],
            "reason": [failure.reason for failure in failures],
        },
    )
    return path
