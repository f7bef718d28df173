"""Altered copies of one radiograph, as collections hold them: what a search for copies must find.

Collections are put together from others, and on the way a picture is saved anew, cut, brightened,
scaled or turned a little. Each kind here does one of these to a picture, by an amount that is drawn
from a range; the same seed gives the same copy.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

from cxrfeat.arrays import Picture
from cxrfeat.errors import UnknownNameError

QUALITY = 40, 90
"""Of JPEG, from strong to weak compression."""
CUT = 0.02, 0.10
"""Share of the height and of the width that is cut away, shared out among the two sides."""
GAIN, SHIFT, GAMMA = (0.8, 1.25), (-0.1, 0.1), (0.7, 1.4)
"""Factor and shift of the grey values, around the middle, and their exponent."""
SCALE = 0.4, 0.9
"""Side by the side before."""
DEGREES = 1.0, 3.0
"""Either way."""


def encoded_again(picture: Picture, random: np.random.Generator) -> Picture:
    """Save as JPEG and read again."""
    file = io.BytesIO()
    quality = int(random.integers(QUALITY[0], QUALITY[1] + 1))
    _image(picture).save(file, format="JPEG", quality=quality)
    return _picture(Image.open(file))


def cropped(picture: Picture, random: np.random.Generator) -> Picture:
    """Cut a part of the height and of the width away."""
    height, width = picture.shape
    rows, columns = (max(1, round(side * random.uniform(*CUT))) for side in (height, width))
    top, left = (int(random.integers(0, cut + 1)) for cut in (rows, columns))
    kept = picture[top : top + max(1, height - rows), left : left + max(1, width - columns)]
    return np.ascontiguousarray(kept)


def other_contrast(picture: Picture, random: np.random.Generator) -> Picture:
    """Change contrast, brightness and gamma."""
    gain, shift, gamma = (random.uniform(*of) for of in (GAIN, SHIFT, GAMMA))
    grey = np.clip((picture - 0.5) * gain + 0.5 + shift, 0.0, 1.0) ** gamma
    return grey.astype(np.float32)


def resized(picture: Picture, random: np.random.Generator) -> Picture:
    """Scale down."""
    scale = random.uniform(*SCALE)
    height, width = (max(1, round(side * scale)) for side in picture.shape)
    return _picture(_image(picture).resize((width, height), Image.Resampling.LANCZOS))


def rotated(picture: Picture, random: np.random.Generator) -> Picture:
    """Turn by a few degrees; the corners that come in are black."""
    angle = random.uniform(*DEGREES) * random.choice([-1.0, 1.0])
    return _picture(_image(picture).rotate(angle, Image.Resampling.BILINEAR))


def mirrored(picture: Picture, random: np.random.Generator) -> Picture:
    """Swap left and right."""
    return np.ascontiguousarray(picture[:, ::-1])


KINDS: dict[str, Callable[[Picture, np.random.Generator], Picture]] = {
    "encoded again as JPEG": encoded_again,
    "cropped": cropped,
    "with another contrast": other_contrast,
    "resized": resized,
    "rotated": rotated,
    "mirrored": mirrored,
}
"""Every kind by how its copies are called."""


def altered_copy(picture: Picture, kind: str, seed: int) -> Picture:
    """Make an altered copy of one picture.

    Parameters
    ----------
    picture : ndarray of float32, shape (H, W)
        In [0, 1].
    kind : str
        One of `KINDS`.
    seed : int
        Of the amount; give each picture its own.

    Returns
    -------
    ndarray of float32, shape (H', W')
        In [0, 1].

    Raises
    ------
    UnknownNameError
        Another kind.
    """
    if kind not in KINDS:
        raise UnknownNameError("kind of copy", kind, KINDS)
    random = np.random.default_rng([seed, zlib.crc32(kind.encode())])
    return KINDS[kind](picture, random)


def _image(picture: Picture) -> Image.Image:
    """Eight bits of grey, as files have."""
    return Image.fromarray((np.clip(picture, 0.0, 1.0) * 255.0).round().astype(np.uint8))


def _picture(image: Image.Image) -> Picture:
    return np.asarray(image, dtype=np.float32) / np.float32(255.0)
