"""An embedding file out of arrays: nobody has to write format 1 by hand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrfeat.arrays import Matrix32
from cxrfeat.errors import InputError
from cxrfeat.inputs import Dataset, LabelKind, id_of, one_hot
from cxrfeat.paths import PathLike, several
from cxrfeat.spec import OUTSIDE, Spec
from cxrfeat.store.whole_file import write_all
from cxrfeat.version import __version__


def write(
    path: PathLike,
    X: Any,
    ids: str | Sequence[str] | None = None,
    labels: Any = None,
    groups: Sequence[Any] | None = None,
    *,
    classes: str | Sequence[str] | None = None,
    columns: Mapping[str, Sequence[Any]] | None = None,
    sha256: str | Sequence[str] | None = None,
    spec: Spec | None = None,
) -> Path:
    """Write embeddings that were made elsewhere as an embedding file, for `fit` and all others.

    A file that exists must be of the same spec, and must hold the same numbers of the ids that it
    has; its labels and columns are brought up to date, and rows that are not among `ids` are kept
    and marked as gone, as by `cxrfeat.extract`.

    Parameters
    ----------
    path : path
        The file, e.g. ``embeddings/raddino.h5``; its name is what the extractor is called.
    X : array or DataFrame of shape (n, D)
        Numbers, one row per image; kept as float32.
    ids : sequence of str, length n
        What each image is called: the path relative to the image folder, as `extract` calls it.
        Default: the index of a DataFrame `X`.
    labels : sequence of length n, or matrix or DataFrame of shape (n, L), optional
        Names of classes, one for each image (None, NaN or "" where unknown); or 0, 1 and NaN for
        each of several labels, named by the columns of a DataFrame or by `classes`.
    groups : sequence of length n, optional
        The patient of each image; "" or None where unknown.
    classes : sequence of str, optional
        Names of the columns of a label matrix; with labels that are whole numbers, what these
        count (-1 is unknown).
    columns : mapping of str to sequence of length n, optional
        Further columns: ``split``, ``source``, view, age ...
    sha256 : sequence of str, length n, optional
        Of each image file, 64 hexadecimal digits; "" where unknown.
    spec : mapping, optional
        What decides the meaning of the numbers, in plain JSON values: ``name`` of the encoder,
        ``preprocessing``, ``pretraining`` (a list of collections), weights ... It stands in the
        file's spec as ``encoder``. Files of equal specs may be mixed, compared as training and
        outside set, and given to one model. Default: the sha256 of the numbers and ids, so that no
        other file is taken for one of the same encoder.

    Returns
    -------
    Path
        Of the file.

    Raises
    ------
    InputError
        Other numbers than one row for each id, numbers that are not finite, ids that are not
        unique, labels that cannot be understood, or a file with other numbers.
    SpecMismatchError
        A file of another spec; it is left as it is.
    LockedError, StorageError, FileFormatError
        A file that cannot be written, or is damaged.

    Examples
    --------
    >>> import cxrfeat
    >>> cxrfeat.write(
    ...     "embeddings/raddino.h5", X, ids, labels=names, groups=patients,
    ...     spec={"name": "RAD-DINO", "preprocessing": "518 x 518, its own mean and spread"},
    ... )  # doctest: +SKIP
    """
    if ids is None:
        if not hasattr(X, "index") or callable(X.index):
            raise InputError("ids are needed, one for each row of X: what each image is called")
        ids = X.index
    names = [id_of(str(one)) for one in several(ids)]
    numbers = _numbers(X)
    known_classes, matrix, kind = _labels(
        labels, None if classes is None else several(classes), len(names)
    )
    meta = {
        name: _texts(values, f"columns['{name}']", len(names))
        for name, values in (columns or {}).items()
    }
    if groups is not None:
        meta["group"] = _texts(groups, "groups", len(names))
    if len(numbers) != len(names):
        raise InputError(f"X has {len(numbers)} rows and there are {len(names)} ids: give as many")
    if spec is None:
        stated = {"source": {"format": "array", "sha256": _digest(numbers, names)}}
    else:
        stated = {"encoder": _in_json(spec)}
    write_all(
        Path(path),
        numbers,
        Dataset(names, [], known_classes, matrix, kind, meta),
        spec={"origin": OUTSIDE, **stated},
        sha256=None if sha256 is None else [str(one or "").lower() for one in several(sha256)],
        environment={"written_by": f"cxrfeat.write {__version__}"},
    )
    return Path(path)


def _numbers(X: Any) -> Matrix32:
    """Take an array or DataFrame as float32, shape (n, D)."""
    if hasattr(X, "to_numpy"):
        for name, column in X.items():
            if column.dtype.kind not in "fiub":
                raise InputError(f"column '{name}' of X holds no numbers: leave it out")
        X = X.to_numpy(dtype=np.float64)
    try:
        with np.errstate(over="ignore"):
            numbers = np.asarray(X).astype(np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"X is no matrix of numbers ({error}): give one row per image") from None
    if numbers.ndim != 2:
        raise InputError(f"X has shape {numbers.shape}: it needs one row per image, shape (n, D)")
    return numbers


def _digest(X: Matrix32, ids: Sequence[str]) -> str:
    """Sha256 of ids and numbers, so that other numbers have another fingerprint."""
    made = hashlib.sha256(json.dumps(list(ids)).encode())
    made.update(np.ascontiguousarray(X, dtype="<f4").data)
    return made.hexdigest()


def _in_json(spec: Spec) -> dict[str, Any]:
    try:
        return dict(json.loads(json.dumps(dict(spec), allow_nan=False)))
    except (TypeError, ValueError) as error:
        raise InputError(
            f"the spec is no plain JSON ({error}): use texts, numbers, lists"
        ) from None


def _unknown(value: Any) -> bool:
    return value is None or value != value or str(value) in ("", "<NA>", "NaT")


def _texts(values: Sequence[Any], what: str, n: int) -> npt.NDArray[np.str_]:
    if isinstance(values, str) or len(values) != n:
        raise InputError(f"{what} has {len(values)} values for {n} ids: give one for each")
    return np.array(["" if _unknown(one) else _text(one) for one in values], dtype=np.str_)


def _text(value: Any) -> str:
    """Write a value as text; 3.0, which is 3 where a column has blanks, as "3"."""
    whole = isinstance(value, float | np.floating) and float(value).is_integer()
    return str(int(value)) if whole else str(value)


def _labels(
    labels: Any, classes: Sequence[str] | None, n: int
) -> tuple[list[str], Matrix32 | None, LabelKind]:
    """Understand labels as one class for each image, or as a matrix of several."""
    if labels is None:
        return [], None, "multiclass"
    if np.ndim(labels) == 2:
        return _several(labels, classes, n)
    cells = _texts(labels, "labels", n).tolist()
    if classes is not None and all(cell.lstrip("-").isdigit() for cell in cells if cell):
        counted = [int(cell) if cell else -1 for cell in cells]
        if max(counted, default=-1) >= len(classes) or min(counted, default=0) < -1:
            raise InputError(f"labels count {len(classes)} classes from 0, -1 where unknown")
        cells = ["" if number < 0 else str(classes[number]) for number in counted]
    names = sorted(set(cells) - {""}) if classes is None else [str(name) for name in classes]
    if strange := sorted(set(cells) - {"", *names}):
        raise InputError(f"'{strange[0]}' is a label and not one of `classes`: name it there")
    return names, one_hot(cells, names), "multiclass"


def _several(
    labels: Any, classes: Sequence[str] | None, n: int
) -> tuple[list[str], Matrix32 | None, LabelKind]:
    if classes is None and not hasattr(labels, "columns"):
        raise InputError("a label matrix needs names: give `classes`, one for each column")
    names = [str(one) for one in (classes if classes is not None else labels.columns)]
    try:
        matrix = np.asarray(labels).astype(np.float32)
    except (TypeError, ValueError):
        raise InputError("a label matrix holds 0, 1, or NaN where a label is unknown") from None
    if matrix.shape != (n, len(names)):
        raise InputError(
            f"labels have shape {matrix.shape}, not one row for each of {n} ids and one column for"
            f" each of {len(names)} classes"
        )
    if not (np.isnan(matrix) | (matrix == 0) | (matrix == 1)).all():
        raise InputError("a label matrix holds 0, 1, or NaN where a label is unknown")
    return names, matrix, "multilabel"
