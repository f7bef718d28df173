"""Bring the embeddings of several extractors to the same images in the same order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from cxrfeat.arrays import Matrix32
from cxrfeat.errors import InputError, SpecMismatchError, UnknownNameError
from cxrfeat.inputs import LabelKind
from cxrfeat.spec import difference, fingerprint

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


def align(files: Sequence[_EmbeddingFile], *, include_gone: bool = False) -> Study:
    """Join embedding files by image id.

    Kept are the images that are done in every file, are gone in none and have a label, in the
    order of the first file. The others are counted in the notes. `include_gone` keeps those as
    well that were not among the images of the last extract.

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
    labelled = next((file for file in files if file.labels is not None), None)
    if labelled is None:
        raise InputError(
            f"{first.path} has no labels: extract with class folders or with --labels TABLE"
        )
    rows = [_done_rows(file, include_gone) for file in files]
    common = [id_ for id_ in rows[0] if all(id_ in other for other in rows[1:])]
    if not common:
        raise InputError(
            f"{_names(files)} have no image in common: extract them over the same images"
            if len(files) > 1
            else f"{first.path} has no finished row of an image that is still there: run cxrfeat"
            " extract on it again"
        )
    notes = _notes_on_missing(files, rows, len(common), include_gone)
    _refuse_other_images(files, rows, common)
    for file in files:
        _refuse_other_labels(labelled, file, common)

    labels = _rows_of(labelled, common)
    known: npt.NDArray[np.bool_] = np.asarray(np.isfinite(labels).any(axis=1))
    if not known.any():
        raise InputError(
            f"all labels are missing in {labelled.path}: extract with --labels TABLE"
            " or class folders"
        )
    if not known.all():
        notes.append(f"{int((~known).sum())} images without a label were left out")
        common = [id_ for id_, keep in zip(common, known, strict=True) if keep]
        labels = labels[known]
    where = [rows[0][id_] for id_ in common]
    return Study(
        ids=common,
        classes=list(labelled.classes),
        kind=labelled.kind,
        labels=labels,
        sha256=[first.sha256[row] for row in where],
        meta=_joined_meta(files, rows, common),
        extractors=[_extractor(file, common) for file in files],
        notes=notes,
        patient_key=next((file.patient_key for file in files if file.patient_key), ""),
    )


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


def _done_rows(file: _EmbeddingFile, include_gone: bool) -> dict[str, int]:
    taken = file.status == DONE
    if not include_gone:
        taken &= ~file.gone
    return {file.ids[row]: row for row in np.flatnonzero(taken).tolist()}


def _notes_on_missing(
    files: Sequence[_EmbeddingFile],
    rows: Sequence[Mapping[str, int]],
    common: int,
    include_gone: bool,
) -> list[str]:
    notes = []
    for file, done in zip(files, rows, strict=True):
        gone = 0 if include_gone else int(np.count_nonzero(file.gone))
        if gone:
            notes.append(
                f"{gone} images of {file.name} were left out: gone, not among those of the last"
                " extract (--include-gone takes them)"
            )
        if unfinished := len(file.ids) - len(done) - gone:
            notes.append(f"{unfinished} images of {file.name} were left out: failed or not done")
        if elsewhere := len(done) - common:
            notes.append(f"{elsewhere} images of {file.name} were left out: not in every file")
    return notes


def _refuse_other_images(
    files: Sequence[_EmbeddingFile], rows: Sequence[Mapping[str, int]], common: Sequence[str]
) -> None:
    first = files[0]
    for file, done in zip(files[1:], rows[1:], strict=True):
        for id_ in common:
            ours, theirs = first.sha256[rows[0][id_]], file.sha256[done[id_]]
            if ours and theirs and ours != theirs:
                raise InputError(
                    f"'{id_}' is another image in {first.path} than in {file.path} (sha256"
                    " differs): extract both from the same folder"
                )


def _rows_of(file: _EmbeddingFile, ids: Sequence[str]) -> Matrix32:
    assert file.labels is not None
    where = {id_: row for row, id_ in enumerate(file.ids)}
    return np.asarray(file.labels[[where[id_] for id_ in ids]], dtype=np.float32)


def _refuse_other_labels(
    labelled: _EmbeddingFile, file: _EmbeddingFile, common: Sequence[str]
) -> None:
    if file is labelled or file.labels is None:
        return
    if file.classes != labelled.classes or file.kind != labelled.kind:
        raise InputError(
            f"{file.path} has classes {', '.join(file.classes)} ({file.kind}), {labelled.path} has"
            f" {', '.join(labelled.classes)} ({labelled.kind}): extract both with the same labels"
        )
    ours, theirs = _rows_of(labelled, common), _rows_of(file, common)
    differs = ~((ours == theirs) | (np.isnan(ours) & np.isnan(theirs))).all(axis=1)
    if differs.any():
        example = common[int(np.flatnonzero(differs)[0])]
        raise InputError(
            f"{int(differs.sum())} images have another label in {file.path} than in"
            f" {labelled.path}, e.g. '{example}': extract both with the same labels"
        )


def _joined_meta(
    files: Sequence[_EmbeddingFile], rows: Sequence[Mapping[str, int]], ids: Sequence[str]
) -> dict[str, npt.NDArray[np.str_]]:
    meta: dict[str, npt.NDArray[np.str_]] = {}
    for file, done in zip(files, rows, strict=True):
        where = [done[id_] for id_ in ids]
        for column, values in file.meta.items():
            here = np.asarray(values)[where].astype(np.str_)
            known = meta.setdefault(column, here)
            clash = (known != here) & (known != "") & (here != "")
            if column in ("group", "split") and clash.any():
                raise InputError(
                    f"column '{column}' differs between files, e.g. for"
                    f" '{ids[int(np.flatnonzero(clash)[0])]}' in {file.path}: extract all with"
                    " the same table"
                )
            meta[column] = np.where(known == "", here, known)
    return meta


def _extractor(file: _EmbeddingFile, ids: Sequence[str]) -> Extractor:
    X = np.ascontiguousarray(file.numpy(ids), dtype=np.float32)
    broken = ~np.isfinite(X).all(axis=1)
    if broken.any():
        raise InputError(
            f"{int(broken.sum())} rows of {file.path} are not finite although marked done, e.g."
            f" '{ids[int(np.flatnonzero(broken)[0])]}': delete the file and extract again"
        )
    return Extractor(file.name, X, is_control(file.spec), dict(file.spec), file.fingerprint)


def combined(study: Study, names: str) -> Extractor:
    """Put several extractors side by side, e.g. ``vgg16+resnet50``.

    Raises
    ------
    UnknownNameError
        An extractor that is not there.
    InputError
        Fewer than two.
    """
    parts = [name.strip() for name in names.split("+")]
    by_name = {extractor.name: extractor for extractor in study.extractors}
    for name in parts:
        if name not in by_name:
            raise UnknownNameError("extractor", name, by_name)
    if len(set(parts)) < 2 or len(set(parts)) != len(parts):
        raise InputError(f"--combine {names}: give two or more different names joined by +")
    blocks = [by_name[name] for name in parts]
    spec = {"combined": {block.name: block.spec for block in blocks}}
    return Extractor(
        name="+".join(parts),
        X=np.concatenate([block.X for block in blocks], axis=1),
        control=all(block.control for block in blocks),
        spec=spec,
        fingerprint=fingerprint(spec),
        widths=tuple(block.X.shape[1] for block in blocks),
    )


def with_outside(study: Study, outside: Study) -> tuple[Study, int]:
    """Append the images of an outside study, whose extractors have to be the same.

    Returns
    -------
    study : Study
        Both; outside ids begin with ``test:``, so that they cannot be confused.
    n : int
        Where the outside images begin.

    Raises
    ------
    InputError
        Extractors or classes that do not match.
    SpecMismatchError
        Embeddings made in another way.
    """
    theirs = {extractor.name: extractor for extractor in outside.extractors}
    if len(study.extractors) == 1 == len(theirs):
        (only,) = theirs.values()
        theirs = {study.extractors[0].name: only}
    joined = []
    for extractor in study.extractors:
        other = theirs.get(extractor.name)
        if other is None:
            raise InputError(
                f"--test has no extractor '{extractor.name}' (it has {', '.join(theirs)}): extract"
                " the outside images with the same backbones"
            )
        if other.fingerprint != extractor.fingerprint:
            raise SpecMismatchError(
                f"the outside embeddings of {extractor.name} were made in another way: extract"
                " them with the same options",
                difference(extractor.spec, other.spec),
            )
        joined.append(replace(extractor, X=np.concatenate([extractor.X, other.X])))
    strange = [name for name in outside.classes if name not in study.classes]
    if strange or outside.kind != study.kind:
        raise InputError(
            f"--test has other classes ({', '.join(strange) or outside.kind}) than"
            f" {', '.join(study.classes)}: give both the same labels"
        )
    labels = np.full((len(outside), len(study.classes)), _absent(study.kind), dtype=np.float32)
    for column, name in enumerate(outside.classes):
        labels[:, study.classes.index(name)] = outside.labels[:, column]
    # Columns that only one side has stay, empty on the other.
    meta = {
        column: np.concatenate([_column(part, column) for part in (study, outside)])
        for column in {**study.meta, **outside.meta}
    }
    strangers = []
    if study.patient_key and outside.patient_key and study.patient_key != outside.patient_key:
        strangers.append(
            "the patients of the outside set were hashed with another key: whether it shares"
            " patients with the training images cannot be seen"
        )
    both = Study(
        ids=[*study.ids, *(f"test:{id_}" for id_ in outside.ids)],
        classes=study.classes,
        kind=study.kind,
        labels=np.concatenate([study.labels, labels]),
        sha256=[*study.sha256, *outside.sha256],
        meta=meta,
        extractors=joined,
        notes=[*study.notes, *(f"outside: {note}" for note in outside.notes), *strangers],
        patient_key=study.patient_key,
    )
    return both, len(study)


def _absent(kind: LabelKind) -> float:
    return 0.0 if kind == "multiclass" else float("nan")


def _column(study: Study, column: str) -> npt.NDArray[np.str_]:
    return study.meta.get(column, np.full(len(study), "", dtype=np.str_))
