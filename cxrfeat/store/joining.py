"""What several files of one extractor say of the same images: one row each, or a refusal."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from cxrfeat.arrays import RowNumbers
from cxrfeat.errors import InputError
from cxrfeat.inputs import PatientKey
from cxrfeat.store.format1 import DONE, FAILED, Header, Table
from cxrfeat.store.joined_files import JoinedFiles, rows_of
from cxrfeat.store.reader import Embeddings
from cxrfeat.store.rewrite import SAME_KEY, require_same
from cxrfeat.store.rows import READ_BYTES, read_rows

_BEST = {DONE: 2, FAILED: 1}  # a row that is done beats one that failed beats one that is pending
_SHOWN = 5


def join(parts: list[Embeddings], header: Header) -> JoinedFiles:
    """Join files into one table, rows matched by id.

    Raises
    ------
    InputError
        They disagree, or their patients were hashed with different keys.
    """
    key, notes = _common_patient_key(parts)
    notes += _other_classes(parts)
    owner, row = _choose(parts)
    ids = list(owner)
    table = _join_tables(parts, ids)
    table.patient_key = key
    return JoinedFiles(
        parts,
        header,
        table,
        part_of=np.array([owner[name] for name in ids], dtype=np.int64),
        row_of=np.array([row[name] for name in ids], dtype=np.int64),
        notes=notes,
    )


def common_header(parts: list[Embeddings]) -> Header:
    """Return what all files say of their rows, with every environment once.

    Raises
    ------
    SpecMismatchError, InputError
        Their rows do not mean the same, or are not stored alike.
    """
    headers = [Header(p.spec, p.dimension, p.storage, p.environment, p.created) for p in parts]
    for part, header in zip(parts[1:], headers[1:], strict=True):
        require_same(part.path, headers[0], header)
    environments: list[dict[str, Any]] = []
    for part in parts:
        environments += [one for one in part.environments if one not in environments]
    return replace(headers[0], created="", environment={}, environments=environments)


def _common_patient_key(parts: list[Embeddings]) -> tuple[PatientKey | None, list[str]]:
    """Return the key of all groups, None where some are no hashes, or do not say; and that."""
    grouped = [part for part in parts if part.groups is not None and np.any(part.groups != "")]
    hashed = [part for part in grouped if part.patient_key]
    for part in hashed[1:]:
        if part.patient_key != hashed[0].patient_key:
            raise InputError(
                f"the patients of '{hashed[0].path}' and '{part.path}' were hashed with different"
                f" keys ({hashed[0].patient_key}, {part.patient_key}), so that one patient would"
                f" have two groups: {SAME_KEY}, and extract one of them again with --prune"
            )
    if not hashed:
        return None, []
    if hashed == grouped:
        return PatientKey(hashed[0].patient_key), []
    strange = next(part for part in grouped if not part.patient_key)
    return None, [
        f"the patients of '{hashed[0].path}' were hashed with a key, those of '{strange.path}' were"
        " not, or it does not say: a patient of both has two groups, which may come into two folds"
    ]


def _other_classes(parts: list[Embeddings]) -> list[str]:
    """Say where files have other classes than the first, and what becomes of them."""
    labelled = [part for part in parts if part.labels is not None]
    other = next((one for one in labelled if set(one.classes) != set(labelled[0].classes)), None)
    if other is None:
        return []
    (first, *_), every = labelled, dict.fromkeys(name for one in labelled for name in one.classes)
    became = (
        "an image is none of the classes that its file lacks"
        if first.kind == "multiclass"
        else "a label that its file lacks is unknown of an image"
    )
    return [
        f"the files have other classes ('{first.path}': {', '.join(first.classes)}; '{other.path}':"
        f" {', '.join(other.classes)}), together {', '.join(every)}: {became}"
    ]


def _choose(parts: list[Embeddings]) -> tuple[dict[str, int], dict[str, int]]:
    """Find for every id the file and the row to take, and refuse rows that disagree."""
    owner: dict[str, int] = {}
    row: dict[str, int] = {}
    conflicts = []
    both_done: dict[tuple[int, int], list[tuple[int, int]]] = {}  # rows of two files, to compare
    for index, part in enumerate(parts):
        for here, name in enumerate(part.ids):
            if name not in owner:
                owner[name], row[name] = index, here
                continue
            other, there = parts[owner[name]], row[name]
            if other.gone[there] != part.gone[here]:
                if other.gone[there]:
                    owner[name], row[name] = index, here
            elif _other_image(other.sha256[there], part.sha256[here]):
                conflicts.append(name)
            elif other.status[there] == DONE == part.status[here]:
                both_done.setdefault((owner[name], index), []).append((there, here))
            elif _BEST.get(part.status[here], 0) > _BEST.get(other.status[there], 0):
                owner[name], row[name] = index, here
    for (one, another), pairs in both_done.items():
        conflicts += _differing(parts[one], parts[another], np.array(pairs, dtype=np.int64))
    if conflicts:
        raise InputError(
            f"{len(conflicts)} images have another sha256 or embedding in another file "
            f"({_first(conflicts)}): extract them again in one place, or leave a file out"
        )
    return owner, row


def _other_image(ours: str, theirs: str) -> bool:
    return bool(ours and theirs and ours != theirs)


def _differing(a: Embeddings, b: Embeddings, pairs: RowNumbers) -> list[str]:
    """Return the ids whose embeddings are not the same bit by bit."""
    names = []
    step = max(1, READ_BYTES // (4 * max(1, a.dimension)))
    for start in range(0, len(pairs), step):
        here, there = pairs[start : start + step].T
        with rows_of(a) as ours, rows_of(b) as theirs:
            left = read_rows(ours["embeddings"], here).view(np.uint8)
            right = read_rows(theirs["embeddings"], there).view(np.uint8)
        equal = (left == right).all(axis=1)
        names += [a.ids[row] for row in here[~equal].tolist()]
    return names


def _join_tables(parts: list[Embeddings], ids: list[str]) -> Table:
    table = Table(ids)
    position = {name: row for row, name in enumerate(ids)}
    there = {name for part in parts for name in np.array(part.ids, dtype=object)[~part.gone]}
    # What a file says of an image that is gone there does not count where another has the image.
    counting = [
        np.array([not gone or name not in there for name, gone in zip(p.ids, p.gone, strict=True)])
        for p in parts
    ]
    rows = [np.flatnonzero(counts) for counts in counting]
    places = [
        np.array([position[part.ids[row]] for row in here], dtype=np.int64)
        for part, here in zip(parts, rows, strict=True)
    ]
    table.gone = np.array([name not in there for name in ids], dtype=np.uint8)
    for name in dict.fromkeys(name for part in parts for name in part.meta):
        column = np.full(len(ids), "", dtype=object)
        for part, here, place in zip(parts, rows, places, strict=True):
            if name in part.meta:
                theirs = part.meta[name][here].astype(object)
                differ = (column[place] != "") & (theirs != "") & (column[place] != theirs)
                _refuse(f"column '{name}'", part, here[differ])
                column[place] = np.where(theirs != "", theirs, column[place])
        table.meta[name] = column.astype(np.str_)
    labelled = [
        (part, here, place)
        for part, here, place in zip(parts, rows, places, strict=True)
        if part.labels is not None
    ]
    if labelled:
        _join_labels(table, labelled)
    return table


def _join_labels(table: Table, labelled: list[tuple[Embeddings, RowNumbers, RowNumbers]]) -> None:
    table.kind = labelled[0][0].kind
    for part, _, _ in labelled:
        if part.kind != table.kind:
            raise InputError(
                f"'{part.path}' has {part.kind} labels, '{labelled[0][0].path}' {table.kind}: "
                "extract with the same table of labels"
            )
    table.classes = list(dict.fromkeys(name for part, _, _ in labelled for name in part.classes))
    labels = np.full((len(table.ids), len(table.classes)), np.nan, dtype=np.float32)
    for part, here, place in labelled:
        assert part.labels is not None
        stated = part.labels[here]
        theirs = np.full((len(here), len(table.classes)), np.nan, dtype=np.float32)
        if table.kind == "multiclass":  # one class holds, so those of the other files do not
            theirs[np.isfinite(stated).any(axis=1)] = 0
        theirs[:, [table.classes.index(name) for name in part.classes]] = stated
        ours = labels[place]
        differ = np.isfinite(ours) & np.isfinite(theirs) & (ours != theirs)
        _refuse("label", part, here[differ.any(axis=1)])
        labels[place] = np.where(np.isfinite(theirs), theirs, ours)
    table.labels = labels


def _refuse(what: str, part: Embeddings, differing: RowNumbers) -> None:
    if len(differing):
        names = [part.ids[row] for row in differing.tolist()]
        raise InputError(
            f"{len(names)} images have another {what} in '{part.path}' than in another file "
            f"({_first(names)}): extract with the same table of labels"
        )


def _first(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
