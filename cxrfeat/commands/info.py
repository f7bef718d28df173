"""`cxrfeat info`: what an embedding file holds and how it was made."""

from __future__ import annotations

from pathlib import Path

from cxrfeat import store
from cxrfeat.paths import PathLike


def info(file: PathLike) -> store.FileInfo:
    """Describe an embedding file without reading its embeddings.

    Parameters
    ----------
    file : path

    Returns
    -------
    FileInfo

    Raises
    ------
    FileFormatError
        If the file is damaged or not ours.
    """
    return store.describe(Path(file))
