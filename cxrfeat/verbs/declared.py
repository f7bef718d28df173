"""Columns that the images themselves declare, beside those of a table."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from cxrfeat import images
from cxrfeat.dataset import Dataset


def with_declared_columns(found: Dataset, workers: int) -> Dataset:
    """Add what DICOM files declare: view, sex, age, patient ... ; a column of a table stays as is.

    Parameters
    ----------
    found
        The images.
    workers
        Threads that read the headers.
    """
    with ThreadPoolExecutor(workers, thread_name_prefix="headers") as pool:
        declared = list(pool.map(images.declared_columns, found.paths))
    files = sum(bool(columns) for columns in declared)
    if not files:
        return found
    meta = dict(found.meta)
    for name in next(columns for columns in declared if columns):
        values = [columns.get(name, "") for columns in declared]
        if name not in meta and any(values):
            meta[name] = np.array(values, dtype=np.str_)
    notes = [*found.notes, f"columns from the headers of {files} DICOM file(s)"]
    if "group" in meta and "group" not in found.meta:
        notes.append("patients from a keyed hash of the DICOM patient id")
    return replace(found, meta=meta, notes=notes)
