"""Embeddings whose truth is known, and files of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cxrfeat.evaluation.heads.standardised_fold import SharedFold
from cxrfeat.inputs import Dataset
from cxrfeat.store import open_writer

CLASSES = ["clear", "opaque", "streaked"]


def blobs(
    n: int, dimension: int, *, distance: float, seed: int = 0, n_classes: int = 3
) -> tuple[np.ndarray, np.ndarray]:
    """Rows around one centre per class, on channels of very different scale, as in real ones."""
    random = np.random.default_rng(seed)
    y = np.arange(n) % n_classes
    centres = random.normal(size=(n_classes, dimension)) * distance / np.sqrt(dimension)
    X = centres[y] + random.normal(size=(n, dimension))
    X = X * np.exp(random.normal(size=dimension)) + random.normal(size=dimension)
    order = random.permutation(n)
    return X[order].astype(np.float32), y[order]


def first_rows(X: np.ndarray, n_train: int, widths: Sequence[int] = ()) -> SharedFold:
    """Learn from the first rows, score the others."""
    return SharedFold(X, np.arange(n_train), np.arange(n_train, len(X)), widths)


def write_file(
    path: Path,
    X: np.ndarray,
    y: np.ndarray | None,
    *,
    ids: Sequence[str] | None = None,
    classes: Sequence[str] = CLASSES,
    weights: str = "IMAGENET1K_V1",
    meta: Mapping[str, Sequence[str]] | None = None,
    pending: Sequence[str] = (),
    sha: Mapping[str, str] | None = None,
    **options: Any,
) -> Path:
    """Write an embedding file anew; `y` are classes, or a label matrix, or None."""
    path.unlink(missing_ok=True)
    names = list(ids) if ids is not None else [f"{i:04d}.png" for i in range(len(X))]
    labels = None
    if y is not None:
        labels = np.asarray(y, dtype=np.float32)
        labels = np.eye(len(classes), dtype=np.float32)[np.asarray(y)] if y.ndim == 1 else labels
    dataset = Dataset(
        ids=names,
        paths=[Path(name) for name in names],
        classes=list(classes) if y is not None else [],
        labels=labels,
        meta={column: np.array(values, str) for column, values in (meta or {}).items()},
        **options,
    )
    spec = {"backbone": path.stem, "weights": {"name": weights}}
    done = [name for name in names if name not in pending]
    rows = [row for row, name in enumerate(names) if name not in pending]
    digests = [(sha or {}).get(name, hashlib.sha256(name.encode()).hexdigest()) for name in done]
    with open_writer(path, spec=spec, dimension=X.shape[1], dataset=dataset) as writer:
        writer.write(done, X[rows], digests, [(1, 2)] * len(done))
    return path
