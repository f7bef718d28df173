"""Columns that the images themselves declare, beside those of a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt

from cxrfeat import images
from cxrfeat.extraction.heads import Heads, heads_of
from cxrfeat.extraction.known_images import KnownImages
from cxrfeat.extraction.reading_ahead import look_in_order
from cxrfeat.extraction.sources import look_at, sources_of
from cxrfeat.inputs import Dataset

Texts = npt.NDArray[np.str_]


def with_declared_columns(
    found: Dataset,
    workers: int,
    known: KnownImages | None = None,
    heads: Heads | None = None,
    modalities: Counter[str] | None = None,
) -> Dataset:
    """Add what DICOM files declare: view, sex, age, patient ... ; a column of a table stays as is.

    Parameters
    ----------
    found
        The images.
    workers
        Threads that read the headers.
    known
        Files that may hold what images declare that have not changed since.
    heads
        Of the others; default: they are looked at here.
    modalities
        Counts the images of each DICOM modality, "" where a file states none.

    Raises
    ------
    InputError
        If patients are needed, and the key that hides their ids is damaged.
    """
    sources = known.sources if known else sources_of(found)
    there, before = np.zeros(len(found), dtype=bool), dict[str, Texts]()
    if known is not None:
        there, before = known.declaring([*found.meta])
    rows = (heads or heads_of(sources, workers, np.flatnonzero(~there))).declaring
    look = partial(look_at, look=images.declared_columns, without=dict[str, str]())
    asked = (sources.at(row) for row in rows.tolist())
    now = _columns_of(look_in_order(asked, look, workers), len(rows))

    columns: dict[str, Texts] = {}
    for name in dict.fromkeys([*now, *before]):
        parts = [one[name] for one in (now, before) if name in one]
        columns[name] = np.zeros(len(found), dtype=np.result_type(*parts))
        if name in before:
            columns[name][there] = before[name][there]
        if name in now:
            columns[name][rows] = now[name]
    columns = {name: values for name, values in columns.items() if np.any(values != "")}
    declared = dict.fromkeys(known.declared & found.meta.keys(), False) if known else {}
    declared |= {name: name not in found.meta for name in columns}
    if not columns:
        return replace(found, declared=declared)
    declares = np.any([values != "" for values in columns.values()], axis=0)
    files = np.count_nonzero(declares)
    if modalities is not None:
        stated = columns.get("modality", np.zeros(len(found), dtype=np.str_))
        modalities.update(stated[declares].tolist())
    key = images.named_key() if "group" not in found.meta else None
    meta = found.meta | {name: columns[name] for name, is_kept in declared.items() if is_kept}
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
    return replace(found, meta=meta, notes=notes, patient_key=key, declared=declared)


def _columns_of(declared: Iterable[dict[str, str]], count: int) -> dict[str, Texts]:
    """Turn what each of some images declares into columns, "" where one declares nothing."""
    columns: dict[str, list[str]] = {}
    kept: dict[str, str] = {}  # a text that many images have is there once
    for row, one in enumerate(declared):
        for name, value in one.items():
            column = columns.setdefault(name, [])
            column += [""] * (row - len(column))
            column.append(kept.setdefault(value, value))
    return {
        name: np.array(column + [""] * (count - len(column)), dtype=np.str_)
        for name, column in columns.items()
    }
