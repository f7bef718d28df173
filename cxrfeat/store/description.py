"""What an embedding file says about itself, in numbers that people ask for."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cxrfeat.notebook import Shown
from cxrfeat.paths import PathLike
from cxrfeat.store.format1 import FAILED, PENDING
from cxrfeat.store.reader import Embeddings, Origin, load


@dataclass(frozen=True, repr=False)
class FileInfo(Shown):
    """What an embedding file says about itself.

    Attributes
    ----------
    path : Path
    name : str
        Of the extractor.
    bytes : int
        Size of the file.
    created : str
    rows : int
    done, pending, failed : int
        Of the images that were among those of the last extract.
    gone : int
        Rows of images that were not; nothing below counts them.
    dimension : int
    storage : str
        "float32" or "float16".
    rounding : tuple of two floats, or None
        Median and largest relative error that storing float16 brought to a row.
    fingerprint : str
    spec, environment : dict
    origins : list of Origin
        How many of the rows that are done were computed in which environment.
    kind : str
        "multiclass" or "multilabel"; "" without labels.
    classes : dict of str to int
        Images per class.
    unlabelled : int
        Images without any known label.
    groups : int or None
        Distinct groups (patients), where there is such a column.
    patient_key : str
        Which key the groups were hashed with, where they were.
    columns : dict of str to int
        Distinct values of each column that came with the images.
    failures : dict of str to int
        Failed images per code, the most frequent first.
    """

    path: Path
    name: str
    bytes: int
    created: str
    rows: int
    done: int
    pending: int
    failed: int
    gone: int
    dimension: int
    storage: str
    rounding: tuple[float, float] | None
    fingerprint: str
    spec: dict[str, Any]
    environment: dict[str, Any]
    origins: list[Origin]
    kind: str
    classes: dict[str, int]
    unlabelled: int
    groups: int | None
    patient_key: str
    columns: dict[str, int]
    failures: dict[str, int]


def describe(file: PathLike) -> FileInfo:
    """Describe an embedding file without reading its embeddings.

    Raises
    ------
    FileFormatError
        If the file is damaged or not ours.
    """
    with load(Path(file)) as e:
        here = ~e.gone
        failed = (e.status == FAILED) & here
        codes = Counter(e.errors[row].partition(":")[0] for row in np.flatnonzero(failed))
        classes, unlabelled = {}, int(np.count_nonzero(here))
        if e.labels is not None:
            sums = np.nansum(e.labels[here], axis=0).astype(int).tolist()
            classes = dict(zip(e.classes, sums, strict=True))
            unlabelled = int(np.isnan(e.labels[here]).all(axis=1).sum())
        meta = {name: values[here] for name, values in e.meta.items()}
        groups = meta.get("group")
        return FileInfo(
            path=e.path,
            name=e.name,
            bytes=e.path.stat().st_size,
            created=e.created,
            rows=len(e),
            done=int(np.count_nonzero(e.done)),
            pending=int(np.count_nonzero((e.status == PENDING) & here)),
            failed=int(np.count_nonzero(failed)),
            gone=int(np.count_nonzero(e.gone)),
            dimension=e.dimension,
            storage=e.storage,
            rounding=_median_and_largest(e),
            fingerprint=e.fingerprint,
            spec=e.spec,
            environment=e.environment,
            origins=e.origins(),
            kind="" if e.labels is None else e.kind,
            classes=classes,
            unlabelled=unlabelled,
            groups=None if groups is None else len(set(groups[groups != ""].tolist())),
            patient_key=e.patient_key,
            columns={name: len(set(values.tolist())) for name, values in meta.items()},
            failures=dict(codes.most_common()),
        )


def _median_and_largest(e: Embeddings) -> tuple[float, float] | None:
    lost = None if e.rounding is None else e.rounding[e.done]
    return None if lost is None or not len(lost) else (float(np.median(lost)), float(lost.max()))
