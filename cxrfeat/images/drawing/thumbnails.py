"""A radiograph small enough for a page."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from cxrfeat.images.resizing import resize

SIDE = 176
QUALITY = 72


def thumbnail(
    pixels: npt.NDArray[np.float32], *, side: int = SIDE, quality: int = QUALITY
) -> bytes:
    """Encode the whole radiograph as a square JPEG, as the networks see it.

    Nothing but the pixels goes into the file: no metadata of the original.

    Parameters
    ----------
    pixels : ndarray of float32, shape (H, W)
        In [0, 1], as `read_image` gives them.
    side : int
        In pixels.
    quality : int
        Of the JPEG.

    Returns
    -------
    bytes
    """
    grey = np.round(resize(pixels, side) * 255).clip(0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "JPEG", quality=quality, optimize=True)
    return file.getvalue()
