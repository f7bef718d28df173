"""Everything that a file says of its rows, under the names that other programs get it by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from cxrfeat.arrays import Matrix32, RowNumbers
from cxrfeat.errors import InputError, MissingExtraError
from cxrfeat.inputs import LabelKind

GONE = "gone"
"""The column that tells rows whose image is gone, where they are given as well."""


class _Rows(Protocol):
    """What is asked of a file; `Embeddings` has it."""

    @property
    def ids(self) -> list[str]: ...
    @property
    def sha256(self) -> list[str]: ...
    @property
    def gone(self) -> npt.NDArray[np.bool_]: ...
    @property
    def classes(self) -> list[str]: ...
    @property
    def kind(self) -> LabelKind: ...
    @property
    def labels(self) -> Matrix32 | None: ...
    @property
    def meta(self) -> dict[str, npt.NDArray[np.str_]]: ...


def columns_of(
    e: _Rows, rows: RowNumbers, *, include_gone: bool = False
) -> dict[str, npt.NDArray[Any]]:
    """Return the columns of some rows but their embeddings, by name.

    Returns
    -------
    dict of str to ndarray of shape (n,)
        ``id``, ``sha256``, ``gone`` if it is asked for; ``label``, the name of the class, where one
        class holds, and ``label_<class>`` for each, NaN where unknown; then those that came with
        the images, as ``meta_<name>`` where the name is taken.
    """
    columns: dict[str, npt.NDArray[Any]] = {
        "id": np.array([e.ids[row] for row in rows], dtype=np.str_),
        "sha256": np.array([e.sha256[row] for row in rows], dtype=np.str_),
    }
    if include_gone:
        columns[GONE] = e.gone[rows].astype(np.uint8)
    if e.labels is not None:
        labels = e.labels[rows]
        if e.kind == "multiclass":
            columns["label"] = _class_names(e.classes, labels)
        columns |= {f"label_{name}": labels[:, i] for i, name in enumerate(e.classes)}
    for name, values in e.meta.items():
        columns[f"meta_{name}" if name in columns or name == "embedding" else name] = values[rows]
    return columns


def _class_names(classes: list[str], labels: Matrix32) -> npt.NDArray[np.str_]:
    names = np.array([*classes, ""])
    known = (labels == 1).any(axis=1)
    return names[np.where(known, np.argmax(labels == 1, axis=1), len(classes))]


def target_of(labels: Matrix32 | None, kind: LabelKind, where: str) -> npt.NDArray[Any]:
    """Return labels as scikit-learn wants them.

    Returns
    -------
    ndarray
        Of classes that exclude each other the number of each, int of shape (n,), -1 where unknown;
        else the labels, float32 of shape (n, L), NaN where unknown.

    Raises
    ------
    InputError
        No labels.
    """
    if labels is None:
        raise InputError(f"{where} has no labels: extract or import with --labels TABLE")
    if kind == "multilabel":
        return labels
    held = labels == 1
    return np.where(held.any(axis=1), held.argmax(axis=1), -1)


def frame_of(columns: Mapping[str, npt.NDArray[Any]], numbers: Mapping[str, Matrix32]) -> Any:
    """Make a DataFrame of columns, one of them ``id``, its index, and matrices by name.

    Raises
    ------
    MissingExtraError
        Without pandas.
    """
    try:
        import pandas
    except ImportError:
        raise MissingExtraError("a DataFrame", "pandas") from None
    rest = {name: values for name, values in columns.items() if name != "id"}
    index = pandas.Index(columns["id"].astype(object), name="id")
    parts = [pandas.DataFrame(rest, index=index)]
    for name, X in numbers.items():
        named = [f"{name}_{i}" for i in range(X.shape[1])]
        parts.append(pandas.DataFrame(X, index=index, columns=named))
    return pandas.concat(parts, axis=1)
