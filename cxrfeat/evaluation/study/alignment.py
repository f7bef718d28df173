"""Bring the embeddings of several extractors to the same images in the same order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from cxrfeat.arrays import Matrix32, RowNumbers
from cxrfeat.errors import InputError
from cxrfeat.evaluation.study.mapping import blocks, matrix_of_blocks
from cxrfeat.evaluation.study.study import Extractor, Study, is_control
from cxrfeat.inputs import ImageIds, LabelKind, LabelTable
from cxrfeat.results import JoinedTable

DONE = 1
"""The value of ``status`` of a row that holds an embedding (format 1)."""


class _EmbeddingFile(Protocol):
    """What is asked of an embedding file; `cxrfeat.store.Embeddings` has it."""

    @property
    def path(self) -> Path: ...
    @property
    def name(self) -> str: ...
    @property
    def ids(self) -> list[str]: ...
    @property
    def status(self) -> npt.NDArray[np.uint8]: ...
    @property
    def gone(self) -> npt.NDArray[np.bool_]: ...
    @property
    def sha256(self) -> list[str]: ...
    @property
    def classes(self) -> list[str]: ...
    @property
    def kind(self) -> LabelKind: ...
    @property
    def labels(self) -> npt.NDArray[np.float32] | None: ...
    @property
    def meta(self) -> dict[str, npt.NDArray[np.str_]]: ...
    @property
    def patient_key(self) -> str: ...
    @property
    def spec(self) -> Mapping[str, Any]: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def dimension(self) -> int: ...
    def numpy(self, ids: Sequence[str] | None = None) -> Matrix32: ...


LISTED = 1000
"""Images and rows that are named where a table does not fit; all of them are counted."""


@dataclass(frozen=True)
class _Said:
    """What is said of the images that all files have, shape (n, ...) each."""

    where: str
    classes: list[str]
    kind: LabelKind
    labels: Matrix32
    meta: dict[str, npt.NDArray[np.str_]]
    notes: list[str] = field(default_factory=list)
    tables: list[JoinedTable] = field(default_factory=list)


def align(
    files: Sequence[_EmbeddingFile],
    *,
    include_gone: bool = False,
    mapped: Path | None = None,
    labels: LabelTable | None = None,
) -> Study:
    """Join embedding files by image id.

    Kept are the images that are done in every file, are gone in none and have a label, in the
    order of the first file. The others are counted in the notes. `include_gone` keeps those as
    well that were not among the images of the last extract. `mapped` is a folder to keep the
    embeddings in where they do not fit into the memory, see `cxrfeat.evaluation.study.mapping`.
    `labels` is a table whose labels are taken in place of those of the files, and its columns in
    place of those of the same name; its rows are joined to ids as those of `extract` to images.

    Raises
    ------
    InputError
        Two files of one name, patients hashed with different keys, no common image, the same id
        with another sha256 or another label, no labels at all, or a row that is marked done and is
        not finite.
    """
    _refuse_equal_names(files)
    _refuse_other_patient_keys(files)
    first = files[0]
    if labels is None and all(file.labels is None for file in files):
        raise InputError(
            f"{first.path} has no labels: give cxrfeat fit --labels TABLE, or extract with class"
            " folders or with --labels TABLE (cxrfeat help labels)"
        )
    taken = [_taken(file, include_gone) for file in files]
    rows = _common_rows(files, taken)
    if not len(rows[0]):
        raise InputError(
            f"{_names(files)} have no image in common: extract them over the same images"
            if len(files) > 1
            else f"{first.path} has no finished row of an image that is still there: run cxrfeat"
            " extract on it again"
        )
    notes = _notes_on_missing(files, taken, len(rows[0]), include_gone)
    _refuse_other_images(files, rows)
    said = _said_by_files(files, rows) if labels is None else _said_by(labels, first.ids, rows[0])
    known: npt.NDArray[np.bool_] = np.asarray(np.isfinite(said.labels).any(axis=1))
    if not known.any():
        raise InputError(
            f"all labels are missing in {said.where}: extract with --labels TABLE or class folders"
            " (cxrfeat help labels)"
        )
    if not known.all():
        notes.append(f"{int((~known).sum())} images without a label were left out")
        rows = [of_file[known] for of_file in rows]
    where = rows[0].tolist()
    ids = [first.ids[row] for row in where]
    meta = {name: column[known] for name, column in said.meta.items()}
    keys = [file.patient_key for file in files if file.patient_key and "group" not in meta]
    return Study(
        ids=ids,
        classes=said.classes,
        kind=said.kind,
        labels=said.labels[known],
        sha256=_known_bytes(files, rows),
        meta={**_joined_meta(files, rows), **meta},
        extractors=[_extractor(file, ids, mapped) for file in files],
        notes=[*said.notes, *notes],
        patient_key=next(iter(keys), ""),
        tables=said.tables,
    )


def _said_by_files(files: Sequence[_EmbeddingFile], rows: Sequence[RowNumbers]) -> _Said:
    labelled = next(file for file in files if file.labels is not None)
    _refuse_other_labels(labelled, files, rows)
    labels = _labels(labelled, rows[files.index(labelled)])
    return _Said(str(labelled.path), list(labelled.classes), labelled.kind, labels, {})


def _said_by(table: LabelTable, ids: Sequence[str], rows: RowNumbers) -> _Said:
    """Join a table to the ids of a file; what is said of its given rows."""
    found = table.read(ImageIds(tuple(ids)))
    if found.labels is None:
        raise InputError(f"'{table.table}' has no column of labels: give --label-column")
    row_of = {id_: row for row, id_ in enumerate(found.ids)}
    at = np.array([row_of.get(ids[row], -1) for row in rows.tolist()], dtype=np.intp)
    listed = at >= 0
    labels = np.where(listed[:, None], found.labels[at], np.float32(np.nan))
    meta = {name: np.where(listed, column[at], "") for name, column in found.meta.items()}
    without = [ids[row] for row in rows[~listed].tolist()]
    strange = [*found.missing, *found.rows_without_image]
    joined = JoinedTable(
        path=Path(table.table).as_posix(),
        sha256=table.digest(),
        outside=False,
        images=int(listed.sum()),
        images_without_row=len(without),
        rows_without_image=len(strange),
        first_images=without[:LISTED],
        first_rows=strange[:LISTED],
    )
    said = f"labels from '{joined.path}', joined by id: {joined.images} of {len(at)} images"
    if without:
        said += f", not of {', '.join(without[:3])}{', ...' if len(without) > 3 else ''}"
    notes = [said, *found.notes]
    return _Said(joined.path, found.classes, found.kind, labels, meta, notes, [joined])


def _names(files: Sequence[_EmbeddingFile]) -> str:
    return ", ".join(file.name for file in files)


def _refuse_equal_names(files: Sequence[_EmbeddingFile]) -> None:
    if not files:
        raise InputError("no embedding file given: run cxrfeat extract first")
    seen: dict[str, Path] = {}
    for file in files:
        if file.name in seen:
            raise InputError(
                f"two extractors are called '{file.name}' ({seen[file.name]} and {file.path}):"
                " rename one of the files"
            )
        seen[file.name] = file.path


def _refuse_other_patient_keys(files: Sequence[_EmbeddingFile]) -> None:
    hashed = [file for file in files if file.patient_key]
    for file in hashed[1:]:
        if file.patient_key != hashed[0].patient_key:
            raise InputError(
                f"the patients of {hashed[0].path} and {file.path} were hashed with different keys"
                f" ({hashed[0].patient_key}, {file.patient_key}): set $CXRFEAT_PATIENT_KEY to the"
                " same value, or copy the key file, and extract one of them again with --prune"
            )


def _taken(file: _EmbeddingFile, include_gone: bool) -> npt.NDArray[np.bool_]:
    """Which rows of a file can be used, shape (N,)."""
    done = file.status == DONE
    return done if include_gone else done & ~file.gone


def _common_rows(
    files: Sequence[_EmbeddingFile], taken: Sequence[npt.NDArray[np.bool_]]
) -> list[RowNumbers]:
    """Where the images that every file has stand in each, in the order of the first file."""
    first = files[0]
    rows = [np.flatnonzero(taken[0])]
    for file, here in zip(files[1:], taken[1:], strict=True):
        of_file = rows[0]
        if file.ids != first.ids:
            row_of = {id_: row for row, id_ in enumerate(file.ids)}
            found = [row_of.get(first.ids[row], -1) for row in rows[0].tolist()]
            of_file = np.array(found, dtype=np.intp)
        kept = (of_file >= 0) & here[of_file]
        rows = [one[kept] for one in (*rows, of_file)]
    return rows


def _notes_on_missing(
    files: Sequence[_EmbeddingFile],
    taken: Sequence[npt.NDArray[np.bool_]],
    common: int,
    include_gone: bool,
) -> list[str]:
    notes = []
    for file, here in zip(files, taken, strict=True):
        done = int(np.count_nonzero(here))
        gone = 0 if include_gone else int(np.count_nonzero(file.gone))
        if gone:
            notes.append(
                f"{gone} images of {file.name} were left out: gone, not among those of the last"
                " extract (--include-gone takes them)"
            )
        if unfinished := len(file.ids) - done - gone:
            notes.append(f"{unfinished} images of {file.name} were left out: failed or not done")
        if elsewhere := done - common:
            notes.append(f"{elsewhere} images of {file.name} were left out: not in every file")
    return notes


def _refuse_other_images(files: Sequence[_EmbeddingFile], rows: Sequence[RowNumbers]) -> None:
    first, ours = files[0], files[0].sha256
    for file, of_file in zip(files[1:], rows[1:], strict=True):
        theirs = file.sha256
        for row, other in zip(rows[0].tolist(), of_file.tolist(), strict=True):
            if ours[row] != theirs[other] and ours[row] and theirs[other]:
                raise InputError(
                    f"'{first.ids[row]}' is another image in {first.path} than in {file.path}"
                    " (sha256 differs): extract both from the same folder"
                )


def _known_bytes(files: Sequence[_EmbeddingFile], rows: Sequence[RowNumbers]) -> list[str]:
    """Return the sha256 of each image, of the first file that knows it; "" where none does."""
    known = [""] * len(rows[0])
    for file, of_file in zip(files, rows, strict=True):
        theirs = file.sha256
        known = [ours or theirs[row] for ours, row in zip(known, of_file.tolist(), strict=True)]
        if all(known):
            break
    return known


def _labels(file: _EmbeddingFile, rows: RowNumbers) -> Matrix32:
    assert file.labels is not None
    return np.asarray(file.labels[rows], dtype=np.float32)


def _refuse_other_labels(
    labelled: _EmbeddingFile, files: Sequence[_EmbeddingFile], rows: Sequence[RowNumbers]
) -> None:
    ours = _labels(labelled, rows[files.index(labelled)])
    for file, of_file in zip(files, rows, strict=True):
        if file is labelled or file.labels is None:
            continue
        if file.classes != labelled.classes or file.kind != labelled.kind:
            raise InputError(
                f"{file.path} has classes {', '.join(file.classes)} ({file.kind}),"
                f" {labelled.path} has {', '.join(labelled.classes)} ({labelled.kind}): extract"
                " both with the same labels"
            )
        theirs = _labels(file, of_file)
        differs = ~((ours == theirs) | (np.isnan(ours) & np.isnan(theirs))).all(axis=1)
        if differs.any():
            example = file.ids[of_file[differs.argmax()]]
            raise InputError(
                f"{int(differs.sum())} images have another label in {file.path} than in"
                f" {labelled.path}, e.g. '{example}': extract both with the same labels"
            )


def _joined_meta(
    files: Sequence[_EmbeddingFile], rows: Sequence[RowNumbers]
) -> dict[str, npt.NDArray[np.str_]]:
    meta: dict[str, npt.NDArray[np.str_]] = {}
    for file, of_file in zip(files, rows, strict=True):
        for column, values in file.meta.items():
            here = np.asarray(values)[of_file].astype(np.str_)
            known = meta.setdefault(column, here)
            clash = (known != here) & (known != "") & (here != "")
            if column in ("group", "split") and clash.any():
                raise InputError(
                    f"column '{column}' differs between files, e.g. for"
                    f" '{file.ids[of_file[clash.argmax()]]}' in {file.path}: extract all with"
                    " the same table"
                )
            meta[column] = np.where(known == "", here, known)
    return meta


def _extractor(file: _EmbeddingFile, ids: Sequence[str], mapped: Path | None) -> Extractor:
    def block(rows: slice) -> Matrix32:
        return file.numpy(ids[rows])

    X = matrix_of_blocks(block, (len(ids), file.dimension), mapped, file.name)
    finite = [np.isfinite(X[rows]).all(axis=1) for rows in blocks(len(ids), file.dimension)]
    broken = ~np.concatenate(finite)
    if broken.any():
        raise InputError(
            f"{int(broken.sum())} rows of {file.path} are not finite although marked done, e.g."
            f" '{ids[int(np.flatnonzero(broken)[0])]}': delete the file and extract again"
        )
    return Extractor(file.name, X, is_control(file.spec), dict(file.spec), file.fingerprint)
