"""What a reader is asked to keep to, and what it hands back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from cxrfeat import defaults
from cxrfeat.errors import ImageError, InputError


@dataclass(frozen=True)
class ReadingOptions:
    """What is refused, most of it before memory is taken for it.

    Attributes
    ----------
    max_pixels : int
        Largest height times width. The default holds 8,900 x 8,900 pixels; a large detector
        has 4,300 x 3,500.
    max_bytes : int
        Largest file, also after inflating a deflated DICOM data set.
    modalities : tuple of str, or None
        DICOM modalities that are read; None reads any.
    frame : int or None
        Which frame to take from a DICOM file of several, from 0; None refuses such a file.
    bits : int or None
        How many bits pictures of 16 use where they do not state it; one that needs more is
        refused.
    guess_bits : bool
        Where `bits` is None: whether such a picture is scaled by its own largest sample, so that
        its numbers are not those of other pictures, or refused.
    """

    max_pixels: int = 80_000_000
    max_bytes: int = 512 * 2**20
    modalities: tuple[str, ...] | None = defaults.MODALITIES
    frame: int | None = None
    bits: int | None = None
    guess_bits: bool = True

    @classmethod
    def asked_for(
        cls, modalities: Sequence[str], frame: int | None, bits: int | None = None
    ) -> ReadingOptions:
        """Make options from what a user types; "any" among the modalities reads any.

        Raises
        ------
        InputError
            No modality, a frame before the first, or bits that cannot be.
        """
        names = tuple(name.upper() for name in modalities)
        if not names:
            raise InputError("no modality: name at least one, e.g. --modality DX, or any")
        if frame is not None and frame < 0:
            raise InputError(f"frame {frame}: the first frame is 0")
        if bits is not None and not 8 <= bits <= 32:
            raise InputError(f"{bits} bits: a picture of 16 bits uses from 8 to 32 of them")
        return cls(modalities=None if "ANY" in names else names, frame=frame, bits=bits)

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

    def check_bytes(self, size: int) -> None:
        """Refuse a file with more bytes than allowed.

        Raises
        ------
        ImageError
            ``too_large``.
        """
        if size > self.max_bytes:
            raise ImageError("too_large", f"{size} bytes, more than the limit of {self.max_bytes}")


@dataclass(frozen=True)
class Decoded:
    """The pixels of one file as the reader of its format found them.

    Attributes
    ----------
    pixels : ndarray of float32, shape (H, W)
        In [0, 1], bone bright.
    height, width : int
        As stored; `pixels` are fewer where a large JPEG was scaled while it was decoded.
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
    height: int
    width: int
    bits: int
    decoder: str
    steps: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    meta: dict[str, str] = field(default_factory=dict)


def one_line(error: Exception) -> str:
    """Return what a decoder says, for a message: one line and not a long one."""
    return " ".join(str(error).split())[:200]
