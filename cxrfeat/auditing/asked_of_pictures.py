"""What an audit asks of pictures beside what each gives anyway."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from cxrfeat import features
from cxrfeat.arrays import Picture, RowNumbers

WHOLE, CORNER_MARK = "whole", "corner mark"
"""What a network can be shown beside `masking.MARGINS`: the picture as it is, and with a mark."""
Fingerprint = Callable[[Picture], tuple[str, int]]
"""From a decoded picture to the digest of its pixels and its perceptual hash of 64 bits."""
Alteration = Callable[[Picture, int], Picture]
"""From a decoded picture and its row, for a seed, to an altered copy, both in [0, 1]."""


@dataclass(frozen=True)
class Asked:
    """What is asked of pictures beside what each gives anyway.

    Attributes
    ----------
    shown : mapping of str to dict of str to Extractor
        By what is shown (`WHOLE`, or a key of `masking.MARGINS`), the networks, each under the
        name that `Seen.X` has it by.
    marked : ndarray of int
        Rows that are also shown with a corner mark, to the networks of `embedded`.
    copies : mapping of str to (ndarray of int, callable)
        By kind, of which rows altered copies are made, and how.
    embedded : mapping of str to Extractor
        Networks that marked pictures and copies are shown to.
    fingerprint : callable, optional
        What copies are found by; none are made without it.
    """

    shown: Mapping[str, Mapping[str, features.Extractor]] = field(default_factory=dict)
    marked: RowNumbers = field(default_factory=lambda: np.arange(0))
    copies: Mapping[str, tuple[RowNumbers, Alteration]] = field(default_factory=dict)
    embedded: Mapping[str, features.Extractor] = field(default_factory=dict)
    fingerprint: Fingerprint | None = None
