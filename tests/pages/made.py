"""Embeddings of radiographs without any network, for tests of what pages show."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from cxrfeat.images import read_image, resize


def pixels_as_embeddings(folder: Path, ids: list[str], side: int = 12) -> np.ndarray:
    """What a very cheap extractor makes of images: themselves, small."""
    small = [resize(read_image(folder / id_).pixels, side).ravel() for id_ in ids]
    return np.stack(small)


def hashes(folder: Path, ids: list[str]) -> dict[str, str]:
    return {id_: hashlib.sha256((folder / id_).read_bytes()).hexdigest() for id_ in ids}
