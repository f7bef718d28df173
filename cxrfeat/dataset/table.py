"""Images and labels from a table with one row per image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from cxrfeat.dataset.data import Dataset, LabelKind
from cxrfeat.dataset.folders import Found, find_images, image_id, one_hot, refuse_duplicates
from cxrfeat.errors import InputError, UnknownNameError
from cxrfeat.tables import read_table

# Compared without case, blanks and punctuation; the first that is there is taken.
PATH_COLUMNS = (
    *("path", "imagepath", "filepath", "file", "filename", "image", "imagefile", "imageindex"),
    *("imagefilename", "imagename", "imageid", "dicomid", "id"),
)
LABEL_COLUMNS = (
    *("label", "labels", "class", "classname", "finding", "findings", "findinglabels"),
    *("diagnosis", "target"),
)
GROUP_COLUMNS = ["group", "patient", "patientid", "subject", "subjectid", "groupid"]
SPLIT_COLUMNS = ["split", "subset", "partition"]

_UNKNOWN = frozenset(("", "nan", "na", "n/a", "none", "null"))
_Labels = npt.NDArray[np.float32]


def from_table(
    table: Path | str,
    *,
    images: Path | str | Sequence[Path | str],
    path_column: str | None = None,
    label_column: str | Sequence[str] | None = None,
    group_column: str | None = None,
) -> Dataset:
    """Take the images that a table lists.

    Parameters
    ----------
    table
        CSV, TSV or Parquet with one row per image.
    images
        The folder(s) that the paths are relative to; a bare file name is also looked for below.
    path_column
        The column with the path, recognised by name where not given.
    label_column
        One column: class names, or findings joined by ``|``. Several columns (or names joined by
        ``,``): one 0/1 column per finding, blank where unknown.
    group_column
        The column with the patient.

    Returns
    -------
    Dataset
        In the order of the ids. Rows without their image are left out and counted in the notes.
        Columns not used otherwise are kept in ``meta``.

    Raises
    ------
    InputError
        No path column, a column that is not there, an id listed twice, or no image found at all.
    """
    columns = read_table(table)
    roots = [Path(p) for p in ([images] if isinstance(images, (str, Path)) else images)]
    path_name = _column(columns, path_column, PATH_COLUMNS, "path") or ""
    if not path_name:
        raise InputError(
            f"'{table}' has no column that names the images: give --path-column, one of "
            + ", ".join(columns)
        )
    group_name = _column(columns, group_column, GROUP_COLUMNS, "group")
    split_name = _column(columns, None, SPLIT_COLUMNS, "split")
    label_names = _label_columns(columns, label_column)

    kept, ids, paths, missing = _locate(columns[path_name], roots)
    if not ids:
        raise InputError(
            f"none of the {len(missing)} images in '{table}' was found (first: "
            f"'{(missing or ['none'])[0]}'): name the folder that column '{path_name}' starts from"
        )
    refuse_duplicates(ids, f"keep one row per image in '{table}'")
    order = sorted(range(len(ids)), key=ids.__getitem__)
    rows = [kept[i] for i in order]
    classes, labels, kind = _labels({n: [columns[n][r] for r in rows] for n in label_names})
    meta = {
        {group_name: "group", split_name: "split"}.get(name, name): np.array(
            [columns[name][r] for r in rows], dtype=np.str_
        )
        for name in columns
        if name not in (path_name, *label_names)
    }
    return Dataset(
        ids=[ids[i] for i in order],
        paths=[paths[i] for i in order],
        classes=classes,
        labels=labels,
        kind=kind,
        meta=meta,
        notes=_notes(path_name, label_names, group_name, split_name, missing),
    )


def _column(
    columns: dict[str, list[str]], asked: str | None, known: Sequence[str], what: str
) -> str | None:
    """Return the column that was asked for, else the one column of a usual name, else None."""
    if asked is not None:
        if asked not in columns:
            raise UnknownNameError(f"{what} column", asked, columns)
        return asked
    plain = {_plain(name): name for name in reversed(columns)}
    return next((plain[name] for name in known if name in plain), None)


def _plain(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())


def _label_columns(columns: dict[str, list[str]], asked: str | Sequence[str] | None) -> list[str]:
    if isinstance(asked, str):
        asked = [asked] if asked in columns else [name.strip() for name in asked.split(",")]
    if asked:
        return [_column(columns, name, (), "label") or "" for name in asked]
    found = _column(columns, None, LABEL_COLUMNS, "label")
    return [found] if found else []


def _locate(
    values: Sequence[str], roots: Sequence[Path]
) -> tuple[list[int], list[str], list[Path], list[str]]:
    """Return the rows whose file is there, their ids and paths, and the values not found."""
    kept: list[int] = []
    ids: list[str] = []
    paths: list[Path] = []
    missing: list[str] = []
    below: dict[str, list[tuple[str, Path]]] | None = None
    for row, value in enumerate(values):
        place = _directly(value, roots)
        if place is None:
            if below is None:
                below = _by_name(find_images([root for root in roots if root.is_dir()]))
            candidates = below.get(PurePosixPath(value).name, [])
            place = candidates[0] if len(candidates) == 1 else None
        if place is None:
            missing.append(value)
            continue
        kept.append(row)
        ids.append(place[0])
        paths.append(place[1])
    return kept, ids, paths, missing


def _directly(value: str, roots: Sequence[Path]) -> tuple[str, Path] | None:
    if not value:
        return None
    for root in roots:
        path = root / value
        if path.exists():
            inside = path.is_relative_to(root)
            return image_id(path.relative_to(root) if inside else path), path
    return None


def _by_name(found: Found) -> dict[str, list[tuple[str, Path]]]:
    """Index the images by file name, and by file name without its suffix."""
    index: dict[str, list[tuple[str, Path]]] = {}
    for name, path in zip(found.ids, found.paths, strict=True):
        for key in {path.name, path.stem}:
            index.setdefault(key, []).append((name, path))
    return index


def _labels(
    columns: dict[str, list[str]],
) -> tuple[list[str], _Labels | None, LabelKind]:
    if not columns:
        return [], None, "multiclass"
    if len(columns) > 1:
        values = [[_number(name, cell) for cell in cells] for name, cells in columns.items()]
        return list(columns), np.array(values, dtype=np.float32).T, "multilabel"
    (cells,) = columns.values()
    cells = ["" if cell.strip().lower() in _UNKNOWN else cell for cell in cells]
    if any("|" in cell for cell in cells):
        findings = [[part.strip() for part in cell.split("|") if part.strip()] for cell in cells]
        classes = sorted({name for row in findings for name in row})
        labels = np.array(
            [
                [np.nan] * len(classes) if not row else [name in row for name in classes]
                for row in findings
            ],
            dtype=np.float32,
        )
        return classes, labels, "multilabel"
    classes = sorted(set(cells) - {""})
    return classes, one_hot(cells, classes), "multiclass"


def _number(column: str, cell: str) -> float:
    if cell.strip().lower() in _UNKNOWN:
        return float("nan")
    try:
        value = float(cell)
    except ValueError:
        value = float("nan")
    if value not in (0.0, 1.0):
        raise InputError(f"label column '{column}' holds '{cell}': several need 0, 1 or blank")
    return value


def _notes(
    path: str, labels: Sequence[str], group: str | None, split: str | None, missing: Sequence[str]
) -> list[str]:
    notes = [f"images from column '{path}'"]
    notes.append("labels from " + ", ".join(f"'{n}'" for n in labels) if labels else "no labels")
    if group:
        notes.append(f"patients from column '{group}'")
    if split:
        notes.append(f"splits from column '{split}'")
    if missing:
        shown = ", ".join(f"'{value}'" for value in missing[:3])
        notes.append(f"{len(missing)} row(s) without their image left out ({shown})")
    return notes
