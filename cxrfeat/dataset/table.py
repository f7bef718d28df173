"""Images and labels from a table."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from cxrfeat.dataset.data import Dataset
from cxrfeat.dataset.folders import Found, find_images, image_id, refuse_duplicates
from cxrfeat.dataset.formats import recognise_format, understand
from cxrfeat.dataset.reading import (
    Columns,
    Understood,
    check_uncertain,
    is_unknown,
    joined_findings,
    label_matrix,
    plain,
)
from cxrfeat.errors import InputError, UnknownNameError
from cxrfeat.tables import read_table

# Compared without case, blanks and punctuation; for the path the first that is there is taken.
PATH_COLUMNS = (
    *("path", "imagepath", "filepath", "file", "filename", "image", "imagefile", "imageindex"),
    *("imagefilename", "imagename", "imageid", "dicomid", "id"),
)
LABEL_COLUMNS = (
    *("label", "labels", "class", "classname", "finding", "findings", "findinglabels"),
    *("diagnosis", "target"),
)
GROUP_COLUMNS = ("group", "patient", "patientid", "subject", "subjectid", "groupid")
SPLIT_COLUMNS = ("split", "subset", "partition")


def from_table(
    table: Path | str,
    *,
    images: Path | str | Sequence[Path | str],
    path_column: str | None = None,
    label_column: str | Sequence[str] | None = None,
    group_column: str | None = None,
    uncertain: str | None = None,
) -> Dataset:
    """Take the images that a table lists.

    Parameters
    ----------
    table
        CSV, TSV or Parquet: one of the collections in ``docs/labels.md``, or any table with one
        row per image.
    images
        The folder(s) that the paths are relative to; a bare file name is also looked for below.
    path_column
        The column with the path, recognised by name where not given.
    label_column
        One column: class names, or findings joined by ``|``. Several columns (or names joined by
        ``,``): one column per finding of 1, 0, -1 (uncertain), blank where unknown.
    group_column
        The column with the patient.
    uncertain
        What a label of -1 counts as: "ignore" (unknown), "zeros" or "ones".

    Returns
    -------
    Dataset
        In the order of the ids. Rows whose image is not there are left out and listed in
        ``missing``. Columns not used otherwise are kept in ``meta``.

    Raises
    ------
    InputError
        No path column, a column that is not there, more than one column that could be meant, an
        uncertain label without a policy, an id listed twice, or no image found at all.
    """
    check_uncertain(uncertain)
    columns = read_table(table)
    roots = [Path(p) for p in ([images] if isinstance(images, (str, Path)) else images)]
    known = recognise_format(columns) if path_column is None else None
    if known is None:
        understood = _understand_any(table, columns, path_column, label_column, group_column)
    else:
        understood = understand(known, columns, roots)
        _override(understood, columns, label_column, group_column)

    kept, ids, paths, missing = _locate(understood.paths, roots)
    if not ids:
        first = next(iter([*missing, *understood.rows_without_image]), "no row at all")
        raise InputError(
            f"no image that '{table}' ({understood.format}) lists was found (first: '{first}'): "
            "name the folder that its paths begin in"
        )
    refuse_duplicates(ids, f"keep one row per image in '{table}'")
    order = sorted(range(len(ids)), key=ids.__getitem__)
    rows = [kept[i] for i in order]
    chosen = _rows(understood, rows)
    classes, labels, kind = label_matrix(chosen, uncertain)
    return Dataset(
        ids=[ids[i] for i in order],
        paths=[paths[i] for i in order],
        classes=classes,
        labels=labels,
        kind=kind,
        meta={name: np.array(cells, dtype=np.str_) for name, cells in chosen.meta.items()},
        notes=[*_notes(understood, missing), *understood.notes],
        missing=missing,
        rows_without_image=understood.rows_without_image,
    )


def _understand_any(
    table: Path | str,
    columns: Columns,
    path_column: str | None,
    label_column: str | Sequence[str] | None,
    group_column: str | None,
) -> Understood:
    """Understand a table with one row per image by the names of its columns."""
    path = _column(columns, path_column, PATH_COLUMNS, "path", first=True)
    if path is None:
        raise InputError(
            f"'{table}' has no column that names the images: give --path-column, one of "
            + ", ".join(columns)
        )
    group = _column(columns, group_column, GROUP_COLUMNS, "group")
    split = _column(columns, None, SPLIT_COLUMNS, "split")
    names = _label_names(columns, label_column)
    if not names:
        found = _column(columns, None, LABEL_COLUMNS, "label")
        names = [found] if found else []
    renamed = {group: "group", split: "split"}
    understood = Understood(
        format=f"images from column '{path}'",
        paths=columns[path],
        meta={
            renamed.get(name, name): cells
            for name, cells in columns.items()
            if name not in (path, *names)
        },
    )
    _set_labels(understood, {name: columns[name] for name in names})
    understood.notes = [f"labels from {_quoted(names)}" if names else "no labels"]
    if group:
        understood.notes.append(f"patients from column '{group}'")
    if split:
        understood.notes.append(f"splits from column '{split}'")
    return understood


def _override(
    understood: Understood,
    columns: Columns,
    label_column: str | Sequence[str] | None,
    group_column: str | None,
) -> None:
    """Let columns that were asked for take the place of those a known format would use."""
    rows = len(next(iter(columns.values())))
    usable = dict(understood.findings)
    if len(understood.paths) == rows:  # one row per image, as in the table
        usable = {**columns, **usable}
    names = _label_names(usable, label_column)
    if names:
        _set_labels(understood, {name: usable[name] for name in names})
    if group_column is not None:
        name = _column(usable, group_column, (), "group") or ""
        understood.meta["group"] = usable[name]


def _label_names(columns: Columns, asked: str | Sequence[str] | None) -> list[str]:
    if isinstance(asked, str):
        asked = [asked] if asked in columns else [name.strip() for name in asked.split(",")]
    return [_column(columns, name, (), "label") or "" for name in asked or ()]


def _column(
    columns: Columns, asked: str | None, known: Sequence[str], what: str, *, first: bool = False
) -> str | None:
    """Return the column that was asked for, else the one of a usual name, else None."""
    if asked is not None:
        if asked not in columns:
            raise UnknownNameError(f"{what} column", asked, columns)
        return asked
    found = [name for usual in known for name in columns if plain(name) == usual]
    if len(found) > 1 and not first:
        raise InputError(
            f"columns {_quoted(found)} could each be meant: choose one with --{what}-column"
        )
    return found[0] if found else None


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _set_labels(understood: Understood, columns: Columns) -> None:
    """Take one column as classes or joined findings, several as findings."""
    understood.findings, understood.classes = {}, None
    if len(columns) > 1:
        understood.findings = columns
    elif columns:
        (cells,) = columns.values()
        if any("|" in cell for cell in cells):
            understood.findings = joined_findings(
                [[] if is_unknown(c) else [p.strip() for p in c.split("|")] for c in cells]
            )
        else:
            understood.classes = list(cells)


def _rows(understood: Understood, rows: Sequence[int]) -> Understood:
    def pick(columns: Columns) -> Columns:
        return {name: [cells[row] for row in rows] for name, cells in columns.items()}

    classes = understood.classes
    return Understood(
        format=understood.format,
        paths=[understood.paths[row] for row in rows],
        findings=pick(understood.findings),
        classes=None if classes is None else [classes[row] for row in rows],
        meta=pick(understood.meta),
    )


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
    """Find a path below a root, also when it begins with folders above that root."""
    if not value or "\0" in value:
        return None
    parts = PurePosixPath(value).parts
    for root in roots:
        for start in range(len(parts)):
            path = root.joinpath(*parts[start:])
            if os.path.exists(path):  # unlike Path.exists, also for names that are too long
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


def _notes(understood: Understood, missing: Sequence[str]) -> list[str]:
    notes = [understood.format]
    if missing:
        shown = ", ".join(f"'{value}'" for value in missing[:3])
        notes.append(f"{len(missing)} row(s) without their image left out ({shown})")
    if understood.rows_without_image:
        notes.append(f"{len(understood.rows_without_image)} row(s) of which no image is there")
    return notes
