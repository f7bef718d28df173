"""One file out of several of the same extractor: shards that several machines computed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
from cxrfeat.store.rewrite import ROW_DATASETS, SAME_KEY, replace_file, require_same
from cxrfeat.store.rows import READ_BYTES, checksums, read_rows
from cxrfeat.store.validation import damage_named, find_damaged_columns, open_for_reading

_BEST = {DONE: 2, FAILED: 1}  # a row that is done beats one that failed beats one that is pending
_SHOWN = 5
_BLOCK_BYTES = 8 * READ_BYTES
_MOST_OPEN = 200
"""Files that are open at once; many systems allow a process 1,024, or 256."""


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
    unchanged : bool
        Whether the file held all of it already, so that nothing was written.
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
    unchanged: bool = False


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
        parts = _open_parts(paths, stack)
        header = _common_header(parts)
        origins = [{"name": p.name, "rows": len(p), "environment": p.environment} for p in parts]
        joined = _join(parts, replace(header, environment={"merged_from": origins}))
        return joined.write(out)


def merge_shards(paths: Sequence[PathLike], out: PathLike) -> Merged:
    """Join the shards of an extractor into the file that one run over all images would have made.

    Rows are in the order of their ids. What the file says of its environment is what the last
    shard says. A file that holds all rows of the shards already is left as it is; one that holds
    fewer, as a merge of some of them, is replaced.

    Parameters
    ----------
    paths
        One file or more, no image in two of them.
    out
        The one file.

    Raises
    ------
    InputError
        If `out` holds what the shards do not, or patients were hashed with different keys.
    SpecMismatchError, FileFormatError, LockedError, StorageError
        As `merge`.
    """
    out = Path(out)
    with contextlib.ExitStack() as stack:
        stack.enter_context(FileLock(out))
        parts = _open_parts(paths, stack)
        joined = _join(parts, replace(_common_header(parts), environment=parts[-1].environment))
        joined.sort()
        if out.exists():
            with Embeddings(out) as there:
                if joined.is_held_by(there):
                    return joined.told(out, there, unchanged=True)
        return joined.write(out)


@dataclass
class _Joined:
    """Files that are one table, of which each row comes from one of them."""

    parts: list[Embeddings]
    header: Header
    table: Table
    part_of: RowNumbers
    row_of: RowNumbers
    notes: list[str]

    def sort(self) -> None:
        """Bring the rows into the order of their ids."""
        order = np.array(sorted(range(len(self.table.ids)), key=self.table.ids.__getitem__))
        order = order.astype(np.int64)  # of no rows as well
        table = self.table
        self.part_of, self.row_of = self.part_of[order], self.row_of[order]
        table.ids = [table.ids[row] for row in order.tolist()]
        table.labels = None if table.labels is None else table.labels[order]
        table.meta = {name: values[order] for name, values in table.meta.items()}
        table.gone = None if table.gone is None else table.gone[order]

    def column(self, name: str) -> npt.NDArray[Any]:
        """Return a column of rows as the files store it."""
        first: npt.NDArray[Any] | None = None
        for index, part in enumerate(self.parts):
            target = np.flatnonzero(self.part_of == index)
            with _rows_of(part) as file, damage_named(part.path):
                values = file[name][...][self.row_of[target]]
            if first is None:
                first = np.empty((len(self.part_of), *values.shape[1:]), dtype=values.dtype)
            first[target] = values
        assert first is not None
        return first

    def is_held_by(self, there: Embeddings) -> bool:
        """Tell whether a file has all these rows; refuse one that has others.

        Raises
        ------
        InputError
            The file has rows, labels or columns that would be lost if it was replaced.
        """
        require_same(there.path, self.header, Header(there.spec, there.dimension, there.storage))
        place = {id_: row for row, id_ in enumerate(there.ids)}
        theirs = np.array([place.get(id_, -1) for id_ in self.table.ids], dtype=np.int64)
        ours = np.flatnonzero(theirs >= 0)
        theirs = theirs[ours]
        names = ("status", "sha256", "checksum")
        status, *mine = (self.column(name)[ours] for name in names)
        with damage_named(there.path):
            state, *other = (there.file[name][...][theirs] for name in names)
        same = (status == DONE) & (state == DONE)
        for a, b in zip(mine, other, strict=True):
            same &= a == b
        fails_in_both = (status == FAILED) & (state != PENDING)
        if len(ours) == len(self.table.ids) and np.all(same | fails_in_both | (status == PENDING)):
            return True
        rows_lost = np.count_nonzero(there.status == DONE) > np.count_nonzero(same)
        if rows_lost or not self._agrees_with(there, ours, theirs):
            raise InputError(
                f"'{there.path}' has rows, labels or columns that the shards do not have, which a"
                " merge would lose: move it to another place and merge again, or go on with it by"
                " cxrfeat extract without --shard"
            )
        return False

    def _agrees_with(self, there: Embeddings, ours: RowNumbers, theirs: RowNumbers) -> bool:
        """Tell whether a file says of some rows what these say: labels and columns."""
        table = self.table
        if (there.labels is None) != (table.labels is None) or there.classes != table.classes:
            return False
        if (
            there.labels is not None
            and table.labels is not None
            and not np.array_equal(there.labels[theirs], table.labels[ours], equal_nan=True)
        ):
            return False
        return all(
            name in table.meta and np.array_equal(values[theirs], table.meta[name][ours])
            for name, values in there.meta.items()
        )

    def write(self, out: Path) -> Merged:
        """Make the one file."""
        replace_file(out, self.header, self.table, self._fill)
        with Embeddings(out) as merged:
            return self.told(out, merged)

    def told(self, out: Path, merged: Embeddings, *, unchanged: bool = False) -> Merged:
        """Say what became of it."""
        count = np.bincount(merged.status[~merged.gone], minlength=3)
        return Merged(
            path=out,
            sources={str(part.path): len(part) for part in self.parts},
            rows=len(merged),
            done=int(count[DONE]),
            failed=int(count[FAILED]),
            pending=int(count[PENDING]),
            gone=len(merged) - int(count.sum()),
            shared=sum(len(part) for part in self.parts) - len(self.table.ids),
            notes=self.notes,
            unchanged=unchanged,
        )

    def _fill(self, new: h5py.File) -> None:
        """Copy rows as they are stored: narrow columns whole, embeddings block by block.

        A block is read from all files that have rows of it and written once: rows of shards lie
        between each other, and to write those of one after those of another would read and write
        the whole file as often as there are shards.
        """
        computed_in = np.full(len(self.part_of), -1, dtype=np.int32)
        narrow = {name: new[name][...] for name in ROW_DATASETS if name in new}
        for name in ("embeddings", "environment"):
            narrow.pop(name, None)
        targets = [np.flatnonzero(self.part_of == index) for index in range(len(self.parts))]
        for part, target in zip(self.parts, targets, strict=True):
            rows = self.row_of[target]
            with _rows_of(part) as file, damage_named(part.path):
                for name, column in narrow.items():
                    if name in file:
                        column[target] = file[name][...][rows]
            # Each file counts its environments itself; -1, unknown, takes the last place.
            place = [*(self.header.environments.index(one) for one in part.environments), -1]
            computed_in[target] = np.array(place, dtype=np.int32)[part.computed_in[rows]]
        for name, column in narrow.items():
            new[name][...] = column
        new["environment"][...] = computed_in
        self._fill_embeddings(new, targets, narrow)

    def _fill_embeddings(
        self, new: h5py.File, targets: list[RowNumbers], narrow: dict[str, npt.NDArray[Any]]
    ) -> None:
        embeddings = new["embeddings"]
        length, dimension = embeddings.shape
        step = max(1, _BLOCK_BYTES // max(1, embeddings.dtype.itemsize * dimension))
        for start in range(0, length, step):
            stop = min(start + step, length)
            block = np.empty((stop - start, dimension), dtype=embeddings.dtype)
            for part, target in zip(self.parts, targets, strict=True):
                first, last = np.searchsorted(target, (start, stop))
                here = target[first:last]
                if not len(here):
                    continue
                with _rows_of(part) as file, damage_named(part.path):
                    rows = read_rows(file["embeddings"], self.row_of[here])
                _require_sound(part, here, rows, narrow)
                block[here - start] = rows
            embeddings[start:stop] = block


def _open_parts(paths: Sequence[PathLike], stack: contextlib.ExitStack) -> list[Embeddings]:
    """Open files whose columns are sound; of very many, all is read but their rows."""
    parts = []
    for path in paths:
        part = stack.enter_context(Embeddings(Path(path)))
        _require_sound_columns(part)
        if len(paths) > _MOST_OPEN:
            _ = part.sha256, part.computed_in
            part.close()
        parts.append(part)
    return parts


@contextlib.contextmanager
def _rows_of(part: Embeddings) -> Iterator[h5py.File]:
    """Give the file that rows are read from, opened again where there were too many."""
    if part.file.id.valid:
        yield part.file
    else:
        with open_for_reading(part.path) as file:
            yield file


def _join(parts: list[Embeddings], header: Header) -> _Joined:
    key, notes = _common_patient_key(parts)
    notes += _other_classes(parts)
    owner, row = _choose(parts)
    ids = list(owner)
    table = _join_tables(parts, ids)
    table.patient_key = key
    return _Joined(
        parts,
        header,
        table,
        part_of=np.array([owner[name] for name in ids], dtype=np.int64),
        row_of=np.array([row[name] for name in ids], dtype=np.int64),
        notes=notes,
    )


def _common_header(parts: list[Embeddings]) -> Header:
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
        with _rows_of(a) as ours, _rows_of(b) as theirs:
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


def _require_sound_columns(part: Embeddings) -> None:
    """Refuse to carry damage of a column into a new file."""
    with damage_named(part.path):
        columns = find_damaged_columns(part.file)
    if columns:
        raise FileFormatError(
            f"'{part.path}' is damaged in {', '.join(f'/{name}' for name in columns)}: extract "
            "again with --prune and the same labels, which writes them anew, or restore a copy"
        )


def _require_sound(
    part: Embeddings,
    target: RowNumbers,
    stored: npt.NDArray[Any],
    narrow: Mapping[str, npt.NDArray[Any]],
) -> None:
    """Refuse to carry damage of rows into a new file."""
    done = narrow["status"][target] == DONE
    found = checksums(narrow["sha256"][target], stored)
    if np.any((found != narrow["checksum"][target]) & done):
        raise FileFormatError(
            f"'{part.path}' has damaged rows: "
            "run 'cxrfeat verify --repair' on it and extract them again"
        )


def _first(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
