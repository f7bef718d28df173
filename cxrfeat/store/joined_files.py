"""Several files of one extractor as one table, and the new file that is made of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from cxrfeat.arrays import RowNumbers
from cxrfeat.errors import FileFormatError
from cxrfeat.notebook import Shown
from cxrfeat.paths import PathLike
from cxrfeat.store.format1 import DONE, FAILED, PENDING, Header, Table
from cxrfeat.store.reader import Embeddings
from cxrfeat.store.rewrite import ROW_DATASETS, replace_file
from cxrfeat.store.rows import READ_BYTES, checksums, read_rows
from cxrfeat.store.validation import damage_named, find_damaged_columns, open_for_reading

_BLOCK_BYTES = 8 * READ_BYTES
_MOST_OPEN = 200
"""Files that are open at once; many systems allow a process 1,024, or 256."""


@dataclass(frozen=True, repr=False)
class Merged(Shown):
    """What `merge` or `merge_shards` made.

    Attributes
    ----------
    path : Path
    sources : dict of str to int
        Rows of each file that was merged.
    rows, done, failed, pending : int
        Of the new file; the last three of images that are not gone.
    gone : int
        Rows whose image is gone in every file that has it.
    shared : int
        Ids that more than one file had, all of them in agreement.
    notes : list of str
        What cannot be told from the files, in sentences.
    unchanged : bool
        Whether the file held all of it already, so that nothing was written.
    """

    path: Path
    sources: dict[str, int]
    rows: int
    done: int
    failed: int
    pending: int
    gone: int
    shared: int
    notes: list[str]
    unchanged: bool = False


@dataclass
class JoinedFiles:
    """Files that are one table, of which each row comes from one of them.

    Attributes
    ----------
    parts : list of Embeddings
    header, table : Header, Table
        Of the file to be.
    part_of, row_of : ndarray of int, shape (N,)
        The file that each row comes from, and its row there.
    notes : list of str
        As in `Merged`.
    """

    parts: list[Embeddings]
    header: Header
    table: Table
    part_of: RowNumbers
    row_of: RowNumbers
    notes: list[str]

    def sort(self) -> None:
        """Bring the rows into the order of their ids."""
        order = np.array(sorted(range(len(self.table.ids)), key=self.table.ids.__getitem__))
        order = order.astype(np.int64)  # of no rows as well
        table = self.table
        self.part_of, self.row_of = self.part_of[order], self.row_of[order]
        table.ids = [table.ids[row] for row in order.tolist()]
        table.labels = None if table.labels is None else table.labels[order]
        table.meta = {name: values[order] for name, values in table.meta.items()}
        table.gone = None if table.gone is None else table.gone[order]

    def column(self, name: str) -> npt.NDArray[Any]:
        """Return a column of rows as the files store it."""
        first: npt.NDArray[Any] | None = None
        for index, part in enumerate(self.parts):
            target = np.flatnonzero(self.part_of == index)
            with rows_of(part) as file, damage_named(part.path):
                values = file[name][...][self.row_of[target]]
            if first is None:
                first = np.empty((len(self.part_of), *values.shape[1:]), dtype=values.dtype)
            first[target] = values
        assert first is not None
        return first

    def write(self, out: Path) -> Merged:
        """Make the one file."""
        replace_file(out, self.header, self.table, self._fill)
        with Embeddings(out) as merged:
            return self.told(out, merged)

    def told(self, out: Path, merged: Embeddings, *, unchanged: bool = False) -> Merged:
        """Say what became of it."""
        count = np.bincount(merged.status[~merged.gone], minlength=3)
        return Merged(
            path=out,
            sources={str(part.path): len(part) for part in self.parts},
            rows=len(merged),
            done=int(count[DONE]),
            failed=int(count[FAILED]),
            pending=int(count[PENDING]),
            gone=len(merged) - int(count.sum()),
            shared=sum(len(part) for part in self.parts) - len(self.table.ids),
            notes=self.notes,
            unchanged=unchanged,
        )

    def _fill(self, new: h5py.File) -> None:
        """Copy rows as they are stored: narrow columns whole, embeddings block by block.

        A block is read from all files that have rows of it and written once: rows of shards lie
        between each other, and to write those of one after those of another would read and write
        the whole file as often as there are shards.
        """
        computed_in = np.full(len(self.part_of), -1, dtype=np.int32)
        narrow = {name: new[name][...] for name in ROW_DATASETS if name in new}
        for name in ("embeddings", "environment"):
            narrow.pop(name, None)
        targets = [np.flatnonzero(self.part_of == index) for index in range(len(self.parts))]
        for part, target in zip(self.parts, targets, strict=True):
            rows = self.row_of[target]
            with rows_of(part) as file, damage_named(part.path):
                for name, column in narrow.items():
                    if name in file:
                        column[target] = file[name][...][rows]
            # Each file counts its environments itself; -1, unknown, takes the last place.
            place = [*(self.header.environments.index(one) for one in part.environments), -1]
            computed_in[target] = np.array(place, dtype=np.int32)[part.computed_in[rows]]
        for name, column in narrow.items():
            new[name][...] = column
        new["environment"][...] = computed_in
        self._fill_embeddings(new, targets, narrow)

    def _fill_embeddings(
        self, new: h5py.File, targets: list[RowNumbers], narrow: dict[str, npt.NDArray[Any]]
    ) -> None:
        embeddings = new["embeddings"]
        length, dimension = embeddings.shape
        step = max(1, _BLOCK_BYTES // max(1, embeddings.dtype.itemsize * dimension))
        for start in range(0, length, step):
            stop = min(start + step, length)
            block = np.empty((stop - start, dimension), dtype=embeddings.dtype)
            for part, target in zip(self.parts, targets, strict=True):
                first, last = np.searchsorted(target, (start, stop))
                here = target[first:last]
                if not len(here):
                    continue
                with rows_of(part) as file, damage_named(part.path):
                    rows = read_rows(file["embeddings"], self.row_of[here])
                _require_sound(part, here, rows, narrow)
                block[here - start] = rows
            embeddings[start:stop] = block


def open_parts(paths: Sequence[PathLike], stack: contextlib.ExitStack) -> list[Embeddings]:
    """Open files whose columns are sound; of very many, all is read but their rows."""
    parts = []
    for path in paths:
        part = stack.enter_context(Embeddings(Path(path)))
        _require_sound_columns(part)
        if len(paths) > _MOST_OPEN:
            _ = part.sha256, part.computed_in
            part.close()
        parts.append(part)
    return parts


@contextlib.contextmanager
def rows_of(part: Embeddings) -> Iterator[h5py.File]:
    """Give the file that rows are read from, opened again where there were too many."""
    if part.file.id.valid:
        yield part.file
    else:
        with open_for_reading(part.path) as file:
            yield file


def _require_sound_columns(part: Embeddings) -> None:
    """Refuse to carry damage of a column into a new file."""
    with damage_named(part.path):
        columns = find_damaged_columns(part.file)
    if columns:
        raise FileFormatError(
            f"'{part.path}' is damaged in {', '.join(f'/{name}' for name in columns)}: extract "
            "again with --prune and the same labels, which writes them anew, or restore a copy"
        )


def _require_sound(
    part: Embeddings,
    target: RowNumbers,
    stored: npt.NDArray[Any],
    narrow: Mapping[str, npt.NDArray[Any]],
) -> None:
    """Refuse to carry damage of rows into a new file."""
    done = narrow["status"][target] == DONE
    found = checksums(narrow["sha256"][target], stored)
    if np.any((found != narrow["checksum"][target]) & done):
        raise FileFormatError(
            f"'{part.path}' has damaged rows: "
            "run 'cxrfeat verify --repair' on it and extract them again"
        )
