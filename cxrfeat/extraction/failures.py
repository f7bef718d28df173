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
    failures: list[Failure] = []
    for file in files:
        with store.load(file) as embeddings:
            failures += failures_of(embeddings)
    return each_once(failures)


def failures_of(embeddings: store.Embeddings) -> list[Failure]:
    """Return the failures that one file records, those of images that are gone left out."""
    rows = np.flatnonzero((embeddings.status == store.FAILED) & ~embeddings.gone)
    failures = []
    for row, error in zip(rows.tolist(), embeddings.errors_of(rows), strict=True):
        code, _, reason = error.partition(": ")
        failures.append(Failure(embeddings.ids[row], code, reason))
    return failures


def each_once(failures: Iterable[Failure]) -> list[Failure]:
    """Leave out what came before of the same image."""
    first: dict[str, Failure] = {}
    for failure in failures:
        first.setdefault(failure.id, failure)
    return list(first.values())


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
