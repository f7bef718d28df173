"""How many bits a picture of integers uses: what the file states, and what its samples need."""

from __future__ import annotations

import io
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from cxrfeat.images.decoded import ReadingOptions
from cxrfeat.images.loading import opened
from cxrfeat.images.quiet import hush
from cxrfeat.paths import PathLike
from cxrfeat.signatures import HEAD_BYTES, recognise

USUAL_BITS = (8, 10, 12, 14, 16, 32)
DEEP_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I")
"""Pillow's modes of more than 8 bits; files in them mostly use fewer than they have room for."""

_PLUGINS: dict[str, type[ImageFile.ImageFile]] = {"PNG": PngImageFile, "TIFF": TiffImageFile}
_BITS_TAG, _LARGEST_TAGS = 258, (281, 341)


def needed_bits(largest: int) -> int:
    """Return the fewest usual bits that hold a sample."""
    return next(bits for bits in USUAL_BITS if largest < 2**bits)


def stated_bits(image: Image.Image, file: BinaryIO) -> int | None:
    """Return how many bits a PNG or TIFF states for its largest sample; None where it does not.

    A PNG with an ``sBIT`` chunk has its samples stretched to all of its 16 bits, however few are
    significant (PNG specification, 13.12). A TIFF may have samples of fewer bits than 16, or a
    (S)MaxSampleValue that is the largest number of so many bits.

    Parameters
    ----------
    image
        Opened; its pixels are not needed.
    file
        The same, to be read from anywhere.
    """
    if isinstance(image, PngImageFile):
        return 16 if _has_significant_bits(file) else None
    tags = getattr(image, "tag_v2", {})
    bits = _first(tags.get(_BITS_TAG))
    if bits is not None and 8 < bits < 16:
        return bits
    for tag in _LARGEST_TAGS:
        largest = _first(tags.get(tag))
        if largest is not None and largest + 1 in (2**usual for usual in USUAL_BITS):
            return largest.bit_length()
    return None


def states_no_depth(source: PathLike | BinaryIO) -> bool:
    """Tell from its header whether a file is a picture of 16 bits that does not state its depth.

    Parameters
    ----------
    source
        A path, or the file opened.
    """
    try:
        with opened(source) as file:
            image = _header(file)
            if file is None or image is None:
                return False
            return image.mode in DEEP_MODES and stated_bits(image, file) is None
    except Exception:  # as decoders raise anything; reading the file says why
        return False


def largest_sample(data: bytes, options: ReadingOptions) -> int | None:
    """Return the largest sample of a picture of 16 bits.

    Parameters
    ----------
    data
        The whole file.
    options
        How large it may be.

    Returns
    -------
    int or None
        None where it is not to be had, or negative samples say that it is none of these: reading
        the file says why.
    """
    try:
        image = _header(io.BytesIO(data))
        if image is None:
            return None
        options.check_pixels(image.height, image.width)
        image.load()
        samples = np.asarray(image)
    except Exception:
        return None
    return int(samples.max()) if samples.min() >= 0 else None


def _header(file: BinaryIO | None) -> ImageFile.ImageFile | None:
    """Read the header of a PNG or TIFF; None for anything else."""
    hush("PIL")
    plugin = None if file is None else _PLUGINS.get(recognise(file.read(HEAD_BYTES)) or "")
    if file is None or plugin is None:
        return None
    file.seek(0)
    return plugin(file)


def _has_significant_bits(file: BinaryIO) -> bool:
    file.seek(8)
    while len(head := file.read(8)) == 8 and head[4:] not in (b"IDAT", b"IEND"):
        if head[4:] == b"sBIT":
            return True
        file.seek(int.from_bytes(head[:4]) + 4, io.SEEK_CUR)
    return False


def _first(value: object) -> int | None:
    if isinstance(value, tuple):
        value = value[0] if value else None
    return value if isinstance(value, int) else None
