"""Which images have a header that is to be looked into, by the first bytes of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cxrfeat import images
from cxrfeat.arrays import RowNumbers
from cxrfeat.extraction.reading_ahead import look_in_order
from cxrfeat.extraction.sources import ImageSource, Sources
from cxrfeat.images import HEAD_BYTES


@dataclass(frozen=True)
class Heads:
    """Images by what their first bytes ask for.

    Attributes
    ----------
    declaring : ndarray of int
        Rows of DICOM files, which declare columns.
    perhaps_deep : ndarray of int
        Rows of pictures that may be of 16 bits.
    """

    declaring: RowNumbers
    perhaps_deep: RowNumbers


def heads_of(sources: Sources, workers: int, rows: RowNumbers | None = None) -> Heads:
    """Look at the first bytes of images, each opened once.

    Parameters
    ----------
    sources
        All images.
    workers
        Threads that read.
    rows
        Which of them; default: all.
    """
    chosen = np.arange(len(sources)) if rows is None else rows
    asked = (sources.at(row) for row in chosen.tolist())
    kinds = np.fromiter(look_in_order(asked, _kind, workers), dtype="S1", count=len(chosen))
    return Heads(declaring=chosen[kinds == b"c"], perhaps_deep=chosen[kinds == b"d"])


def _kind(source: ImageSource) -> str:
    return images.asks_for(source.head(HEAD_BYTES))[:1]
