"""A map of evidence over its radiograph: red where it speaks for a class, blue against it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from cxrfeat.errors import StorageError

_Floats = npt.NDArray[np.float32]
_Bytes = npt.NDArray[np.uint8]

FOR, AGAINST = (235, 40, 30), (40, 90, 235)
STRONGEST = 0.6
"""Opacity of the colour where the evidence is largest; the radiograph stays visible below it."""

_PAPER = 255


def upright_size(pixels: _Floats, height: int, width: int) -> tuple[int, int]:
    """Return height and width of the radiograph at its own size, the way up it is looked at.

    Parameters
    ----------
    pixels : ndarray of float32, shape (H, W)
        As `read_image` gives them: turned upright, and fewer than stored for large pictures.
    height, width : int
        As stored.
    """
    if pixels.shape == (height, width):
        return height, width
    tall, stored_tall = pixels.shape[0] / pixels.shape[1], height / width
    turned = abs(tall - 1 / stored_tall) < abs(tall - stored_tall)
    return (width, height) if turned else (height, width)


def overlay(pixels: _Floats, evidence: _Floats) -> _Bytes:
    """Colour a radiograph by a map of its own shape.

    Parameters
    ----------
    pixels : ndarray of float32, shape (H, W)
        In [0, 1]; resized to the map where it has another size.
    evidence : ndarray of float32, shape (H', W')
        Positive for a class, negative against it; coloured relative to its largest magnitude.

    Returns
    -------
    ndarray of uint8, shape (H', W', 3)
    """
    height, width = evidence.shape
    grey = Image.fromarray(np.round(pixels * 255).astype(np.uint8))
    if grey.size != (width, height):
        grey = grey.resize((width, height), Image.Resampling.BILINEAR)
    largest = float(np.abs(evidence).max()) or 1.0
    opacity = (STRONGEST / largest * np.abs(evidence)).astype(np.float32)
    coloured = np.empty((height, width, 3), dtype=np.uint8)
    below = np.asarray(grey, dtype=np.float32) * (1 - opacity)
    for channel, (red, blue) in enumerate(zip(FOR, AGAINST, strict=True)):
        coloured[..., channel] = below + opacity * np.where(evidence > 0, red, blue)
    return coloured


def write_overlay(coloured: _Bytes, peak: tuple[int, int] | None, caption: str, path: Path) -> None:
    """Write an overlay as PNG, its peak ringed if there is one, and a caption in its lowest line.

    Raises
    ------
    StorageError
        It cannot be written there.
    """
    picture = Image.fromarray(coloured)
    pen = ImageDraw.Draw(picture)
    if peak is not None:
        radius, line = max(3, min(picture.size) // 40), max(1, min(picture.size) // 300)
        (x, y), r = peak, radius
        pen.ellipse((x - r, y - r, x + r, y + r), outline="yellow", width=line)
    _write_caption(picture, pen, caption)
    about = PngInfo()
    about.add_itxt("Description", caption)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path, format="PNG", pnginfo=about)
    except OSError as error:
        raise StorageError(f"the overlay '{path}' cannot be written: {error.strerror}") from None


def tile(coloured: _Bytes, side: int = 224) -> _Floats:
    """Fit an overlay into a square on white, for a sheet, shape (side, side, 3), in [0, 1]."""
    picture = Image.fromarray(coloured)
    scale = side / max(picture.size)
    small = picture.resize(
        (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    )
    square = Image.new("RGB", (side, side), (_PAPER,) * 3)
    square.paste(small, ((side - small.width) // 2, (side - small.height) // 2))
    return np.asarray(square, dtype=np.float32) / np.float32(255)


def _write_caption(picture: Image.Image, pen: ImageDraw.ImageDraw, caption: str) -> None:
    size = max(8.0, picture.width / 45)
    while size > 6 and pen.textlength(caption, font=ImageFont.load_default(size)) > picture.width:
        size -= 1
    font = ImageFont.load_default(size)
    place = (picture.width * 0.01, picture.height - 1.4 * size)
    pen.text(place, caption, fill="white", font=font, stroke_width=1, stroke_fill="black")
