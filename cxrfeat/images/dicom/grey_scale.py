"""The grey scale of a DICOM radiograph: modality LUT, VOI LUT or window, inversion last.

DICOM PS3.3, C.11.1 (modality LUT), C.11.2 (VOI LUT and window), C.7.6.3.1.2 (MONOCHROME1: the
lowest value is shown white), C.7.5.1.1.2 (padding).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.pixels.processing import apply_modality_lut, apply_voi

GREY_TAGS = (
    *("PhotometricInterpretation", "PresentationLUTShape"),
    *("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept"),
    *("VOILUTSequence", "VOILUTFunction", "WindowCenter", "WindowWidth"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit"),
)

PERCENTILES = (0.5, 99.5)
"""Without VOI LUT and window, these percentiles of the picture become 0 and 1."""

_Floats = npt.NDArray[np.float64]


def grey_table(
    values: npt.NDArray[np.int32],
    counts: Callable[[], npt.NDArray[np.intp]],
    dataset: pydicom.Dataset,
) -> tuple[npt.NDArray[np.float32], list[str], list[str]]:
    """Return the grey of every stored value.

    Parameters
    ----------
    values : ndarray of int, shape (V,)
        Every stored value from the smallest in the picture to the largest.
    counts : callable
        Returns how many pixels hold each value, int (V,); not called where a window says it all.
    dataset
        The elements of `GREY_TAGS`.

    Returns
    -------
    table : ndarray of float32, shape (V,)
        In [0, 1], bone bright.
    steps, warnings : list of str
        What was done, in order; what a person should look at.
    """
    steps: list[str] = []
    warnings: list[str] = []
    padding = _padding(values, dataset)
    if padding.any():
        steps.append("padding left out")
    modality = _modality(values, dataset, steps)

    def counts_of_picture() -> npt.NDArray[np.intp]:
        return np.where(padding, 0, counts())

    grey = _shown(modality, counts_of_picture, dataset, steps, warnings)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        grey = 1.0 - grey
        steps.append("inverted (MONOCHROME1)")
    elif dataset.get("PresentationLUTShape") == "INVERSE":
        warnings.append("MONOCHROME2 with an inverse presentation LUT: polarity not clear")
    grey[padding] = 0.0
    return grey.astype(np.float32), steps, warnings


def _padding(values: npt.NDArray[np.int32], dataset: pydicom.Dataset) -> npt.NDArray[np.bool_]:
    bounds = [
        int(dataset[name].value)
        for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")
        if name in dataset and dataset[name].value not in (None, "")
    ]
    if not bounds:
        return np.zeros(values.shape, dtype=bool)
    if int(dataset.get("PixelRepresentation", 0)) == 1:  # often written as if it were unsigned
        bits = int(dataset.BitsAllocated)
        bounds = [b - 2**bits if b >= 2 ** (bits - 1) else b for b in bounds]
    return (values >= min(bounds)) & (values <= max(bounds))


def _modality(
    values: npt.NDArray[np.int32], dataset: pydicom.Dataset, steps: list[str]
) -> npt.NDArray[np.int32] | _Floats:
    if dataset.get("ModalityLUTSequence"):
        steps.append("modality LUT")
        return np.asarray(apply_modality_lut(values, dataset)).astype(np.int32)
    slope, intercept = (_numbers(dataset, n) for n in ("RescaleSlope", "RescaleIntercept"))
    if (slope or [1.0])[0] == 1.0 and (intercept or [0.0])[0] == 0.0:
        return values
    scale, shift = (slope or [1.0])[0], (intercept or [0.0])[0]
    steps.append(f"rescaled: {scale:g} x + {shift:g}")
    return np.asarray(values * scale + shift, dtype=np.float64)


def _shown(
    values: npt.NDArray[np.int32] | _Floats,
    counts: Callable[[], npt.NDArray[np.intp]],
    dataset: pydicom.Dataset,
    steps: list[str],
    warnings: list[str],
) -> _Floats:
    """Return what the VOI LUT, else the window, else percentiles make of the values, in [0, 1]."""
    if dataset.get("VOILUTSequence"):
        steps.append(f"VOI LUT 1 of {len(dataset.VOILUTSequence)}")
        shown = np.asarray(apply_voi(np.round(values).astype(np.int32), dataset, index=0))
        low, high = _lut_range(dataset)
        return (shown - low) / ((high - low) or 1.0)
    centres, widths = _numbers(dataset, "WindowCenter"), _numbers(dataset, "WindowWidth")
    function = str(dataset.get("VOILUTFunction") or "LINEAR").upper()
    if centres and widths and widths[0] >= (1.0 if function == "LINEAR" else 1e-6):
        total = min(len(centres), len(widths))
        steps.append(f"window 1 of {total}: {function} {centres[0]:g} / {widths[0]:g}")
        return _windowed(values.astype(np.float64), centres[0], widths[0], function)
    if "WindowCenter" in dataset or "WindowWidth" in dataset:
        warnings.append("a window that cannot be used")
    low, high = _percentiles(values, counts())
    steps.append(f"percentiles {PERCENTILES[0]} to {PERCENTILES[1]}: {low:g} to {high:g}")
    return np.clip((values - low) / ((high - low) or 1.0), 0.0, 1.0)


def _lut_range(dataset: pydicom.Dataset) -> tuple[float, float]:
    """Return the smallest and largest entry of the first VOI LUT: what it shows black and white.

    The number of bits it declares is no guide; many files declare 16 and use 12.
    """
    entries, first, _ = (int(v) for v in dataset.VOILUTSequence[0].LUTDescriptor)
    inputs = np.arange(first, first + (entries or 2**16), dtype=np.int32)
    shown = np.asarray(apply_voi(inputs, dataset, index=0))
    return float(shown.min()), float(shown.max())


def _windowed(values: _Floats, centre: float, width: float, function: str) -> _Floats:
    """Apply a window as PS3.3 C.11.2.1.2 and C.11.2.1.3 define it, onto [0, 1]."""
    if function == "SIGMOID":
        steepness = np.clip(-4.0 * (values - centre) / width, -700.0, 700.0)
        return 1.0 / (1.0 + np.exp(steepness))
    if function == "LINEAR_EXACT":
        return np.clip((values - centre) / width + 0.5, 0.0, 1.0)
    if width == 1.0:
        return (values > centre - 0.5).astype(np.float64)
    return np.clip((values - (centre - 0.5)) / (width - 1.0) + 0.5, 0.0, 1.0)


def _percentiles(
    values: npt.NDArray[np.int32] | _Floats, counts: npt.NDArray[np.intp]
) -> tuple[float, float]:
    """Return two percentiles of the pixels, from how many of them hold each value."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(counts[order])
    if reached[-1] == 0:  # nothing but padding
        return float(values[0]), float(values[0])
    low, high = (
        float(values[order][np.searchsorted(reached, reached[-1] * p / 100.0)]) for p in PERCENTILES
    )
    return low, high


def _numbers(dataset: pydicom.Dataset, name: str) -> list[float]:
    """Return the finite numbers of an element, none where one of them is not."""
    if name not in dataset or dataset[name].value in (None, ""):
        return []
    value = dataset[name].value
    several = value if isinstance(value, (list, tuple, pydicom.multival.MultiValue)) else [value]
    try:
        numbers = [float(v) for v in several]
    except (TypeError, ValueError):
        return []
    return numbers if all(np.isfinite(numbers)) else []
