"""How a radiograph becomes the square that a network sees: which part of it, how large, and how."""

from __future__ import annotations

from dataclasses import dataclass

CROPS = ("none", "centre")
"""The whole radiograph, or the largest square in its middle."""

RESIZES = ("bilinear", "gaussian")
"""Bilinear with antialiasing, or linear after a Gaussian filter, as scikit-image has it."""


@dataclass(frozen=True, order=True)
class Framing:
    """What of a radiograph a network sees.

    Attributes
    ----------
    size : int
        Side S of the square, in pixels.
    crop : str
        One of `CROPS`.
    resize : str
        One of `RESIZES`.
    """

    size: int
    crop: str = "none"
    resize: str = "bilinear"

    def box(self, height: int, width: int) -> tuple[slice, slice]:
        """Return the rows and columns that are seen of a radiograph of this shape."""
        if self.crop == "none":
            return slice(0, height), slice(0, width)
        side = min(height, width)
        top, left = height // 2 - side // 2, width // 2 - side // 2
        return slice(top, top + side), slice(left, left + side)
