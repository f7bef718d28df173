"""`cxrfeat verify`: read a whole embedding file against its checksums."""

from __future__ import annotations

from pathlib import Path

from cxrfeat import store
from cxrfeat.paths import PathLike


def verify(file: PathLike, *, repair: bool = False) -> store.Verification:
    """Read every row of an embedding file and name the damaged ones.

    Parameters
    ----------
    file : path
        The embedding file.
    repair : bool
        Set damaged rows back to pending; ``cxrfeat extract`` then recomputes just them.

    Returns
    -------
    store.Verification

    Raises
    ------
    FileFormatError
        If the file cannot be opened at all.
    LockedError
        If it is to be repaired while another process writes it.
    """
    return store.verify(Path(file), repair=repair)
