"""Columns that the images themselves declare, beside those of a table."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial

import numpy as np

from cxrfeat import images
from cxrfeat.extraction.reading_ahead import SHORT_WORK, read_in_order
from cxrfeat.extraction.sources import look_at, sources_of
from cxrfeat.inputs import Dataset


def with_declared_columns(
    found: Dataset, workers: int, modalities: Counter[str] | None = None
) -> Dataset:
    """Add what DICOM files declare: view, sex, age, patient ... ; a column of a table stays as is.

    Parameters
    ----------
    found
        The images.
    workers
        Threads that read the headers.
    modalities
        Counts the images of each DICOM modality, "" where a file states none.

    Raises
    ------
    InputError
        If patients are needed, and the key that hides their ids is damaged.
    """
    look = partial(look_at, look=images.declared_columns, without=dict[str, str]())
    declared = list(read_in_order([*sources_of(found).values()], look, workers, SHORT_WORK))
    files = sum(bool(columns) for columns in declared)
    if not files:
        return found
    if modalities is not None:
        modalities.update(columns["modality"] for columns in declared if columns)
    key = images.named_key() if "group" not in found.meta else None
    meta = dict(found.meta)
    for name in next(columns for columns in declared if columns):
        values = [columns.get(name, "") for columns in declared]
        if name not in meta and any(values):
            meta[name] = np.array(values, dtype=np.str_)
    notes = [*found.notes, f"columns from the headers of {files} DICOM file(s)"]
    if "group" not in meta:
        key = None
    if key is not None:
        notes.append("patients from a keyed hash of the DICOM patient id")
        if not key.lasts:
            notes.append(
                "no place for a patient key (the home folder cannot be written): it holds for this"
                " run only, so that images cannot be added later; set $CXRFEAT_PATIENT_KEY to a"
                " secret of your own"
            )
    return replace(found, meta=meta, notes=notes, patient_key=key)
