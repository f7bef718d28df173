"""Transfer syntaxes: which decoder reads which, and what a coded picture says of itself."""

from __future__ import annotations

from importlib.metadata import version

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom import uid
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder

from cxrfeat.errors import ImageError
from cxrfeat.images import jpeg
from cxrfeat.images.containers import check_codestream
from cxrfeat.images.decoded import ReadingOptions
from cxrfeat.images.quiet import hush

_SIMPLEJPEG = "simplejpeg"

DECODERS: dict[str, tuple[str, str]] = {
    uid.ImplicitVRLittleEndian: ("", "pydicom"),
    uid.ExplicitVRLittleEndian: ("", "pydicom"),
    uid.ExplicitVRBigEndian: ("", "pydicom"),
    uid.DeflatedExplicitVRLittleEndian: ("", "pydicom"),
    uid.RLELossless: ("pydicom", "pydicom"),
    uid.JPEGBaseline8Bit: (_SIMPLEJPEG, "simplejpeg"),
    uid.JPEGExtended12Bit: (_SIMPLEJPEG, "simplejpeg"),
    uid.JPEG2000Lossless: ("pillow", "Pillow"),
    uid.JPEG2000: ("pillow", "Pillow"),
    uid.JPEGLSLossless: ("pyjpegls", "pyjpegls"),
    uid.JPEGLSNearLossless: ("pyjpegls", "pyjpegls"),
    uid.JPEGLossless: ("gdcm", "python-gdcm"),
    uid.JPEGLosslessSV1: ("gdcm", "python-gdcm"),
}
"""For every transfer syntax: pydicom's name for the plugin ("" for none), and its package.

simplejpeg is called from here, because pydicom does not know it.

One decoder each, so that a picture does not depend on what else is installed.
"""

_JPEG_SIZE_MARKERS = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})


def decode(
    dataset: pydicom.Dataset, options: ReadingOptions
) -> tuple[npt.NDArray[np.integer], str]:
    """Decode one frame of stored values, and name the decoder with its version.

    Returns
    -------
    samples : ndarray of int, shape (H, W)
    decoder : str

    Raises
    ------
    ImageError
        ``decoder_missing``, ``unsupported``, ``truncated``, ``damaged`` or ``too_large``.
    """
    syntax = dataset.file_meta.get("TransferSyntaxUID", uid.ImplicitVRLittleEndian)
    if syntax not in DECODERS:
        raise ImageError("unsupported", f"transfer syntax {_name(syntax)}")
    plugin, package = DECODERS[syntax]
    if plugin not in ("", _SIMPLEJPEG, *get_decoder(uid.UID(syntax)).available_plugins):
        raise ImageError(
            "decoder_missing",
            f"{_name(syntax)} needs the package {package}: pip install 'cxrfeat[dicom]'",
        )
    several = int(dataset.get("NumberOfFrames") or 1) > 1
    index = options.frame or 0 if several else 0
    if plugin:
        frame = _coded_frame(dataset, syntax, index, options)
    else:
        _check_native_length(dataset)
    if plugin == _SIMPLEJPEG:
        samples = _decode_jpeg(frame, dataset)
    else:
        samples = _decode_by_pydicom(dataset, syntax, index)
    made_by = f"pydicom {version('pydicom')}"
    if package != "pydicom":
        made_by += f", {package} {version(package)}"
    return samples, made_by


def _decode_by_pydicom(
    dataset: pydicom.Dataset, syntax: str, index: int
) -> npt.NDArray[np.integer]:
    plugin, package = DECODERS[syntax]
    if plugin == "gdcm":
        _hush_gdcm()
    hush("PIL")
    elsewhere = not samples_lie_lowest(dataset)
    try:
        samples, _ = get_decoder(uid.UID(syntax)).as_array(
            dataset,
            index=index,
            raw=True,
            decoding_plugin=plugin,
            correct_unused_bits=not elsewhere,  # type: ignore[arg-type]  # pydicom says TypedDict
        )
    except NotImplementedError:
        raise ImageError("unsupported", f"{_name(syntax)} of this bit depth") from None
    except RuntimeError:
        raise ImageError("damaged", f"{_name(syntax)} that {package} cannot decode") from None
    if samples.ndim != 2:
        raise ImageError("colour", "the coded picture is in colour")
    return _lowered(samples, dataset) if elsewhere else samples


def _decode_jpeg(frame: bytes, dataset: pydicom.Dataset) -> npt.NDArray[np.integer]:
    height, width, channels = _coded_shape(frame)
    if channels != 1:
        raise ImageError("colour", "the coded picture is in colour")
    if int(dataset.BitsStored) > 8:
        raise ImageError("unsupported", "JPEG of more than 8 bits")
    picture = jpeg.decode_jpeg(frame, (width, height))
    kind = "i" if int(dataset.get("PixelRepresentation") or 0) == 1 else "u"
    return _lowered(picture.astype(f"{kind}{int(dataset.BitsAllocated) // 8}"), dataset)


def samples_lie_lowest(dataset: pydicom.Dataset) -> bool:
    """Tell whether the bits of a sample are the lowest of its word, as the standard now demands.

    Older files may have them elsewhere, below the bit that (0028,0102) High Bit names.

    Raises
    ------
    ImageError
        ``damaged``: they do not fit below that bit, or it lies outside the word.
    """
    stored, high = int(dataset.BitsStored), _high_bit(dataset)
    if not 1 <= stored <= high + 1 <= int(dataset.BitsAllocated):
        allocated = int(dataset.BitsAllocated)
        raise ImageError("damaged", f"{stored} bits below bit {high} of {allocated}")
    return high == stored - 1


def _high_bit(dataset: pydicom.Dataset) -> int:
    value = dataset.get("HighBit")
    return int(dataset.BitsStored) - 1 if value in (None, "") else int(value)


def _lowered(samples: npt.NDArray[np.integer], dataset: pydicom.Dataset) -> npt.NDArray[np.integer]:
    """Shift samples to the lowest bits of their words; what lay around them, overlays say, goes.

    PS3.5, section 8.1.1: nothing may be assumed about the other bits. Signed words keep their sign.
    """
    above = int(dataset.BitsAllocated) - 1 - _high_bit(dataset)
    below = int(dataset.BitsAllocated) - int(dataset.BitsStored)
    return (samples << above) >> below


def _name(syntax: str) -> str:
    known = uid.UID(syntax)
    return known.name if known.is_transfer_syntax else "that is not known"


def _check_native_length(dataset: pydicom.Dataset) -> None:
    frames = int(dataset.get("NumberOfFrames") or 1)
    size = int(dataset.Rows) * int(dataset.Columns) * int(dataset.BitsAllocated) // 8 * frames
    if len(dataset.PixelData) < size:
        raise ImageError("truncated", f"{len(dataset.PixelData)} bytes of pixels, not {size}")


def _coded_frame(
    dataset: pydicom.Dataset, syntax: str, index: int, options: ReadingOptions
) -> bytes:
    """Return a coded picture, unless it has no end, or another size than the file states.

    Decoders take memory for the size in the picture itself, and some return a picture that stops
    half way as if it were whole.
    """
    frames = int(dataset.get("NumberOfFrames") or 1)
    try:
        frame = get_frame(dataset.PixelData, index, number_of_frames=frames)
    except (ValueError, IndexError):
        raise ImageError("truncated", "the coded picture ends too early") from None
    if syntax == uid.RLELossless:
        return frame
    if not samples_lie_lowest(dataset):
        raise ImageError("unsupported", f"{_name(syntax)} with samples below another high bit")
    if not frame.rstrip(b"\0\xff").endswith(b"\xff\xd9"):  # padded to an even length with either
        raise ImageError("truncated", "the coded picture has no end")
    height, width, _ = _coded_shape(frame)
    options.check_pixels(height, width)
    if (height, width) != (int(dataset.Rows), int(dataset.Columns)):
        stated = f"{dataset.Columns} x {dataset.Rows}"
        raise ImageError("damaged", f"coded as {width} x {height}, stated as {stated}")
    if syntax in (uid.JPEG2000Lossless, uid.JPEG2000):
        check_codestream(frame)
    return frame


def _coded_shape(frame: bytes) -> tuple[int, int, int]:
    """Return height, width and channels from a JPEG, JPEG-LS or JPEG 2000 picture's header."""
    start = frame.find(b"\xff\x4f\xff\x51")
    if start >= 0 and not frame.startswith(b"\xff\xd8"):
        x, y, x0, y0 = (
            int.from_bytes(frame[start + at : start + at + 4]) for at in (8, 12, 16, 20)
        )
        return y - y0, x - x0, int.from_bytes(frame[start + 40 : start + 42])
    place = 2
    while place + 10 <= len(frame) and frame[place] == 0xFF:
        marker = frame[place + 1]
        if marker in _JPEG_SIZE_MARKERS:
            height, width = (int.from_bytes(frame[place + at : place + at + 2]) for at in (5, 7))
            return height, width, frame[place + 9]
        filler = marker == 0xFF
        place += 1 if filler else 2 + int.from_bytes(frame[place + 2 : place + 4])
    raise ImageError("damaged", "the coded picture does not state its size")


def _hush_gdcm() -> None:
    """Keep GDCM from writing to the terminal about damaged pictures."""
    import gdcm

    gdcm.Trace.WarningOff()
    gdcm.Trace.ErrorOff()
