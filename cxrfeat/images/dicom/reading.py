"""DICOM radiographs: what is read, what is refused, and nothing that identifies a patient."""

from __future__ import annotations

import io
import zlib
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.errors import InvalidDicomError

from cxrfeat.errors import ImageError
from cxrfeat.images.decoded import Decoded, ReadingOptions
from cxrfeat.images.dicom.columns import COLUMN_TAGS, columns, plain
from cxrfeat.images.dicom.grey_scale import GREY_TAGS, grey_table
from cxrfeat.images.dicom.transfer_syntax import decode, samples_lie_lowest
from cxrfeat.images.quiet import hush

_PIXEL_TAGS = (
    *("SamplesPerPixel", "NumberOfFrames", "Rows", "Columns", "PlanarConfiguration"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData"),
    *("ExtendedOffsetTable", "ExtendedOffsetTableLengths", "BurnedInAnnotation"),
)
# Only these are parsed, so that no other element can get out, not even in a message.
_TAGS = [*_PIXEL_TAGS, *GREY_TAGS, *COLUMN_TAGS]

_SHAPE = ("PhotometricInterpretation", "BitsStored", "Rows", "Columns")
_PIXEL_DATA_TAG = b"\xe0\x7f\x10\x00"  # pydicom drops an element that does not end
_DEFLATED = b"1.2.840.10008.1.2.1.99"


def read_dicom(data: bytes, options: ReadingOptions) -> Decoded:
    """Decode one radiograph, as its modality LUT and its first VOI LUT or window show it.

    Raises
    ------
    ImageError
        ``damaged``, ``truncated``, ``no_pixels``, ``modality``, ``multi_frame``, ``colour``,
        ``unsupported``, ``decoder_missing`` or ``too_large``.
    """
    hush("pydicom")
    try:
        return _read(data, options)
    except ImageError:
        raise
    except MemoryError:
        raise ImageError("too_large", "not enough memory to decode it") from None
    except Exception as error:
        # The text of the error may quote the file, so only its kind is told.
        raise ImageError("damaged", f"DICOM that cannot be read: {type(error).__name__}") from None


def declared_columns(head: bytes, rest: BinaryIO, options: ReadingOptions) -> dict[str, str]:
    """Read the columns of `cxrfeat.images.dicom.columns` without the pixels.

    Parameters
    ----------
    head
        The first bytes of the file.
    rest
        The open file, anywhere.

    Returns
    -------
    dict of str to str
        Empty where the file cannot be read: reading its pixels will say why.
    """
    hush("pydicom")
    rest.seek(0)
    try:
        if _DEFLATED in head:
            data = rest.read()
            _refuse_inflated_bomb(data, options)
            rest = io.BytesIO(data)
        return columns(
            pydicom.dcmread(
                rest, force=True, stop_before_pixels=True, specific_tags=[*COLUMN_TAGS, *_SHAPE]
            )
        )
    except Exception:
        return {}


def _read(data: bytes, options: ReadingOptions) -> Decoded:
    _refuse_inflated_bomb(data, options)
    dataset = _parse(data)
    if "PixelData" not in dataset and _PIXEL_DATA_TAG in data:
        raise ImageError("truncated", "the pixel data ends too early")
    _refuse_other_pictures(dataset, options)
    samples, decoder = decode(dataset, options)
    pixels, steps, warnings = _to_grey(samples, dataset)
    if not samples_lie_lowest(dataset):
        steps.insert(0, f"{int(dataset.BitsStored)} bits below bit {int(dataset.HighBit)} taken")
    return Decoded(
        pixels=pixels,
        height=int(dataset.Rows),
        width=int(dataset.Columns),
        bits=int(dataset.BitsStored),
        decoder=decoder,
        steps=tuple(steps),
        warnings=(*warnings, *_annotation(dataset)),
        meta=columns(dataset),
    )


def _parse(data: bytes) -> pydicom.Dataset:
    try:
        return pydicom.dcmread(io.BytesIO(data), force=True, specific_tags=list(_TAGS))
    except (InvalidDicomError, EOFError):
        raise ImageError("truncated", "the DICOM data set ends too early") from None


def _refuse_inflated_bomb(data: bytes, options: ReadingOptions) -> None:
    """Inflate a deflated data set once in small pieces, keeping nothing, to know its size."""
    if _DEFLATED not in data[:2048]:
        return
    if data[132:140] != b"\x02\x00\x00\x00UL\x04\x00":
        raise ImageError("damaged", "the DICOM file meta information has no length")
    start = 144 + int.from_bytes(data[140:144], "little")
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    size, piece = 0, data[start:]
    try:
        while piece and not inflater.eof:
            size += len(inflater.decompress(piece, 2**20))
            options.check_bytes(size)
            piece = inflater.unconsumed_tail
    except zlib.error:
        raise ImageError("damaged", "the deflated data set cannot be inflated") from None
    if not inflater.eof:
        raise ImageError("truncated", "the deflated data set ends too early")


def _refuse_other_pictures(dataset: pydicom.Dataset, options: ReadingOptions) -> None:
    modality = plain(dataset, "Modality")
    if options.modalities is not None and modality not in options.modalities:
        wanted = ", ".join(options.modalities)
        stated = f"'{modality}'" if modality else "not stated and so"
        raise ImageError("modality", f"the modality is {stated} not one of {wanted}")
    if "PixelData" not in dataset:
        raise ImageError("no_pixels", "the DICOM file has no pixel data")
    missing = [n for n in ("Rows", "Columns", "BitsAllocated", "BitsStored") if n not in dataset]
    if missing:
        raise ImageError("damaged", f"the DICOM file does not state {', '.join(missing)}")
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames > 1 and options.frame is None:
        raise ImageError("multi_frame", f"the file holds {frames} frames, not one")
    if frames > 1 and options.frame is not None and options.frame >= frames:
        raise ImageError("multi_frame", f"no frame {options.frame}: the file holds {frames}")
    if not str(dataset.get("PhotometricInterpretation", "")).startswith("MONOCHROME"):
        raise ImageError("colour", "the DICOM file is in colour")
    if int(dataset.BitsAllocated) not in (8, 16):
        raise ImageError("unsupported", f"{int(dataset.BitsAllocated)} bits a sample, not 8 or 16")
    options.check_pixels(int(dataset.Rows), int(dataset.Columns))


def _to_grey(
    samples: npt.NDArray[np.integer], dataset: pydicom.Dataset
) -> tuple[npt.NDArray[np.float32], list[str], list[str]]:
    """Map every sample through one table, which is far smaller than the picture."""
    low, high = int(samples.min()), int(samples.max())
    places = samples if low == 0 else samples.astype(np.int32) - low

    def counts() -> npt.NDArray[np.intp]:
        return np.bincount(places.ravel())

    table, steps, warnings = grey_table(np.arange(low, high + 1, dtype=np.int32), counts, dataset)
    return table[places], steps, warnings


def _annotation(dataset: pydicom.Dataset) -> tuple[str, ...]:
    declared = plain(dataset, "BurnedInAnnotation")
    if declared == "NO":
        return ()
    return ("burned-in annotation " + ("declared" if declared == "YES" else "not ruled out"),)
