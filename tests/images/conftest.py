"""DICOM files made by hand, and the real ones where they are at hand."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid


@pytest.fixture(autouse=True)
def patient_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the tests from making a key in the home of whoever runs them."""
    monkeypatch.setenv("CXRFEAT_PATIENT_KEY", "a key for tests only")


@pytest.fixture(scope="session")
def make_dicom() -> Callable[..., FileDataset]:
    """Return a function that makes an uncompressed radiograph of modality CR."""

    def make(stored: np.ndarray, bits: int, **elements: Any) -> FileDataset:
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset = FileDataset("made.dcm", {}, file_meta=meta, preamble=b"\0" * 128)
        dataset.SOPClassUID = meta.MediaStorageSOPClassUID
        dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
        dataset.Modality = "CR"
        dataset.BurnedInAnnotation = "NO"
        dataset.PhotometricInterpretation = "MONOCHROME2"
        dataset.SamplesPerPixel = 1
        dataset.Rows, dataset.Columns = stored.shape
        dataset.BitsAllocated = 8 if bits <= 8 else 16
        dataset.BitsStored, dataset.HighBit = bits, bits - 1
        dataset.PixelRepresentation = int(stored.min() < 0)
        kind = "i" if dataset.PixelRepresentation else "u"
        samples = stored.astype(f"<{kind}{dataset.BitsAllocated // 8}")
        dataset.PixelData = samples.tobytes() + b"\0" * (samples.nbytes % 2)
        dataset["PixelData"].VR = "OB" if bits <= 8 else "OW"
        for name, value in elements.items():
            setattr(dataset, name, value)
        return dataset

    return make


@pytest.fixture(scope="session")
def file_bytes() -> Callable[[pydicom.Dataset], bytes]:
    def write(dataset: pydicom.Dataset) -> bytes:
        buffer = io.BytesIO()
        pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
        return buffer.getvalue()

    return write
