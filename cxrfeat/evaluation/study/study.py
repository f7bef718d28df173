"""The images that are compared on, with the embeddings of every extractor: plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrfeat.arrays import Matrix32
from cxrfeat.inputs import LabelKind
from cxrfeat.results import JoinedTable


@dataclass(frozen=True)
class Extractor:
    """One extractor's embeddings of the aligned images.

    Attributes
    ----------
    name : str
        The stem of the file.
    X : ndarray of float32, shape (N, D)
    control : bool
        Whether the weights are random, so that a score shows the architecture alone.
    spec, fingerprint
        What decides the meaning of the numbers.
    widths : tuple of int
        Dimensions of the extractors that stand side by side in `X`; empty for a single one.
    """

    name: str
    X: Matrix32
    control: bool
    spec: dict[str, Any]
    fingerprint: str
    widths: tuple[int, ...] = ()


@dataclass(frozen=True)
class Study:
    """The images that every extractor has, with what is known about them.

    Attributes
    ----------
    ids : list of str, length N
    labels : ndarray of float32, shape (N, L)
        0 or 1 per class, NaN where unknown (multi-label only).
    sha256 : list of str, length N
    meta : dict of str to ndarray of str, shape (N,)
    extractors : list of Extractor
    notes : list of str
        How many images were left out, and why.
    patient_key : str
        Which key the patients were hashed with; "" where they were not.
    tables : list of JoinedTable
        That labels came from, where they are not those of the files.
    """

    ids: list[str]
    classes: list[str]
    kind: LabelKind
    labels: Matrix32
    sha256: list[str]
    meta: dict[str, npt.NDArray[np.str_]]
    extractors: list[Extractor]
    notes: list[str]
    patient_key: str = ""
    tables: list[JoinedTable] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def y(self) -> npt.NDArray[np.intp]:
        """The class of each image, shape (N,); multi-class only."""
        return np.asarray(self.labels.argmax(axis=1))


def is_control(spec: Mapping[str, Any]) -> bool:
    """Whether embeddings come from random weights."""
    weights = spec.get("weights")
    name = weights.get("name", "") if isinstance(weights, Mapping) else ""
    return str(name).startswith("random")
