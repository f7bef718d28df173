"""`cxrfeat dataset`: what was understood of images and labels, before anything is computed."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cxrfeat import defaults, inputs
from cxrfeat.extraction.declared_columns import with_declared_columns
from cxrfeat.extraction.reading_ahead import reader_count
from cxrfeat.images import ReadingOptions
from cxrfeat.inputs import Dataset
from cxrfeat.notebook import Shown
from cxrfeat.paths import PathLike, several


@dataclass(frozen=True)
class ClassCount:
    """How often a class or finding holds, does not hold, and is not known."""

    name: str
    positive: int
    negative: int
    unknown: int


@dataclass(frozen=True, repr=False)
class DatasetSummary(Shown):
    """What `cxrfeat extract` would work on.

    Attributes
    ----------
    images : int
    kind : str
        "multiclass" or "multilabel"; "" without labels.
    classes : list of ClassCount
    unlabelled : int
        Images of which no label is known.
    patients : int or None
        None where nothing says which patient an image is of.
    without_patient : int
        Images whose patient is not known, where others are.
    images_per_patient : tuple of int, float, int, or None
        Smallest, median and largest number.
    splits, views : dict of str to int
        Images per split and view; "" where not known; empty without the column.
    columns : list of str
        Every column that goes along with the embeddings.
    missing : list of str
        Images that the table names and that are not there.
    rows_without_image : list of str
        Rows of the table that name no image of their own.
    images_without_row : list of str
        Images in the folders that no row taken of the table names.
    joined_by_fallback : dict of str to str
        What rows name and where it is not as it stands, with the image that it was taken for.
    notes : list of str
        What was understood, in sentences.
    refused : dict of str to int
        Images per DICOM modality that `extract` refuses; "" where a file states none.
    """

    images: int
    kind: str
    classes: list[ClassCount]
    unlabelled: int
    patients: int | None
    without_patient: int
    images_per_patient: tuple[int, float, int] | None
    splits: dict[str, int]
    views: dict[str, int]
    columns: list[str]
    missing: list[str]
    rows_without_image: list[str]
    images_without_row: list[str]
    joined_by_fallback: dict[str, str]
    notes: list[str]
    refused: dict[str, int]


def dataset(
    images: PathLike | Sequence[PathLike] = defaults.IMAGES,
    *,
    labels: PathLike | None = None,
    path_column: str | None = None,
    label_column: str | None = None,
    group_column: str | None = None,
    keep_column: str | Sequence[str] = (),
    uncertain: str | None = None,
    positive: str | None = None,
    where: str | Sequence[str] = (),
    repeated_rows: str = defaults.REPEATED_ROWS,
    modality: str | Sequence[str] = defaults.MODALITIES,
    workers: int | None = None,
) -> DatasetSummary:
    """Say what is understood of images and labels; no picture is decoded.

    Parameters
    ----------
    images, labels, path_column, label_column, group_column, uncertain
        As `cxrfeat.extract` takes them.
    positive, where, repeated_rows, modality
        As `cxrfeat.extract` takes them.
    workers : int, optional
        Threads that read DICOM headers; default: one for each core this process may use.

    Returns
    -------
    DatasetSummary

    Raises
    ------
    InputError
        Where something is ambiguous or missing; the message asks for it.
    """
    found = inputs.find(
        images,
        labels=labels,
        path_column=path_column,
        label_column=label_column,
        group_column=group_column,
        keep_column=several(keep_column),
        uncertain=uncertain,
        positive=positive,
        where=several(where),
        repeated_rows=repeated_rows,
    )
    reading = ReadingOptions.asked_for(several(modality), frame=None)
    modalities = Counter[str]()
    found = with_declared_columns(found, reader_count(workers), modalities=modalities)
    groups = found.meta.get("group")
    sizes = Counter(g for g in groups.tolist() if g) if groups is not None else Counter[str]()
    return DatasetSummary(
        images=len(found),
        kind=found.kind if found.labels is not None else "",
        classes=_class_counts(found),
        unlabelled=_unlabelled(found),
        patients=len(sizes) if sizes else None,
        without_patient=len(found) - sizes.total() if sizes else 0,
        images_per_patient=(
            (min(sizes.values()), statistics.median(sizes.values()), max(sizes.values()))
            if sizes
            else None
        ),
        splits=_counts(found, "split"),
        views=_counts(found, "view"),
        columns=sorted(found.meta),
        missing=found.missing,
        rows_without_image=found.rows_without_image,
        images_without_row=_without_row(found, images) if labels is not None else [],
        joined_by_fallback=found.joined_by_fallback,
        notes=found.notes,
        refused={
            name: count
            for name, count in modalities.most_common()
            if reading.modalities is not None and name not in reading.modalities
        },
    )


def _class_counts(found: Dataset) -> list[ClassCount]:
    if found.labels is None:
        return []
    return [
        ClassCount(
            name,
            positive=int((column == 1).sum()),
            negative=int((column == 0).sum()),
            unknown=int(np.isnan(column).sum()),
        )
        for name, column in zip(found.classes, found.labels.T, strict=True)
    ]


def _unlabelled(found: Dataset) -> int:
    if found.labels is None:
        return len(found)
    return int(np.isnan(found.labels).all(axis=1).sum())


def _counts(found: Dataset, column: str) -> dict[str, int]:
    values = found.meta.get(column)
    return dict(sorted(Counter(values.tolist()).items())) if values is not None else {}


def _without_row(found: Dataset, images: PathLike | Sequence[PathLike]) -> list[str]:
    listed = set(found.ids)
    return [name for name in inputs.image_ids(several(images)) if name not in listed]
