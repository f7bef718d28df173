"""Radiographs that are in memory already: arrays, and pictures of Pillow."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import PIL
from PIL import Image

from cxrfeat.errors import ImageError, InputError
from cxrfeat.images.decoded import ReadingOptions, one_line
from cxrfeat.images.loading import load_file
from cxrfeat.images.radiograph import Radiograph, read_image
from cxrfeat.images.raster import picture_to_grey
from cxrfeat.paths import several

_COLOURS = (3, 4)
_SHAPES = "give (H, W), or (N, H, W) for several"


def is_picture(one: Any) -> bool:
    """Tell whether something is an array or a picture of Pillow, and no path."""
    return isinstance(one, np.ndarray | Image.Image)


def pictures_in(given: Any) -> list[Any]:
    """Return one radiograph, or each of several: paths, arrays and pictures of Pillow.

    An array of shape (H, W), or (H, W, 3) of bytes, is one; (N, H, W) are several.

    Raises
    ------
    InputError
        An array of another shape, or something that is none of these.
    """
    if isinstance(given, np.ndarray) and given.dtype.kind not in "OUS":
        if given.ndim not in (2, 3, 4):
            raise InputError(f"an array of shape {given.shape} is no image: {_SHAPES}")
        colour = given.ndim == 3 and given.dtype == np.uint8 and given.shape[-1] in _COLOURS
        found = [given] if given.ndim == 2 or colour else list(given)
    else:
        found = several(given)
    for one in found:
        if isinstance(one, np.ndarray) and one.ndim not in (2, 3):
            raise InputError(f"an array of shape {one.shape} is no image: {_SHAPES}")
        if not is_picture(one) and not isinstance(one, str) and not hasattr(one, "__fspath__"):
            raise InputError(
                f"a {type(one).__name__} is no image: give paths, arrays or pictures of Pillow"
            )
    return found


def read_picture(source: Any, *, options: ReadingOptions | None = None) -> Radiograph:
    """Read one radiograph: a path, an array or a picture of Pillow.

    Parameters
    ----------
    source
        A path; a picture of Pillow, read as its file would be; or an array of grey values, bone
        bright: uint8 or uint16, or floats in [0, 1].
    options
        As `read_image` takes them.

    Returns
    -------
    Radiograph
        `sha256` of an array is that of its type, shape and values.

    Raises
    ------
    ImageError
        As `read_image`; for arrays ``range`` where floats are not in [0, 1].
    """
    if not is_picture(source):
        return read_image(source, options=options)
    options = options or ReadingOptions()
    values = np.asarray(source)
    if values.size == 0:
        raise ImageError("empty", f"an array of shape {values.shape}")
    options.check_pixels(*values.shape[:2])
    if isinstance(source, np.ndarray) and values.dtype.kind == "f":
        pixels = np.array(values, np.float32)
        if pixels.ndim != 2 or not (pixels.min() >= 0 and pixels.max() <= 1):  # nor NaN
            raise ImageError(
                "range", "floats have to be grey values in [0, 1] of shape (H, W), bone bright"
            )
        bits, steps, warnings = 32, ["grey values as given"], list[str]()
    else:
        try:
            picture = source if isinstance(source, Image.Image) else Image.fromarray(values)
            pixels, bits, steps, warnings = picture_to_grey(picture, options)
        except ImageError:
            raise
        except Exception as error:  # an array of a type that Pillow has no mode for
            raise ImageError(
                "unrecognised", f"{values.dtype} {values.shape}: {one_line(error)}"
            ) from error
    return Radiograph(
        pixels=pixels,
        format="array" if isinstance(source, np.ndarray) else "picture",
        decoder=f"Pillow {PIL.__version__}",
        sha256=_sha256(values),
        size_bytes=values.nbytes,
        height=values.shape[0],
        width=values.shape[1],
        bits=bits,
        steps=tuple(steps),
        warnings=tuple(warnings),
    )


def identity_of(source: Any) -> str:
    """Return the sha256 of a file's bytes, or of the values of an array or picture.

    Raises
    ------
    ImageError
        A file that cannot be read.
    """
    if is_picture(source):
        return _sha256(np.asarray(source))
    return hashlib.sha256(load_file(source)).hexdigest()


def _sha256(values: np.ndarray[Any, Any]) -> str:
    told = f"{values.dtype.str} {values.shape}\n".encode()
    return hashlib.sha256(told + np.ascontiguousarray(values).tobytes()).hexdigest()
