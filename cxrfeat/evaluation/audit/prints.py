"""What is compared of pictures to find copies, as plain arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cxrfeat.arrays import Matrix32, RowNumbers


@dataclass(frozen=True)
class Prints:
    """Of each image; "" and `readable` false where it could not be read again.

    Attributes
    ----------
    pixels : ndarray of str, shape (N,)
        Digest of the decoded grey values and their shape.
    hashes : ndarray of uint64, shape (N,)
        Perceptual hash of 64 bits.
    readable : ndarray of bool, shape (N,)
    small : ndarray of uint8, shape (N, S, S), or None
        The pictures, small: pairs that look alike are laid over each other. Without them copies
        that were cut or turned are mostly missed.
    """

    pixels: npt.NDArray[np.str_]
    hashes: npt.NDArray[np.uint64]
    readable: npt.NDArray[np.bool_]
    small: npt.NDArray[np.uint8] | None = None

    def of(self, rows: RowNumbers) -> Prints:
        """Take the prints of some of the images."""
        return Prints(
            self.pixels[rows],
            self.hashes[rows],
            self.readable[rows],
            None if self.small is None else self.small[rows],
        )

    def followed_by(self, more: Prints) -> Prints:
        """Put the prints of other images after these."""
        both = self.small is not None and more.small is not None
        return Prints(
            np.concatenate([self.pixels, more.pixels]),
            np.concatenate([self.hashes, more.hashes]),
            np.concatenate([self.readable, more.readable]),
            np.concatenate([self.small, more.small]) if both else None,
        )


@dataclass(frozen=True)
class PlantedCopies:
    """Altered copies of some images, as if they had been in the data.

    Attributes
    ----------
    kind : str
        How they were altered, e.g. ``"encoded again as JPEG"``.
    rows : ndarray of int, shape (M,)
        Of which image each is a copy.
    prints : Prints
        Of the M copies.
    X : mapping of str to ndarray of float32, shape (M, D)
        Their embeddings, by extractor; empty without extracting anew.
    """

    kind: str
    rows: RowNumbers
    prints: Prints
    X: Mapping[str, Matrix32]
