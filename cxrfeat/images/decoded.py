"""What a reader hands back, and the limits it keeps to."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from cxrfeat.errors import ImageError


@dataclass(frozen=True)
class Limits:
    """What is refused before memory is taken for it.

    Attributes
    ----------
    max_pixels : int
        Largest height times width. The default holds 8,900 x 8,900 pixels; a large detector
        has 4,300 x 3,500.
    max_bytes : int
        Largest file.
    """

    max_pixels: int = 80_000_000
    max_bytes: int = 512 * 2**20

    def check_pixels(self, height: int, width: int) -> None:
        """Refuse an image with more pixels than allowed, or with none.

        Raises
        ------
        ImageError
            ``too_large`` or ``empty``.
        """
        if height < 1 or width < 1:
            raise ImageError("empty", f"the image is {width} x {height} pixels")
        if height * width > self.max_pixels:
            raise ImageError(
                "too_large", f"{width} x {height} pixels, more than the limit of {self.max_pixels}"
            )


@dataclass(frozen=True)
class Decoded:
    """The pixels of one file as a reader of one format found them.

    Attributes
    ----------
    pixels : ndarray of float32, shape (H, W)
        In [0, 1], bone bright.
    bits : int
        Significant bits per sample before scaling.
    decoder : str
        The library that decoded, with its version.
    steps : tuple of str
        What was done to get from samples to `pixels`, in order.
    warnings : tuple of str
        What a person should look at.
    meta : dict of str to str
        Columns that the file itself declares; nothing that identifies a patient.
    """

    pixels: npt.NDArray[np.float32]
    bits: int
    decoder: str
    steps: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    meta: dict[str, str] = field(default_factory=dict)
