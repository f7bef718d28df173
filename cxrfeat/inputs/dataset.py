"""Which images there are, and what is known about each: plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from cxrfeat.inputs.places import Place

LabelKind = Literal["multiclass", "multilabel"]


@dataclass(frozen=True)
class PatientKey:
    """Which secret turned patient ids into groups.

    Attributes
    ----------
    id : str
        16 hexadecimal digits that tell one key from another and give none away.
    lasts : bool
        Whether the next process will have the same key.
    """

    id: str
    lasts: bool = True


@dataclass(frozen=True)
class Dataset:
    """The images to extract, in order, with labels and columns where they are known.

    Attributes
    ----------
    ids : list of str
        Unique names: the path relative to the image root, with ``/`` as separator.
    paths : sequence of Path, Member or RemoteFile
        Where the files are, in the order of `ids`; a member is one of an archive.
    classes : list of str
        Names of the L classes or findings; empty without labels.
    labels : ndarray of float32, shape (N, L), or None
        0 or 1 per class, NaN where unknown.
    kind : "multiclass" or "multilabel"
        Whether exactly one class holds per image, or any number of them.
    meta : dict of str to ndarray of str, shape (N,)
        Columns by name: ``group`` (patient), ``split``, ``source``, view, age ...
        "" where unknown.
    patient_key : PatientKey or None
        The key whose hashes stand in the column ``group``; None where groups were given.
    declared : dict of str to bool, or None
        Columns that the images themselves declare in their headers, and whether they are those in
        `meta` (a table may have given another of that name); None where nobody looked.
    notes : list of str
        What was understood and what was passed over, in sentences for the user.
    missing : list of str
        What rows of the table name as their image, where no such file is.
    rows_without_image : list of str
        Rows of the table that name no image of their own, e.g. a study of which none is there.
    joined_by_fallback : dict of str to str
        What rows of the table name as their image and where it is not as it stands, e.g. a bare
        file name, with the id that it was taken for.
    """

    ids: list[str]
    paths: Sequence[Place]
    classes: list[str] = field(default_factory=list)
    labels: npt.NDArray[np.float32] | None = None
    kind: LabelKind = "multiclass"
    meta: dict[str, npt.NDArray[np.str_]] = field(default_factory=dict)
    patient_key: PatientKey | None = None
    declared: dict[str, bool] | None = None
    notes: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    rows_without_image: list[str] = field(default_factory=list)
    joined_by_fallback: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)
