"""One function that turns a file into a radiograph and says how it did so."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO, Literal

import numpy as np
import numpy.typing as npt

from cxrfeat.errors import ImageError
from cxrfeat.images.decoded import Decoded, ReadingOptions, one_line
from cxrfeat.images.loading import load_file, opened
from cxrfeat.images.raster import read_bmp, read_jpeg, read_png, read_tiff, read_webp
from cxrfeat.paths import PathLike
from cxrfeat.signatures import HEAD_BYTES, recognise


def _read_dicom(data: bytes, options: ReadingOptions) -> Decoded:
    from cxrfeat.images.dicom.reading import read_dicom  # pydicom takes 0.2 s to import

    return read_dicom(data, options)


READERS: dict[str, Callable[[bytes, ReadingOptions], Decoded]] = {
    "JPEG": read_jpeg,
    "PNG": read_png,
    "TIFF": read_tiff,
    "BMP": read_bmp,
    "WebP": read_webp,
    "DICOM": _read_dicom,
}
"""Every image format by the name `cxrfeat.signatures.recognise` gives it."""


_PNG_BITS = 24  # where a PNG has the bits of a sample
_SYNTAX_BYTES = 2048  # within which a DICOM file names its transfer syntax


@dataclass(frozen=True)
class Radiograph:
    """One radiograph and how it was read.

    Attributes
    ----------
    pixels : ndarray of float32, shape (H, W)
        In [0, 1], bone bright.
    format : str
        One of the names in `READERS`.
    decoder : str
        The library that decoded, with its version.
    sha256 : str
        Of the file's bytes, 64 hexadecimal digits.
    size_bytes : int
        Size of the file.
    height, width : int
        As stored; `pixels` are fewer where a large JPEG was scaled while it was decoded.
    bits : int
        Significant bits per sample before scaling.
    steps, warnings : tuple of str
        What was done to the samples, in order; what a person should look at.
    meta : dict of str to str
        Columns that the file declares (DICOM only); nothing that identifies a patient.
    """

    pixels: npt.NDArray[np.float32]
    format: str
    decoder: str
    sha256: str
    size_bytes: int
    height: int
    width: int
    bits: int
    steps: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    meta: dict[str, str] = field(default_factory=dict)


def read_image(source: PathLike | bytes, *, options: ReadingOptions | None = None) -> Radiograph:
    """Read one radiograph, of any known format, whole or not at all.

    The file is read once; the format is recognised by its content. Safe to call from threads.

    Parameters
    ----------
    source
        A path, or the bytes of a file.
    options
        What is refused, and how large a file may be.

    Returns
    -------
    Radiograph

    Raises
    ------
    ImageError
        For every file that cannot be used, with a code from ``docs/images.md``; nothing else.
    """
    options = options or ReadingOptions()
    if isinstance(source, bytes):
        data = source
        options.check_bytes(len(data))
    else:
        data = load_file(source, options.max_bytes)
    name = recognise(data[:HEAD_BYTES])
    if not data:
        raise ImageError("empty", "the file has no bytes")
    if name is None:
        raise ImageError("unrecognised", "not one of " + ", ".join(READERS))
    try:
        decoded = READERS[name](data, options)
    except ImageError:
        raise
    except MemoryError:
        raise ImageError("too_large", "not enough memory to decode it") from None
    except Exception as error:
        # Decoders raise whatever a damaged file makes them trip over; all of it means the same.
        raise ImageError("damaged", f"{name}: {type(error).__name__}: {one_line(error)}") from error
    return Radiograph(
        pixels=decoded.pixels,
        format=name,
        decoder=decoded.decoder,
        sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
        height=decoded.height,
        width=decoded.width,
        bits=decoded.bits,
        steps=decoded.steps,
        warnings=decoded.warnings,
        meta=decoded.meta,
    )


def asks_for(head: bytes) -> Literal["columns", "depth", ""]:
    """Tell from the first bytes of a file whether its header has to be looked into.

    Parameters
    ----------
    head
        `HEAD_BYTES` of them, or all there are.

    Returns
    -------
    str
        "columns" for DICOM, of which `declared_columns` says more, "depth" for what
        `states_no_depth` may be true of, "" for all other files.
    """
    kind = recognise(head)
    if kind == "DICOM":
        return "columns"
    deep_png = kind == "PNG" and head[_PNG_BITS : _PNG_BITS + 1] == b"\x10"
    return "depth" if deep_png or kind == "TIFF" else ""


def declared_columns(
    source: PathLike | BinaryIO, *, options: ReadingOptions | None = None
) -> dict[str, str]:
    """Return the columns that an image file declares, without decoding its pixels.

    Parameters
    ----------
    source
        A path, or the file opened.
    options
        How large a file may be.

    Returns
    -------
    dict of str to str
        For DICOM: modality, view, photometric interpretation, bits, rows, columns, transfer
        syntax, sex, age, and ``group``, a keyed hash of the patient id. Empty for other formats
        and for files that cannot be read; `read_image` says why.
    """
    try:
        with opened(source) as file:
            head = b"" if file is None else file.read(_SYNTAX_BYTES)
            if file is None or recognise(head[:HEAD_BYTES]) != "DICOM":
                return {}
            from cxrfeat.images.dicom.reading import (
                declared_columns as declared,  # as for _read_dicom
            )

            return declared(head, file, options or ReadingOptions())
    except (OSError, ValueError):
        return {}
