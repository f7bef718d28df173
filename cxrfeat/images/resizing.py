"""The whole radiograph at the size a network wants, and what reading adds to the spec."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL
from PIL import Image

from cxrfeat.framing import Framing
from cxrfeat.images.decoded import ReadingOptions
from cxrfeat.images.raster import SCALED_SIDE

READING_VERSION = 2
"""Raised whenever the same file would give other pixels."""

MID_GREY = 0.5

_RESIZED = {
    "bilinear": "bilinear, antialiased",
    "gaussian": "linear after a Gaussian filter, mid grey beyond the border",
}
"""The words of the spec for each of `cxrfeat.framing.RESIZES`."""


def resize(pixels: npt.NDArray[np.float32], size: int) -> npt.NDArray[np.float32]:
    """Resize the whole radiograph to a square; nothing is cropped, the aspect is not kept.

    Bilinear with antialiasing (the filter widens when the picture shrinks).

    Parameters
    ----------
    pixels : ndarray of float32, shape (H, W)
        In [0, 1].
    size : int
        Side of the square in pixels.

    Returns
    -------
    ndarray of float32, shape (size, size)
        In [0, 1].
    """
    image = Image.fromarray(np.ascontiguousarray(pixels, dtype=np.float32))
    small = np.array(image.resize((size, size), Image.Resampling.BILINEAR))
    return np.clip(small, 0.0, 1.0, out=small)


def frame(pixels: npt.NDArray[np.float32], framing: Framing) -> npt.NDArray[np.float32]:
    """Take what a network sees of a radiograph, shape (S, S)."""
    seen = pixels[framing.box(*pixels.shape)]
    if framing.resize == "gaussian":
        return _resize_after_gaussian(seen, framing.size)
    return resize(seen, framing.size)


def _resize_after_gaussian(pixels: npt.NDArray[np.float32], size: int) -> npt.NDArray[np.float32]:
    """Resize linearly after a Gaussian filter, with mid grey beyond the border.

    The filter's standard deviation is half of what the factor exceeds 1 by, along each axis, as in
    `skimage.transform.resize`, which torchxrayvision resizes with; its border is 0 on a scale of
    -1024 to 1024.
    """
    from scipy import ndimage  # takes 0.1 s to import

    if pixels.shape == (size, size):
        return np.ascontiguousarray(pixels, dtype=np.float32)
    factors = np.divide(pixels.shape, size)
    beyond = {"mode": "grid-constant", "cval": MID_GREY}
    filtered = pixels.astype(np.float32)
    if (factors > 1).any():
        filtered = ndimage.gaussian_filter(filtered, np.maximum(0, (factors - 1) / 2), **beyond)
    small = ndimage.zoom(filtered, 1 / factors, order=1, grid_mode=True, **beyond)
    return np.clip(small, pixels.min(), pixels.max()).astype(np.float32)


def reading_spec(framing: Framing, options: ReadingOptions | None = None) -> dict[str, Any]:
    """Return what the spec of an embedding says about reading and resizing.

    Parameters
    ----------
    framing : Framing
        What of the radiographs the network sees.
    options
        As the images are read. A frame that was asked for, and the bits of pictures that do not
        state theirs, change what is read; the rest only decides which images fail, and is left
        out. So are bits where there is no such picture.

    Notes
    -----
    The decoders for compressed DICOM are left out: with one missing an image fails, so that
    installing it later only adds rows. They stand in the file's environment.
    """
    asked = {} if options is None else {"frame": options.frame, "bits": options.bits}
    return {
        **{name: value for name, value in asked.items() if value is not None},
        "version": READING_VERSION,
        "range": [0, 1],
        "polarity": "bone bright",
        "large_8_bit_pictures": f"scaled to a shorter side of at least {SCALED_SIDE}",
        "crop": framing.crop,
        "resize": _RESIZED[framing.resize],
        "size": [framing.size, framing.size],
        "decoders": {
            "Pillow": PIL.__version__,
            "pydicom": version("pydicom"),
            "simplejpeg": version("simplejpeg"),
        },
    }
