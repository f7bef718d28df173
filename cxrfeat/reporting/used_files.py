"""Which embedding files a run used, and how they were made."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from cxrfeat import store
from cxrfeat.evaluation.study.study import is_control
from cxrfeat.results import EmbeddingFile


def used_files(paths: Sequence[Path], run: Path, *, outside: bool = False) -> list[EmbeddingFile]:
    """Describe embedding files, without reading embeddings.

    Parameters
    ----------
    paths
    run
        The run's folder: paths are written relative to it, so that both can move together.
    outside
        Whether they are the outside test set.
    """
    return [_used_file(path, run, outside) for path in paths]


def _used_file(path: Path, run: Path, outside: bool) -> EmbeddingFile:
    with store.load(path) as e:
        failed = np.flatnonzero((e.status == store.FAILED) & ~e.gone)
        return EmbeddingFile(
            name=e.name,
            path=_relative(path, run),
            outside=outside,
            rows=len(e),
            done=int(np.count_nonzero(e.done)),
            pending=int(np.count_nonzero((e.status == store.PENDING) & ~e.gone)),
            failures=dict(Counter(e.errors[row].partition(":")[0] for row in failed).most_common()),
            gone=int(np.count_nonzero(e.gone)),
            dimension=e.dimension,
            control=is_control(e.spec),
            fingerprint=e.fingerprint,
            spec=e.spec,
            environment=e.environment,
            origins=[asdict(origin) for origin in e.origins()],
            created=e.created,
        )


def _relative(path: Path, run: Path) -> str:
    try:
        return Path(os.path.relpath(path, run)).as_posix()
    except ValueError:  # on another drive
        return path.absolute().as_posix()
