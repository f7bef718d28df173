"""`cxrfeat merge`: one embedding file out of several of the same extractor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cxrfeat import store
from cxrfeat.paths import PathLike


def merge(files: PathLike | Sequence[PathLike], *, out: PathLike) -> store.Merged:
    """Join embedding files of one fingerprint, such as shards that several machines computed.

    Parameters
    ----------
    files : path or sequence of paths
        Two embedding files or more, or folders of them; rows are matched by id, and the order of
        the files is kept.
    out : path
        The new file; it must not exist.

    Returns
    -------
    store.Merged

    Raises
    ------
    SpecMismatchError
        If the embeddings were made in different ways; the message names every difference.
    InputError
        If rows conflict, `out` exists, or a folder holds no embedding file.
    FileFormatError
        If a file is damaged.
    """
    return store.merge(store.embedding_files(files), Path(out))
