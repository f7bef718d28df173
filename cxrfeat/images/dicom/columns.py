"""The columns that may leave a DICOM file, and the key that stands for its patient.

This is an allow-list: a value that does not look as it should is left out, not passed on.
"""

from __future__ import annotations

import hmac
import re

import pydicom
from pydicom.uid import UID

from cxrfeat.errors import InputError
from cxrfeat.images.dicom.patient_key import patient_key

COLUMN_TAGS = ("Modality", "ViewPosition", "PatientSex", "PatientAge", "PatientID")

_CODE = re.compile(r"[A-Z][A-Z0-9]{0,3}|LATERAL")
_VIEWS = frozenset(("AP", "PA", "LL", "RL", "LLD", "RLD", "LLO", "RLO", "LAT", "LATERAL"))
_PHOTOMETRIC = frozenset(("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL"))
_AGE = re.compile(r"(\d{1,3})([DWMY])")
_PER_YEAR = {"D": 365.25, "W": 52.18, "M": 12.0, "Y": 1.0}
_OLDEST = 90


def columns(dataset: pydicom.Dataset) -> dict[str, str]:
    """Return the columns that are kept, "" where not stated.

    Returns
    -------
    dict of str to str
        ``modality``, ``view``, ``photometric``, ``bits``, ``rows``, ``columns``,
        ``transfer_syntax`` (UID), ``sex`` (M, F, O), ``age`` (whole years; ``90+`` from 90 on)
        and ``group`` (a keyed hash of the patient id).
    """
    sex, view = plain(dataset, "PatientSex"), plain(dataset, "ViewPosition")
    photometric = str(dataset.get("PhotometricInterpretation", ""))
    syntax = UID(str(dataset.file_meta.get("TransferSyntaxUID", "")))
    return {
        "modality": plain(dataset, "Modality"),
        "view": view if view in _VIEWS else "",
        "photometric": photometric if photometric in _PHOTOMETRIC else "",
        "bits": _count(dataset, "BitsStored"),
        "rows": _count(dataset, "Rows"),
        "columns": _count(dataset, "Columns"),
        "transfer_syntax": str(syntax) if syntax.is_transfer_syntax else "",
        "sex": sex if sex in ("M", "F", "O") else "",
        "age": _age(dataset),
        "group": _group(dataset),
    }


def plain(dataset: pydicom.Dataset, name: str) -> str:
    """Return an element that should hold a short code, "" where it holds anything else."""
    text = _raw(dataset, name).decode("ascii", "replace").strip(" \0").upper()
    return text if _CODE.fullmatch(text) else ""


def _raw(dataset: pydicom.Dataset, name: str) -> bytes:
    """Return an element's bytes as they lie in the file, without pydicom judging them."""
    element = dataset.get_item(name)
    value = getattr(element, "value", None)
    if isinstance(value, bytes):
        return value
    return b"" if value is None else str(value).encode()


def _count(dataset: pydicom.Dataset, name: str) -> str:
    value = dataset.get(name)
    return "" if value is None else str(int(value))


def _age(dataset: pydicom.Dataset) -> str:
    """Return whole years; people of 90 and over are too few to tell apart, so they are one."""
    match = _AGE.fullmatch(_raw(dataset, "PatientAge").decode("ascii", "replace").strip(" \0"))
    if match is None:
        return ""
    years = int(int(match[1]) / _PER_YEAR[match[2]])
    return f"{_OLDEST}+" if years >= _OLDEST else str(years)


def _group(dataset: pydicom.Dataset) -> str:
    patient = _raw(dataset, "PatientID").strip(b" \0")
    if not patient:
        return ""
    try:
        key = patient_key()
    except InputError:  # who needs the groups asks for the key itself, and hears why there is none
        return ""
    return hmac.new(key, patient, "sha256").hexdigest()[:16]
