"""A contact sheet: many radiographs in one picture, each with a caption."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from cxrfeat.errors import StorageError
from cxrfeat.paths import PathLike

_GAP, _LINE, _FONT = 8, 13, 11
_Font = ImageFont.ImageFont | ImageFont.FreeTypeFont
_INK, _ALARM, _PAPER = (30, 30, 30), (190, 30, 30), (255, 255, 255)


@dataclass(frozen=True)
class Tile:
    """One radiograph on the sheet.

    Attributes
    ----------
    pixels : ndarray of float32, shape (S, S) or (S, S, 3), or None
        In [0, 1]; None leaves the place grey.
    lines : tuple of str
        Caption.
    warnings : tuple of str
        More caption, in red.
    """

    pixels: npt.NDArray[np.float32] | None
    lines: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def draw_sheet(tiles: Sequence[Tile], path: PathLike, *, side: int = 224, title: str = "") -> None:
    """Draw tiles in rows and write them as one picture, in the format of the suffix.

    Parameters
    ----------
    tiles
        At least one.
    path
        E.g. ``sheet.png``; replaced where it exists.
    side
        Side of a tile's picture in pixels.
    title
        Above everything, in as many lines as it takes.

    Raises
    ------
    StorageError
        The picture cannot be written there, or not in that format.
    """
    across = min(len(tiles), max(1, round((1.4 * len(tiles)) ** 0.5)))
    text = _LINE * max(len(tile.lines) + len(tile.warnings) for tile in tiles)
    width, height = side + _GAP, side + text + 2 * _GAP
    rows = -(-len(tiles) // across)
    font = ImageFont.load_default(_FONT)
    head = _wrapped(title, font, across * width - _GAP)
    above = _LINE * len(head) + _GAP if head else 0
    sheet = Image.new("RGB", (across * width + _GAP, above + rows * height + _GAP), _PAPER)
    pen = ImageDraw.Draw(sheet)
    for number, line in enumerate(head):
        pen.text((_GAP, _GAP + number * _LINE), line, fill=_INK, font=font)
    for place, tile in enumerate(tiles):
        left, top = _GAP + place % across * width, above + _GAP + place // across * height
        _paste(sheet, tile.pixels, left, top, side)
        lines = [(line, _INK) for line in tile.lines] + [(w, _ALARM) for w in tile.warnings]
        for number, (line, ink) in enumerate(lines):
            shown = _shortened(line, font, side)
            pen.text((left, top + side + 2 + number * _LINE), shown, fill=ink, font=font)
    try:
        sheet.save(path)
    except (OSError, ValueError) as error:
        raise StorageError(f"the sheet '{path}' cannot be written: {error}") from None


def _paste(
    sheet: Image.Image, pixels: npt.NDArray[np.float32] | None, left: int, top: int, side: int
) -> None:
    if pixels is None:
        grey = Image.new("L", (side, side), 200)
    else:
        grey = Image.fromarray(np.round(pixels * 255).astype(np.uint8)).resize((side, side))
    sheet.paste(grey, (left, top))


def _wrapped(text: str, font: _Font, width: int) -> list[str]:
    """Break a text into lines that fit, between words."""
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _shortened(line: str, font: _Font, side: int) -> str:
    """Cut a caption that is too wide in its beginning, where paths are alike."""
    line = "".join(c if c.isprintable() else "?" for c in line)
    if font.getlength(line) <= side:
        return line
    while line and font.getlength("…" + line) > side:
        line = line[1:]
    return "…" + line
