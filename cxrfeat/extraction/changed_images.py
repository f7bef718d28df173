"""Which images are not what they were when their row was written."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cxrfeat.arrays import RowNumbers
from cxrfeat.extraction.hash_journal import HashJournal
from cxrfeat.extraction.known_images import GONE, KnownImages, Mask
from cxrfeat.extraction.reading_ahead import look_in_order
from cxrfeat.extraction.sources import ImageSource, Stamp


def current_hashes(
    known: KnownImages, journal: Path, workers: int
) -> tuple[dict[str, str], dict[str, Stamp]]:
    """Return the sha256 of every image of which some file may hold another one's row.

    An image of the size and modification time that its row remembers is not read again, nor one
    that an interrupted run has hashed; those of the others come second, to be remembered now. An
    image that failed unread has no sha256 to compare: it is the same as long as its size and time
    are. An image that is new may be one that moved: it is read only if it has the size of one that
    vanished.

    Parameters
    ----------
    known
        The files beside the images.
    journal
        Where hashes are kept until the run is through.
    workers
        Threads that read.

    Returns
    -------
    hashes : dict of str to str
        By id. An image that is left out is the same in every file that has a row of it.
    stamps : dict of str to Stamp
        Of those that were hashed.
    """
    if not known.files:
        return {}, {}
    told = np.zeros(len(known.sources), dtype="S64")  # by a row whose size and time are right
    differs = np.zeros(len(told), dtype=bool)
    for file in known.files:
        same = known.unchanged(file)
        differs |= file.decided & ~same
        new = same & (told == b"")
        told[new] = file.rows.sha256[file.place[new]]
    there = known.stamps[:, 0] != GONE[0]
    unsure = differs & there & (told == b"")
    unsure |= _perhaps_moved(known, (told != b"") | unsure)
    hashed, stamps = _hashed(known, np.flatnonzero(unsure), journal, workers)
    for row in np.flatnonzero(_needed(known, told)).tolist():
        hashed[known.sources.ids[row]] = told[row].decode()
    return hashed, stamps


def _needed(known: KnownImages, told: np.ndarray) -> Mask:
    """Tell whose sha256 a file must hear that another file has told."""
    needed = np.zeros(len(told), dtype=bool)
    for file in known.files:
        if len(file.rows.ids):
            needed |= file.decided & (file.rows.sha256[file.place] != told)
        if len(file.vanished()):
            needed |= ~file.decided
    return needed & (told != b"")


def _perhaps_moved(known: KnownImages, besides: Mask) -> Mask:
    """Tell which new images have the size of one that vanished; their stamps are asked for."""
    moved = np.zeros(len(besides), dtype=bool)
    for file in known.files:
        vanished = file.vanished()
        if not len(vanished):
            continue
        new = np.flatnonzero(~file.decided & ~besides & ~moved)
        known.look_again(new[known.stamps[new, 0] == GONE[0]], known.stamps)
        sizes = known.stamps[new, 0]
        there = sizes != GONE[0]
        of_vanished = np.unique(file.rows.stat[vanished, 0])
        # A row that remembers no size may be of any image.
        moved[new] = there & (np.isin(sizes, of_vanished) | (of_vanished[0] == -1))
    return moved


def _hashed(
    known: KnownImages, rows: RowNumbers, journal: Path, workers: int
) -> tuple[dict[str, str], dict[str, Stamp]]:
    """Hash images; "" where one is unreadable now: its row stays as it is."""
    hashes: dict[str, str] = {}
    stamps: dict[str, Stamp] = {}
    stamp_of = {known.sources.ids[row]: Stamp(*known.stamps[row].tolist()) for row in rows.tolist()}
    with HashJournal(journal) as kept:
        for id_, stamp in stamp_of.items():
            if digest := kept.find(id_, stamp):
                hashes[id_], stamps[id_] = digest, stamp
        to_read = [id_ for id_ in stamp_of if id_ not in hashes]
        sources = (known.sources[id_] for id_ in to_read)
        for id_, digest in zip(to_read, look_in_order(sources, _sha256, workers), strict=True):
            if digest:
                hashes[id_], stamps[id_] = digest, stamp_of[id_]
                kept.keep(id_, stamp_of[id_], digest)
    return hashes, stamps


def _sha256(source: ImageSource) -> str:
    return source.sha256()
