"""Pictures with their centre taken out, and pictures with a mark in a corner.

Masks are put on the picture as large as a network sees it, before its grey values are normalised.
Resizing mixes neighbouring pixels: every pixel that grey of the masked centre has reached is
masked as well, so that what is left holds nothing of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from cxrfeat.arrays import Picture
from cxrfeat.evidence import CENTRAL

OUTER_FRAME, CENTRE_MASKED = "outer frame", "centre masked"

MARGINS: Mapping[str, float] = {OUTER_FRAME: round(1 - CENTRAL[1], 3), CENTRE_MASKED: 0.2}
"""How much of the width and of the height stays on each side. The outer frame is what lies outside
the central region of `cxrfeat.evidence`: 36 % of the picture, with edges of the lungs at most. With
the centre masked most of the lungs are gone, but what borders on the ribs may be left."""

BLANK = 0.0
"""Grey of what is masked: black in every picture, so that the filling tells nothing."""

MARK_SIDE, MARK_AWAY, MARK_STROKE = 0.08, 0.02, 0.02
"""A corner mark is an L of so much of the side, so far from the corner, in strokes so thick."""

MARK_SHARE = 2 * MARK_SIDE * MARK_STROKE - MARK_STROKE**2
"""Of the picture that a corner mark covers."""


def outside(
    size: int, margin: float, shape: tuple[int, int] | None = None
) -> npt.NDArray[np.bool_]:
    """Tell which pixels of a resized picture hold nothing of its centre.

    Parameters
    ----------
    size : int
        Side of the square that it was resized to.
    margin : float
        How much of the width and of the height does not belong to the centre, on each side.
    shape : tuple of int, optional
        Height and width before resizing; that of a large picture when left out. A picture that
        was enlarged is mixed further.

    Returns
    -------
    ndarray of bool, shape (size, size)
    """
    height, width = shape or (2**30, 2**30)
    rows, columns = _outside(size, margin, height), _outside(size, margin, width)
    return rows[:, None] | columns[None, :]


@lru_cache(maxsize=256)
def _outside(size: int, margin: float, before: int) -> npt.NDArray[np.bool_]:
    """Along one axis; antialiased bilinear filters reach one pixel of the smaller raster."""
    source = size / before
    reach = max(1.0, source) + 0.5 * source  # of the filter, and half a pixel of the picture
    middle = np.arange(size) + 0.5
    return np.asarray((middle + reach <= margin * size) | (middle - reach >= (1 - margin) * size))


def masked(square: Picture, mask: str, shape: tuple[int, int] | None = None) -> Picture:
    """Blank the centre of a resized picture.

    Parameters
    ----------
    square : ndarray of float32, shape (S, S)
        In [0, 1].
    mask : str
        A key of `MARGINS`.
    shape : tuple of int, optional
        Height and width before resizing.

    Returns
    -------
    ndarray of float32, shape (S, S)
    """
    kept = outside(len(square), MARGINS[mask], shape)
    return np.where(kept, square, np.float32(BLANK))


def with_corner_mark(picture: Picture) -> Picture:
    """Draw a white L into the upper left corner, as side markers are.

    Parameters
    ----------
    picture : ndarray of float32, shape (H, W)
        In [0, 1], of any size.

    Returns
    -------
    ndarray of float32, shape (H, W)
    """
    marked = picture.copy()
    height, width = picture.shape

    def along(length: int, start: float, end: float) -> slice:
        first = round(start * length)
        return slice(first, max(first + 1, round(end * length)))

    near, far = MARK_AWAY, MARK_AWAY + MARK_SIDE
    marked[along(height, near, far), along(width, near, near + MARK_STROKE)] = 1.0
    marked[along(height, far - MARK_STROKE, far), along(width, near, far)] = 1.0
    return marked
