"""DICOM to grey floats: modality LUT, VOI LUT or window, then inversion once and last."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

from cxrfeat.errors import ImageError
from cxrfeat.images.decoded import Decoded, Limits

_MODALITIES = ("CR", "DX", "RG")


def read_dicom(data: bytes, limits: Limits) -> Decoded:
    """Decode a single-frame radiograph of modality CR, DX or RG.

    Raises
    ------
    ImageError
        ``damaged``, ``no_pixels``, ``modality``, ``multi_frame``, ``colour``, ``decoder_missing``
        or ``too_large``.
    """
    dataset = _parse(data)
    _refuse_what_is_no_radiograph(dataset, limits)
    samples = _samples(dataset)
    steps: list[str] = []
    values = np.asarray(apply_modality_lut(samples, dataset), dtype=np.float64)
    if values is not samples:
        steps.append("modality LUT")
    pixels = _window(values, dataset, steps)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        np.subtract(1.0, pixels, out=pixels)
        steps.append("inverted (MONOCHROME1)")
    return Decoded(
        pixels=pixels,
        bits=int(dataset.BitsStored),
        decoder=f"pydicom {pydicom.__version__}",
        steps=tuple(steps),
    )


def _parse(data: bytes) -> pydicom.Dataset:
    try:
        return pydicom.dcmread(io.BytesIO(data), force=True)
    except InvalidDicomError as error:
        raise ImageError("damaged", f"not a DICOM data set: {error}") from None


def _refuse_what_is_no_radiograph(dataset: pydicom.Dataset, limits: Limits) -> None:
    modality = str(dataset.get("Modality", ""))
    if modality not in _MODALITIES:
        wanted = ", ".join(_MODALITIES)
        raise ImageError("modality", f"modality is '{modality}', not one of {wanted}")
    if "PixelData" not in dataset:
        raise ImageError("no_pixels", "the DICOM file has no pixel data")
    if int(dataset.get("NumberOfFrames") or 1) > 1:
        raise ImageError("multi_frame", f"the file holds {dataset.NumberOfFrames} frames, not one")
    if int(dataset.get("SamplesPerPixel", 1)) != 1:
        raise ImageError("colour", "the DICOM file is in colour")
    limits.check_pixels(int(dataset.Rows), int(dataset.Columns))


def _samples(dataset: pydicom.Dataset) -> npt.NDArray[np.generic]:
    try:
        return np.asarray(dataset.pixel_array)
    except (RuntimeError, NotImplementedError, ImportError) as error:
        syntax = dataset.file_meta.TransferSyntaxUID.name
        raise ImageError("decoder_missing", f"no decoder for {syntax}: {error}") from None


def _window(
    values: npt.NDArray[np.float64], dataset: pydicom.Dataset, steps: list[str]
) -> npt.NDArray[np.float32]:
    if "WindowCenter" in dataset or "VOILUTSequence" in dataset:
        values = np.asarray(apply_voi_lut(values, dataset), dtype=np.float64)
        low, high = float(values.min()), float(values.max())
        steps.append("VOI LUT or window, the first")
    else:
        low, high = (float(v) for v in np.percentile(values, (0.5, 99.5)))
        steps.append("percentiles 0.5 and 99.5")
    scaled = (values - low) / (high - low or 1.0)
    return np.clip(scaled, 0.0, 1.0).astype(np.float32)
