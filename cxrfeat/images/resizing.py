"""The whole radiograph at the size a network wants, and what reading adds to the spec."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL
from PIL import Image

from cxrfeat.images.decoded import ReadingOptions
from cxrfeat.images.raster import SCALED_SIDE

READING_VERSION = 2
"""Raised whenever the same file would give other pixels."""


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


def reading_spec(size: int, options: ReadingOptions | None = None) -> dict[str, Any]:
    """Return what the spec of an embedding says about reading and resizing.

    Parameters
    ----------
    size : int
        Side of the square that the radiographs are resized to.
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
        "crop": "none",
        "resize": "bilinear, antialiased",
        "size": [size, size],
        "decoders": {
            "Pillow": PIL.__version__,
            "pydicom": version("pydicom"),
            "simplejpeg": version("simplejpeg"),
        },
    }
