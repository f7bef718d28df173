"""What embedding files know about the images of a run, so that these need not be read again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cxrfeat import images, store
from cxrfeat.arrays import RowNumbers
from cxrfeat.errors import InputError
from cxrfeat.extraction.reading_ahead import look_in_order
from cxrfeat.extraction.sources import ImageSource, Sources
from cxrfeat.inputs import Dataset

GONE = (-2, -2)
"""The stamp of an image that is not there: no file remembers it of any."""

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class KnownFile:
    """One embedding file beside the images of a run, N of them.

    Attributes
    ----------
    rows : KnownRows
    place : ndarray of int, shape (N,)
        The row of each image; -1 where the file has none.
    decided : ndarray of bool, shape (N,)
        Whether that is done or failed.
    """

    rows: store.KnownRows
    place: RowNumbers
    decided: Mask

    @classmethod
    def beside(cls, rows: store.KnownRows, ids: list[str]) -> KnownFile:
        """Find the row of every image."""
        place = store.positions(ids, rows.ids)
        if rows.ids == ids:
            rows = replace(rows, ids=ids)  # so that the same texts are not there twice
        decided = np.append(rows.status != store.PENDING, False)[place]
        return cls(rows, place, decided)

    def vanished(self) -> RowNumbers:
        """Return the rows of images that are not among those of the run, and whose bytes it knows.

        Returns
        -------
        ndarray of int
        """
        there = np.zeros(len(self.rows.ids) + 1, dtype=bool)
        there[self.place] = True
        return np.flatnonzero(~there[:-1] & (self.rows.sha256 != b""))


class KnownImages:
    """The files of a run beside its images, N of them.

    Parameters
    ----------
    files
        Embedding files, of which some may not be there yet.
    found
        The images.
    workers
        Threads that ask for sizes and times.

    Attributes
    ----------
    files : list of KnownFile
    sources : Sources
        Of all images.

    Raises
    ------
    FileFormatError
        If a file is damaged or not ours.
    """

    def __init__(self, files: Sequence[Path], found: Dataset, sources: Sources, workers: int):
        known = [rows for file in files if (rows := store.known(file)) is not None]
        self.files = [KnownFile.beside(rows, found.ids) for rows in known]
        self.sources = sources
        self._workers = workers

    @property
    def bits(self) -> int | None:
        """The bits of 16-bit pictures that a file was made with; None where there are none."""
        stated = (file.rows.spec.get("image", {}).get("bits") for file in self.files)
        return next((int(bits) for bits in stated if bits is not None), None)

    @cached_property
    def stamps(self) -> npt.NDArray[np.int64]:
        """Size and time of each image that some file has decided about; shape (N, 2)."""
        stamps = np.full((len(self.sources), 2), GONE, dtype=np.int64)
        decided = np.zeros(len(stamps), dtype=bool)
        for file in self.files:
            decided |= file.decided
        self.look_again(np.flatnonzero(decided), stamps)
        return stamps

    def look_again(self, chosen: RowNumbers, stamps: npt.NDArray[np.int64]) -> None:
        """Write the size and time of some images into `stamps`, shape (N, 2)."""
        asked = (self.sources.at(row) for row in chosen.tolist())
        for row, stamp in zip(chosen, look_in_order(asked, _stamp, self._workers), strict=True):
            stamps[row] = stamp

    def unchanged(self, file: KnownFile) -> Mask:
        """Tell which images have the size and time that their row in a file remembers."""
        if not len(file.rows.ids):
            return file.decided
        return np.asarray(file.decided & (file.rows.stat[file.place] == self.stamps).all(axis=1))

    @property
    def declared(self) -> set[str]:
        """Names of all columns that images of the files declare."""
        return {name for file in self.files for name in file.rows.declared or ()}

    def to_look_at(self, given: Sequence[str]) -> RowNumbers:
        """Return the rows of images that no file knows as they are, `given` as in `declaring`."""
        known, _ = self.declaring(given)
        return np.flatnonzero(~known)

    def declaring(self, given: Sequence[str]) -> tuple[Mask, dict[str, npt.NDArray[np.str_]]]:
        """Return which images need not be asked what they declare, and what they did.

        Parameters
        ----------
        given
            Columns that come from elsewhere in this run.

        Returns
        -------
        known : ndarray of bool, shape (N,)
        columns : dict of str to ndarray of str, shape (N,)
            Only those of `known` count.
        """
        known = np.zeros(len(self.sources), dtype=bool)
        columns: dict[str, npt.NDArray[np.str_]] = {}
        for file in self.files:
            if not _holds_what_images_declare(file.rows, given):
                continue
            new = self.unchanged(file) & ~known
            for name, values in file.rows.columns.items():
                before = columns.get(name, np.zeros(len(known), dtype=values.dtype))
                columns[name] = np.where(new, values[file.place], before)
            known |= new
        return known, columns


def _stamp(source: ImageSource) -> tuple[int, int]:
    return source.stamp() or GONE


def _holds_what_images_declare(rows: store.KnownRows, given: Sequence[str]) -> bool:
    """Tell whether a file has every column that its images declare and this run asks them for."""
    if rows.declared is None or not len(rows.ids):
        return False
    asked = {name for name in rows.declared if name not in given}
    if not all(name in rows.columns for name in asked):
        return False
    if "group" not in asked:
        return True
    try:
        return rows.patient_key == images.named_key().id
    except InputError:  # who looks into the images says it
        return False
