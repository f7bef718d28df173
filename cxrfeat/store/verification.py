"""Reading every byte of an embedding file against its checksums, and mending what can be."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from cxrfeat.notebook import Shown
from cxrfeat.paths import PathLike
from cxrfeat.store.format1 import DONE, FAILED, PENDING
from cxrfeat.store.lock import FileLock
from cxrfeat.store.rewrite import reset_rows
from cxrfeat.store.rows import checksums
from cxrfeat.store.validation import (
    damage_named,
    find_damaged_columns,
    open_for_reading,
    read_header,
    read_text,
)

_BLOCK_BYTES = 16 << 20


@dataclass(frozen=True)
class Damage:
    """One row whose bytes are not the ones that were written.

    Attributes
    ----------
    row : int
        Its position in the file.
    id : str
    what : str
        "embedding" (or its checksum or sha256), or "status".
    """

    row: int
    id: str
    what: str


@dataclass(frozen=True, repr=False)
class Verification(Shown):
    """What reading a whole file found.

    Attributes
    ----------
    path : Path
    rows, checked : int
        Rows in the file, and embeddings compared with their checksum.
    damaged : list of Damage
        In file order.
    damaged_columns : list of str
        Of ids, labels and meta: those whose values are not the ones that were written. Extracting
        again with the same images and labels, and with `prune`, writes them anew.
    repaired : bool
        Whether the damaged rows were set back to pending, for ``cxrfeat extract`` to recompute.
    """

    path: Path
    rows: int
    checked: int
    damaged: list[Damage]
    damaged_columns: list[str]
    repaired: bool

    @property
    def sound(self) -> bool:
        """Whether nothing was found."""
        return not self.damaged and not self.damaged_columns


def verify(path: PathLike, *, repair: bool = False) -> Verification:
    """Compare every embedding with its checksum, and every column with its own.

    Parameters
    ----------
    path
        The embedding file.
    repair
        Set damaged rows back to pending, so that ``cxrfeat extract`` recomputes just them.

    Raises
    ------
    FileFormatError
        If the file does not open at all.
    LockedError
        If it is to be repaired while another process writes it.
    """
    path = Path(path)
    locked = FileLock(path) if repair and path.is_file() else contextlib.nullcontext()
    with locked:
        with open_for_reading(path) as file:
            read_header(file, path)
            with damage_named(path):
                rows, checked, damaged = _read_rows(file)
                damaged_columns = find_damaged_columns(file)
        if repair and damaged:
            reset_rows(path, np.array([each.row for each in damaged], dtype=np.int64))
    return Verification(path, rows, checked, damaged, damaged_columns, repair and bool(damaged))


def _read_rows(file: h5py.File) -> tuple[int, int, list[Damage]]:
    ids = read_text(file["id"])
    status: npt.NDArray[np.uint8] = file["status"][...]
    embeddings = file["embeddings"]
    block = max(1, _BLOCK_BYTES // max(1, embeddings.shape[1] * embeddings.dtype.itemsize))
    wrong = np.zeros(len(ids), dtype=bool)
    for start in range(0, len(ids), block):
        part = slice(start, min(start + block, len(ids)))
        found = checksums(file["sha256"][part], embeddings[part])
        wrong[part] = (found != file["checksum"][part]) & (status[part] == DONE)
    unknown = ~np.isin(status, (PENDING, DONE, FAILED))
    damaged = [
        Damage(row, ids[row], "status" if unknown[row] else "embedding")
        for row in np.flatnonzero(wrong | unknown).tolist()
    ]
    return len(ids), int(np.count_nonzero(status == DONE)), damaged
