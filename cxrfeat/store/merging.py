"""One file out of several of the same extractor: shards that several machines computed."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from cxrfeat.arrays import RowNumbers
from cxrfeat.errors import FileFormatError, InputError
from cxrfeat.inputs import PatientKey
from cxrfeat.paths import PathLike
from cxrfeat.store.format1 import DONE, FAILED, PENDING, Header, Table
from cxrfeat.store.lock import FileLock
from cxrfeat.store.reader import Embeddings
from cxrfeat.store.rewrite import SAME_KEY, copy_rows, replace_file, require_same
from cxrfeat.store.rows import READ_BYTES, checksums
from cxrfeat.store.validation import damage_named, find_damaged_columns

_BEST = {DONE: 2, FAILED: 1}  # a row that is done beats one that failed beats one that is pending
_SHOWN = 5


@dataclass(frozen=True)
class Merged:
    """What `merge` made.

    Attributes
    ----------
    path : Path
    sources : dict of str to int
        Rows of each file that was merged.
    rows, done, failed, pending : int
        Of the new file; the last three of images that are not gone.
    gone : int
        Rows whose image is gone in every file that has it.
    shared : int
        Ids that more than one file had, all of them in agreement.
    notes : list of str
        What cannot be told from the files, in sentences.
    """

    path: Path
    sources: dict[str, int]
    rows: int
    done: int
    failed: int
    pending: int
    gone: int
    shared: int
    notes: list[str]


def merge(paths: Sequence[PathLike], out: PathLike) -> Merged:
    """Join files of one fingerprint into a new one; rows are matched by id.

    Where several files have an id, they must agree on its sha256, embedding, labels and columns;
    a row that is done is taken before one that failed or is pending. A row whose image is gone
    counts only where no other file has the image.

    Parameters
    ----------
    paths
        Two files or more; the order of their rows is kept.
    out
        The new file; it must not exist.

    Raises
    ------
    InputError
        If `out` exists, files are stored differently, rows conflict, or patients were hashed with
        different keys.
    SpecMismatchError
        If the fingerprints differ.
    FileFormatError
        If a file, or one of its rows, is damaged.
    LockedError
        If another process writes `out`.
    StorageError
        If `out` cannot be written.
    """
    out = Path(out)
    if len(paths) < 2:
        raise InputError("one file is no merge: give two or more")
    with contextlib.ExitStack() as stack:
        stack.enter_context(FileLock(out))
        if out.exists():
            raise InputError(f"'{out}' exists already: give another name with --out, or delete it")
        parts = [stack.enter_context(Embeddings(Path(path))) for path in paths]
        header = _common_header(parts)
        key, notes = _common_patient_key(parts)
        owner, row = _choose(parts)
        ids = list(owner)
        table = _join_tables(parts, ids)
        table.patient_key = key

        def fill(new: h5py.File) -> None:
            part_of = np.array([owner[name] for name in ids], dtype=np.int64)
            row_of = np.array([row[name] for name in ids], dtype=np.int64)
            computed_in = np.full(len(ids), -1, dtype=np.int32)
            for index, part in enumerate(parts):
                target = np.flatnonzero(part_of == index)
                _require_sound(part, row_of[target])
                copy_rows(part.file, part.path, row_of[target], new, target)
                # Each file counts its environments itself; -1, unknown, takes the last place.
                place = [*(header.environments.index(one) for one in part.environments), -1]
                computed_in[target] = np.array(place, dtype=np.int32)[
                    part.computed_in[row_of[target]]
                ]
            new["environment"][...] = computed_in

        replace_file(out, header, table, fill)
    with Embeddings(out) as merged:
        count = np.bincount(merged.status[~merged.gone], minlength=3)
    return Merged(
        path=out,
        sources={str(part.path): len(part) for part in parts},
        rows=len(ids),
        done=int(count[DONE]),
        failed=int(count[FAILED]),
        pending=int(count[PENDING]),
        gone=len(ids) - int(count.sum()),
        shared=sum(len(part) for part in parts) - len(ids),
        notes=notes,
    )


def _common_header(parts: list[Embeddings]) -> Header:
    headers = [Header(p.spec, p.dimension, p.storage, p.environment, p.created) for p in parts]
    for part, header in zip(parts[1:], headers[1:], strict=True):
        require_same(part.path, headers[0], header)
    origins = [{"name": p.name, "rows": len(p), "environment": p.environment} for p in parts]
    environments: list[dict[str, Any]] = []
    for part in parts:
        environments += [one for one in part.environments if one not in environments]
    return Header(
        parts[0].spec,
        parts[0].dimension,
        parts[0].storage,
        environment={"merged_from": origins},
        environments=environments,
    )


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
        equal = (a[here].view(np.uint32) == b[there].view(np.uint32)).all(axis=1)
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


def _require_sound(part: Embeddings, rows: npt.NDArray[np.int64]) -> None:
    """Refuse to carry damage into a new file."""
    done = rows[part.status[rows] == DONE]
    with damage_named(part.path):
        columns = find_damaged_columns(part.file)
        sha256, stated = part.file["sha256"][...], part.file["checksum"][...]
    if columns:
        raise FileFormatError(
            f"'{part.path}' is damaged in {', '.join(f'/{name}' for name in columns)}: extract "
            "again with --prune and the same labels, which writes them anew, or restore a copy"
        )
    for start in range(0, len(done), 1024):
        some = done[start : start + 1024]
        stored = part[some].astype(part.file["embeddings"].dtype)
        if np.any(checksums(sha256[some], stored) != stated[some]):
            raise FileFormatError(
                f"'{part.path}' has damaged rows: "
                "run 'cxrfeat verify --repair' on it and extract them again"
            )


def _first(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
