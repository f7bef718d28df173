"""A study with more in it: extractors side by side, or the images of an outside set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cxrfeat.arrays import Matrix32
from cxrfeat.errors import InputError, SpecMismatchError, UnknownNameError
from cxrfeat.evaluation.study.mapping import matrix_of_blocks
from cxrfeat.evaluation.study.study import Extractor, Study
from cxrfeat.inputs import LabelKind
from cxrfeat.spec import difference, fingerprint


def combined(study: Study, names: str, mapped: Path | None = None) -> Extractor:
    """Put several extractors side by side, e.g. ``vgg16+resnet50``.

    Parameters
    ----------
    mapped
        A folder to map the embeddings from; None keeps them in memory.

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
    name, widths = "+".join(parts), tuple(block.X.shape[1] for block in blocks)

    def side_by_side(rows: slice) -> Matrix32:
        return np.concatenate([block.X[rows] for block in blocks], axis=1)

    return Extractor(
        name=name,
        X=matrix_of_blocks(side_by_side, (len(study), sum(widths)), mapped, name),
        control=all(block.control for block in blocks),
        spec=spec,
        fingerprint=fingerprint(spec),
        widths=widths,
    )


def with_outside(study: Study, outside: Study, mapped: Path | None = None) -> tuple[Study, int]:
    """Append the images of an outside study, whose extractors have to be the same.

    Parameters
    ----------
    mapped
        A folder to map the embeddings from; None keeps them in memory.

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
        joined.append(replace(extractor, X=_below(extractor, other, mapped)))
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
        tables=[*study.tables, *(replace(one, outside=True) for one in outside.tables)],
    )
    return both, len(study)


def _below(extractor: Extractor, other: Extractor, mapped: Path | None) -> Matrix32:
    """Put the rows of an outside set below the others."""
    first = len(extractor.X)

    def block(rows: slice) -> Matrix32:
        ours = extractor.X[rows.start : min(rows.stop, first)]
        theirs = other.X[max(rows.start - first, 0) : max(rows.stop - first, 0)]
        return np.concatenate([ours, theirs])

    shape = (first + len(other.X), extractor.X.shape[1])
    return matrix_of_blocks(block, shape, mapped, f"{extractor.name} with test")


def _absent(kind: LabelKind) -> float:
    return 0.0 if kind == "multiclass" else float("nan")


def _column(study: Study, column: str) -> npt.NDArray[np.str_]:
    return study.meta.get(column, np.full(len(study), "", dtype=np.str_))
