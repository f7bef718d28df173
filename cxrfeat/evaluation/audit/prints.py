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
    """

    pixels: npt.NDArray[np.str_]
    hashes: npt.NDArray[np.uint64]
    readable: npt.NDArray[np.bool_]


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
