"""Images and labels from a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from cxrfeat.errors import InputError, UnknownNameError
from cxrfeat.inputs.dataset import Dataset
from cxrfeat.inputs.filtering import conditions, described, rows_where, taken
from cxrfeat.inputs.joining import Located, locate
from cxrfeat.inputs.label_table import (
    Columns,
    Understood,
    check_uncertain,
    is_unknown,
    joined_findings,
    label_matrix,
    plain,
    same_form,
)
from cxrfeat.inputs.places import ImageIds, Root, root_of
from cxrfeat.inputs.public_collections import FORMATS, nowhere, recognise_format, understand
from cxrfeat.inputs.repeated_rows import Repeats, check_repeated_rows
from cxrfeat.paths import PathLike, several
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


@dataclass(frozen=True)
class LabelTable:
    """A table and how it is to be read.

    Attributes
    ----------
    table : path
        CSV, TSV or Parquet: one of the collections in ``docs/labels.md``, or any table with one
        row per image.
    path_column : str, optional
        The column with the path, recognised by name where not given.
    label_column : str or sequence of str, optional
        One column: class names, or findings joined by ``|``. Several columns (or names joined by
        ``,``): one column per finding of 1, 0, -1 (uncertain), blank where unknown.
    group_column : str, optional
        The column with the patient.
    keep_column : sequence of str
        Further columns to keep of a collection in ``docs/labels.md``; of any other table all are.
    uncertain : str, optional
        What a label of -1 counts as: "ignore" (unknown), "zeros" or "ones".
    where : sequence of str
        Conditions ``COLUMN=VALUE`` or ``COLUMN=VALUE|VALUE``: only rows that meet them are taken.
        Several on one column add up; on several columns, all must hold.
    repeated_rows : str
        What becomes of several rows of one image: "error", "first" (row) or "join" (labels: 1
        wins over 0, known over unknown; several classes become findings).
    """

    table: PathLike
    path_column: str | None = None
    label_column: str | Sequence[str] | None = None
    group_column: str | None = None
    keep_column: Sequence[str] = ()
    uncertain: str | None = None
    where: Sequence[str] = ()
    repeated_rows: str = "error"

    @classmethod
    def asked_for(cls, labels: PathLike | None, **columns: Any) -> LabelTable | None:
        """Understand what a user gave: a table with the columns to read, or none.

        Raises
        ------
        InputError
            A column or a condition on rows, and no table.
        """
        if labels is not None:
            return cls(labels, **columns)
        needing = ("path_column", "label_column", "group_column", "keep_column", "where")
        for name in needing:
            if columns.get(name):
                option = f"--{name.replace('_', '-')}"
                raise InputError(f"{option} names a column, but there is no table: --labels")
        return None

    def read(self, images: PathLike | Sequence[PathLike] | ImageIds) -> Dataset:
        """Take the images that the table lists.

        Parameters
        ----------
        images
            The folder(s), or addresses, that the paths are relative to, or images that are known
            already; `joining.locate` says what else is tried.

        Returns
        -------
        Dataset
            In the order of the ids. Rows whose image is not there are left out and listed in
            ``missing``. Columns not used otherwise are kept in ``meta``.

        Raises
        ------
        InputError
            No path column, a column or value that is not there, more than one column that could
            be meant, an uncertain label without a policy, an image listed twice, a row that could
            be several images, or no image found at all.
        """
        return _taken(read_table(self.table), self, images)

    def read_columns(self, columns: Columns, ids: Sequence[str]) -> Dataset:
        """Take columns that are read already, of images known by their ids, as those of a table."""
        if self.path_column is not None:
            raise InputError("--path-column is of a table (--labels): --id-column names the ids")
        name = next(one for one in PATH_COLUMNS if one not in columns)
        asked = replace(self, path_column=name)
        found = _taken({name: list(ids), **columns}, asked, ImageIds(tuple(ids)))
        return replace(found, notes=found.notes[1:])  # which says that column

    def written(self) -> dict[str, Any]:
        """Write what was asked for, without what was left out, and the digest of the table."""
        asked = {
            one.name: getattr(self, one.name)
            for one in fields(self)
            if one.name != "table" and getattr(self, one.name) not in (None, (), [], "error")
        }
        return {"table": Path(self.table).as_posix(), "sha256": self.digest(), **asked}

    def digest(self) -> str:
        """Return the sha256 of the file's bytes, 64 hexadecimal digits.

        Raises
        ------
        InputError
            No such file.
        """
        try:
            return sha256(Path(self.table).read_bytes()).hexdigest()
        except OSError as error:
            raise InputError(f"'{self.table}' cannot be read: {error.strerror}") from error


def _taken(
    every_row: Columns, asked: LabelTable, images: PathLike | Sequence[PathLike] | ImageIds
) -> Dataset:
    """Take the images that columns of text list."""
    check_uncertain(asked.uncertain)
    check_repeated_rows(asked.repeated_rows)
    roots: list[Root]
    if known_already := isinstance(images, ImageIds):
        roots = [images]
    else:
        roots = [root_of(root) for root in several(images)]
    known = recognise_format(every_row)
    rows, notes = _chosen_rows(every_row, known, asked.where)
    columns = taken(every_row, rows)
    if known is None:
        understood = _understand_any(columns, asked)
    else:
        understood = understand(known, columns, roots)
        _override(understood, columns, asked)
    _keep(understood, columns, asked.keep_column)

    located = locate(understood.paths, roots)
    if not located.ids:
        raise _none_found(asked.table, understood, located, known_already)
    order = sorted(range(len(located.ids)), key=located.ids.__getitem__)
    chosen = [located.rows[i] for i in order]
    numbers = [row + 2 for row in rows]  # as a spreadsheet counts: the header is row 1
    repeats = Repeats.among(
        [located.ids[i] for i in order], _row_names(understood, chosen, numbers)
    )
    notes = [*_notes(understood, located), *notes]
    if asked.repeated_rows == "error":
        repeats.refuse(str(asked.table), _rows(understood, chosen).meta)
    if asked.repeated_rows != "join":
        chosen = [chosen[first] for first in repeats.firsts]
    data = _rows(understood, chosen)
    classes, labels, kind = label_matrix(data, asked.uncertain)
    if known is not None and labels is not None and asked.label_column is None:
        held = [name for name, column in zip(classes, labels.T, strict=True) if (column == 1).any()]
        notes += nowhere(known, held)
    meta = {name: [same_form(cell) for cell in cells] for name, cells in data.meta.items()}
    if asked.repeated_rows == "join":
        meta = repeats.joined_columns(meta)
        if labels is not None:
            classes, labels, kind = repeats.joined_labels(classes, labels, kind)
    if len(repeats):
        notes.append(repeats.note(asked.repeated_rows, several=kind == "multilabel"))
    return Dataset(
        ids=[repeats.ids[first] for first in repeats.firsts],
        paths=located.paths.taken(order[first] for first in repeats.firsts),
        classes=classes,
        labels=labels,
        kind=kind,
        meta={name: np.array(cells, dtype=np.str_) for name, cells in meta.items()},
        notes=notes,
        missing=located.missing,
        rows_without_image=understood.rows_without_image,
        joined_by_fallback=located.by_fallback,
    )


def _none_found(
    table: PathLike, understood: Understood, located: Located, known_already: bool
) -> InputError:
    first = next(iter([*located.missing, *understood.rows_without_image]), "no row at all")
    mend = "name the folder that its paths begin in"
    if known_already:
        mend = "name the column of ids, or of their file names without a folder (--path-column)"
    return InputError(
        f"no image that '{table}' ({understood.format}) lists was found (first: '{first}'): "
        + "; ".join([*located.notes, f"{mend} (cxrfeat help matching)"])
    )


def _understand_any(columns: Columns, asked: LabelTable) -> Understood:
    """Understand a table with one row per image by the names of its columns."""
    path = _column(columns, asked.path_column, PATH_COLUMNS, "path", first=True)
    if path is None:
        raise InputError(
            f"'{asked.table}' has no column that names the images: give --path-column, one of "
            + ", ".join(columns)
        )
    group = _column(columns, asked.group_column, GROUP_COLUMNS, "group")
    split = _column(columns, None, SPLIT_COLUMNS, "split")
    names = _label_names(columns, asked.label_column)
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


def _override(understood: Understood, columns: Columns, asked: LabelTable) -> None:
    """Let columns that were asked for take the place of those a known format would use."""
    usable = _usable(understood, columns)
    if asked.path_column is not None:
        name = _column(columns, asked.path_column, (), "path") or ""
        if understood.rows or name not in usable:
            raise InputError(
                f"--path-column {asked.path_column}: the rows of this table ({understood.format})"
                " are not one for each image, so that the images cannot be named by it: leave it"
                " out"
            )
        understood.paths = usable[name]
        understood.notes.append(f"images from column '{name}'")
    usable |= understood.findings
    names = _label_names(usable, asked.label_column)
    if names:
        _set_labels(understood, {name: usable[name] for name in names})
    if asked.group_column is not None:
        name = _column(usable, asked.group_column, (), "group") or ""
        understood.meta["group"] = usable[name]


def _usable(understood: Understood, columns: Columns) -> Columns:
    """Return the columns of the table by the rows that were understood; none where those differ."""
    if understood.rows:
        return taken(columns, understood.rows)
    one_each = len(understood.paths) == len(next(iter(columns.values())))
    return dict(columns) if one_each else {}


def _keep(understood: Understood, columns: Columns, asked: Sequence[str]) -> None:
    """Keep further columns beside the embeddings."""
    usable = _usable(understood, columns)
    for one in asked:
        name = _column(columns, one, (), "kept") or ""
        if name not in usable:
            raise InputError(
                f"--keep-column {one}: several rows of this table ({understood.format}) make one"
                " image's, and none of them decides"
            )
        understood.meta.setdefault(name, usable[name])
    if asked:
        understood.notes.append(f"kept beside the embeddings: {_quoted(asked)}")


def _label_names(columns: Columns, asked: str | Sequence[str] | None) -> list[str]:
    if isinstance(asked, str):
        asked = [asked] if asked in columns else [name.strip() for name in asked.split(",")]
    return [_column(columns, name, (), "label") or "" for name in asked or ()]


def _column(
    columns: Columns, asked: str | None, known: Sequence[str], what: str, *, first: bool = False
) -> str | None:
    """Return the column that was asked for, else the one of a usual name, else None."""
    if asked is not None:
        by_name = {same_form(name): name for name in columns}
        if same_form(asked) not in by_name:
            raise UnknownNameError(f"{what} column", asked, columns)
        return by_name[same_form(asked)]
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
    classes = understood.classes
    return Understood(
        format=understood.format,
        paths=[understood.paths[row] for row in rows],
        findings=taken(understood.findings, rows),
        classes=None if classes is None else [classes[row] for row in rows],
        meta=taken(understood.meta, rows),
    )


def _row_names(understood: Understood, rows: Sequence[int], numbers: Sequence[int]) -> list[str]:
    """Name rows as a spreadsheet counts them, or, where several made one, by what they list."""
    if understood.rows:
        return [str(numbers[understood.rows[row]]) for row in rows]
    if len(understood.paths) == len(numbers):
        return [str(numbers[row]) for row in rows]
    return [f"'{understood.paths[row]}'" for row in rows]


def _chosen_rows(
    columns: Columns, known: str | None, where: Sequence[str]
) -> tuple[list[int], list[str]]:
    """Return the rows that are taken, and what was left out, in sentences."""
    wanted = conditions(columns, where)
    total = len(next(iter(columns.values())))
    rows, notes = list(range(total)), []
    if wanted:
        rows = rows_where(columns, wanted)
        notes.append(f"{len(rows)} of {total} rows, where {described(wanted)}")
    usual = FORMATS[known].where if known else ()
    column = next((name for name in columns if usual and plain(name) == usual[0]), None)
    if column is None or column in wanted:
        return rows, notes
    kept = [row for row in rows if plain(columns[column][row]) in map(plain, usual[1:])]
    if rows and not kept:
        others = ", ".join(sorted({columns[column][row] for row in rows}))
        raise InputError(
            f"no row has the {column} {usual[1]}: choose another by --where {column}=VALUE "
            f"({others})"
        )
    if len(kept) < len(rows):
        notes.append(f"{len(rows) - len(kept)} row(s) of another {column} than {usual[1]} left out")
    return kept, notes


def _notes(understood: Understood, located: Located) -> list[str]:
    notes = [understood.format]
    missing = located.missing
    if missing:
        shown = ", ".join(f"'{value}'" for value in missing[:3])
        notes.append(f"{len(missing)} row(s) without their image left out ({shown})")
    if understood.rows_without_image:
        notes.append(f"{len(understood.rows_without_image)} row(s) of which no image is there")
    return [*notes, *located.notes, *understood.notes]
