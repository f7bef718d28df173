"""JPEG pictures, whole: what libjpeg-turbo only warns about is a failure here.

JPEG has no check sums, but most damage leaves codes that no table has, or too few or too many
bytes; the decoder then fills in grey and warns. Pillow decodes with the same library and to the
same pixels, bit for bit, but does not pass its warnings on.
"""

from __future__ import annotations

import re
from importlib.metadata import version
from typing import Literal

import numpy as np
import numpy.typing as npt
import simplejpeg

from cxrfeat.errors import ImageError
from cxrfeat.images.decoded import one_line

DECODER = f"simplejpeg {version('simplejpeg')}"

_UNKNOWN_LAYOUT = "subsampling level"
_PADDING = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
_NO_SCALING = 9.0  # as a smallest factor; 8 is the largest there is


class UnusualSubsamplingError(Exception):
    """A picture whose colours are subsampled in a way that this decoder does not take."""


def decode_jpeg(
    data: bytes,
    size: tuple[int, int],
    *,
    space: Literal["GRAY", "CMYK"] = "GRAY",
    scale: int = 1,
) -> npt.NDArray[np.uint8]:
    """Decode the luma, or the four channels, of a JPEG picture without a warning.

    Parameters
    ----------
    data
        From the first marker to, at least, the end marker.
    size
        Width and height that the picture must have.
    space
        "CMYK" for pictures of four channels, else "GRAY".
    scale
        1, 2, 4 or 8: how many times fewer pixels a side.

    Returns
    -------
    ndarray of uint8, shape (h, w) or (h, w, 4)
        h and w are the size divided by the scale, rounded up.

    Raises
    ------
    ImageError
        ``truncated`` or ``damaged``.
    UnusualSubsamplingError
    """
    try:
        return _decode(data, size, space, scale)
    except ValueError as error:
        padding = _PADDING.search(str(error))
        unpadded = _without_zeros(data, int(padding[1])) if padding else None
        if unpadded is None:
            raise _failure(error) from None
    try:
        return _decode(unpadded, size, space, scale)
    except ValueError as error:
        raise _failure(error) from None


def _decode(data: bytes, size: tuple[int, int], space: str, scale: int) -> npt.NDArray[np.uint8]:
    width, height = size
    try:
        # Memory is taken for the size that the decoder finds, which must be the one checked.
        found = simplejpeg.decode_jpeg_header(data, strict=False)[:2]
    except ValueError as error:
        if _UNKNOWN_LAYOUT in str(error):
            raise UnusualSubsamplingError from None
        raise
    if found != (height, width):
        raise ImageError(
            "damaged", f"coded as {found[1]} x {found[0]}, stated as {width} x {height}"
        )
    picture = simplejpeg.decode_jpeg(
        data,
        space,
        min_height=-(-height // scale),
        min_width=-(-width // scale),
        min_factor=float(scale) if scale > 1 else _NO_SCALING,
        strict=True,
    )
    return picture[..., 0] if space == "GRAY" else picture


def _without_zeros(data: bytes, count: int) -> bytes | None:
    """Take out zeros that fill the picture up before its end marker, if it is only those.

    Some cameras and archives write them. Bytes that a damaged code left over are not zeros, and
    hardly ever end where the picture does.
    """
    end = data.rfind(b"\xff\xd9")
    if end < count or any(data[end - count : end]):
        return None
    return data[: end - count] + data[end:]


def _failure(error: ValueError) -> ImageError:
    code = "truncated" if "remature end of JPEG" in str(error) else "damaged"
    return ImageError(code, f"the JPEG picture cannot be decoded whole: {one_line(error)}")
