"""What is compared of decoded pictures to find copies: a digest, a short hash, and a small picture.

The digest is the same for the same pixels, whatever file held them. The hash is near for pictures
that look alike: of the picture at 32 x 32 pixels, whether each of the 64 lowest frequencies of its
cosine transform is above zero, the mean grey left out (Zauner 2010, with signs in place of a
comparison with the median). Signs stay as they are under brightness and contrast, and hardly change
under scaling and compression; cutting and turning change more of them.

References
----------
Zauner C. Implementation and benchmarking of perceptual image hash functions. Diploma thesis, Upper
Austria University of Applied Sciences, 2010.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.fft import dctn

from cxrfeat.arrays import Picture
from cxrfeat.images.resizing import resize

SIDE, BITS = 32, 64
_REACH = 9
"""Frequencies of each axis that the lowest ones are among."""
_FLAT = 1e-4
"""Below which a frequency is rounding: a blank picture has none, and the hash 0."""

_across, _down = np.meshgrid(np.arange(_REACH), np.arange(_REACH))
_LOWEST = np.argsort((_across**2 + _down**2).ravel(), kind="stable")[1 : BITS + 1]


class Fingerprint(NamedTuple):
    """What a picture is compared by.

    Attributes
    ----------
    pixels : str
        From `pixel_digest`.
    hash : int
        From `perceptual_hash`.
    small : ndarray of uint8, shape (32, 32)
        The picture, small, to lay it over others.
    """

    pixels: str
    hash: int
    small: npt.NDArray[np.uint8]


def fingerprint(picture: Picture) -> Fingerprint:
    """Take everything that a picture is compared by.

    Parameters
    ----------
    picture : ndarray of float32, shape (H, W)
        In [0, 1], as `read_image` gives it.
    """
    small = resize(picture, SIDE)
    eight_bits = np.asarray((small * 255.0).round(), dtype=np.uint8)
    return Fingerprint(pixel_digest(picture), perceptual_hash(small), eight_bits)


def pixel_digest(picture: Picture) -> str:
    """Digest of all grey values and their shape, 64 hexadecimal digits.

    Parameters
    ----------
    picture : ndarray of float32, shape (H, W)
        As `read_image` gives it.
    """
    digest = hashlib.sha256(np.array(picture.shape, dtype="<i8").tobytes())
    digest.update(np.ascontiguousarray(picture, dtype="<f4").data)
    return digest.hexdigest()


def perceptual_hash(small: Picture) -> int:
    """Hash of 64 bits; the number of bits in which two differ says how unlike pictures look.

    Parameters
    ----------
    small : ndarray of float32, shape (32, 32)
        The whole picture, resized.
    """
    waves = dctn(small, norm="ortho")[:_REACH, :_REACH].ravel()[_LOWEST]
    return int.from_bytes(np.packbits(waves > _FLAT).tobytes())
