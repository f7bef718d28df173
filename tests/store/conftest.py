from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxrfeat.inputs import Dataset
from cxrfeat.store import StoreWriter, open_writer

SPEC = {"backbone": "tiny", "pooling": "avg", "weights": {"name": "random", "seed": 0}}
DIMENSION = 5


def sha_of(name: str, version: int = 0) -> str:
    return hashlib.sha256(f"{name}#{version}".encode()).hexdigest()


def vector_of(name: str, version: int = 0, dimension: int = DIMENSION) -> np.ndarray:
    seed = int(sha_of(name, version)[:8], 16)
    return np.random.default_rng(seed).random(dimension, dtype=np.float32)


def dataset_of(ids: Sequence[str], **columns: Any) -> Dataset:
    return Dataset(ids=list(ids), paths=[Path(name) for name in ids], **columns)


def writer_for(path: Path, ids: Sequence[str], **options: Any) -> StoreWriter:
    options.setdefault("spec", SPEC)
    options.setdefault("dimension", DIMENSION)
    options.setdefault("dataset", dataset_of(ids))
    return open_writer(path, **options)


def fill(writer: StoreWriter, ids: Sequence[str] | None = None, version: int = 0) -> None:
    for name in writer.pending if ids is None else ids:
        writer.write([name], vector_of(name, version)[None], [sha_of(name, version)], [(1, 2)])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "embeddings" / "tiny.h5"
