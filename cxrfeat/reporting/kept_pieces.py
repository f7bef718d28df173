"""Pieces of a comparison as files in the folder of a run: written as they end, found again by key.

A file holds one piece, or what a search for near copies came upon. Its first line names the format
and the sha256 of what follows, a NumPy archive (npz, no pickle) of the arrays and of one text that
says in JSON how they hang together. Every number is kept to the last bit. A file that is damaged,
or of another format, is not there.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from cxrfeat.errors import StorageError
from cxrfeat.estimators import Calibrated
from cxrfeat.evaluation.outcome.near_copies import Candidates
from cxrfeat.evaluation.validation.pieces import FoldScores, Piece
from cxrfeat.evaluation.validation.retrained import Retrained
from cxrfeat.evaluation.validation.tuning import Outcome, Tuned
from cxrfeat.reporting.run_folder import FOLDS, RunFolder, finished_name

PIECE, SEARCH = ".piece", ".search"
FORMAT = "cxrfeat piece 1"
KINDS = {
    kind.__name__: kind for kind in (FoldScores, Outcome, Tuned, Calibrated, Retrained, Candidates)
}

T = TypeVar("T")


class KeptPieces:
    """The pieces in the folder of a run, and those of the runs beside it.

    What is taken from another run is put into this folder, too, so that each is complete.

    Parameters
    ----------
    run : RunFolder
    fresh : bool
        Whether nothing is taken over, not even what this run kept before it was stopped.
    """

    def __init__(self, run: RunFolder, *, fresh: bool = False) -> None:
        self._folder = run.folds
        self._own = f"{run.final.as_posix()}, not finished"
        if fresh:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._places: dict[str, list[Path]] = {}
        for folder in [] if fresh else [self._folder, *_folders_beside(run)]:
            for path in (*folder.glob(f"*{PIECE}"), *folder.glob(f"*{SEARCH}")):
                self._places.setdefault(path.name, []).append(path)

    def find(self, key: str) -> tuple[FoldScores, str] | None:
        """Give a piece by its key, and the name of the run that it comes from."""
        return self._find(key + PIECE, FoldScores)

    def keep(self, key: str, piece: Piece, scores: FoldScores) -> None:
        """Write a piece; its file appears whole or not at all."""
        self._keep(key + PIECE, vars(piece), scores)

    def find_search(self, key: str) -> Candidates | None:
        """Give what a search for near copies came upon, by its key."""
        found = self._find(key + SEARCH, Candidates)
        return None if found is None else found[0]

    def keep_search(self, key: str, extractor: str, found: Candidates) -> None:
        """Write what a search for near copies came upon; like a piece."""
        self._keep(key + SEARCH, {"extractor": extractor}, found)

    def _find(self, name: str, kind: type[T]) -> tuple[T, str] | None:
        for path in self._places.get(name, []):
            found = _read(path, kind)
            if found is None:
                continue
            if path.parent == self._folder:
                return found, self._own
            self._take(path)
            return found, _run_of(path)
        return None

    def _keep(self, name: str, of: Mapping[str, Any], found: Any) -> None:
        with self._written(name) as unfinished:
            unfinished.write_bytes(_as_bytes({"key": Path(name).stem, **of}, found))

    def _take(self, path: Path) -> None:
        with self._written(path.name) as unfinished:
            try:
                os.link(path, unfinished)  # no second copy on the disk
            except OSError:
                shutil.copyfile(path, unfinished)

    @contextlib.contextmanager
    def _written(self, name: str) -> Iterator[Path]:
        unfinished = self._folder / f"{name}.unfinished"
        try:
            self._folder.mkdir(exist_ok=True)
            unfinished.unlink(missing_ok=True)
            yield unfinished
            os.replace(unfinished, self._folder / name)
        except OSError as error:
            raise StorageError(
                f"{self._folder} cannot be written ({error.strerror}): make room, or choose another"
                " place (--out); what is finished is kept, and the same command goes on"
            ) from error


def _folders_beside(run: RunFolder) -> list[Path]:
    """List the folders of pieces of other runs, those that have not ended last."""
    parent = run.final.parent
    beside = sorted(
        (path.name.startswith("."), path.name)
        for path in parent.iterdir()
        if path.name != run.partial.name
    )
    return [parent / name / FOLDS for _, name in beside if (parent / name / FOLDS).is_dir()]


def _run_of(path: Path) -> str:
    folder = path.parent.parent
    finished = finished_name(folder)
    if finished == folder.name:
        return folder.as_posix()
    return f"{folder.with_name(finished).as_posix()}, not finished"


def _read(path: Path, kind: type[T]) -> T | None:
    """Read what a file holds, or None where it is damaged or holds something else."""
    try:
        first, _, archive = path.read_bytes().partition(b"\n")
        if first.decode() != _first_line(archive):
            return None
        with np.load(io.BytesIO(archive), allow_pickle=False) as found:
            text, *arrays = [found[name] for name in found.files]
        said = json.loads(str(text))
        held = _decoded(said["found"], arrays) if said["key"] == path.stem else None
    except (OSError, ValueError, LookupError, TypeError, zipfile.BadZipFile):
        return None
    return held if isinstance(held, kind) else None


def _as_bytes(of: Mapping[str, Any], found: Any) -> bytes:
    arrays: list[npt.NDArray[Any]] = []
    said = {**of, "found": _encoded(found, arrays)}
    archive = io.BytesIO()
    np.savez_compressed(archive, np.array(json.dumps(said)), *arrays)
    return _first_line(archive.getvalue()).encode() + b"\n" + archive.getvalue()


def _first_line(archive: bytes) -> str:
    return f"{FORMAT} {hashlib.sha256(archive).hexdigest()}"


def _encoded(value: Any, arrays: list[npt.NDArray[Any]]) -> Any:
    """Turn what was found into plain data and arrays."""
    if isinstance(value, np.ndarray | np.generic):
        arrays.append(np.asarray(value))
        if arrays[-1].dtype.hasobject:
            raise TypeError("a piece cannot hold an array of objects")
        return {"array": len(arrays) - 1}
    if isinstance(value, Calibrated):
        return {"kind": "Calibrated", "of": _encoded(vars(value), arrays)}
    if is_dataclass(value):
        of = {field.name: getattr(value, field.name) for field in fields(value)}
        return {"kind": type(value).__name__, "of": _encoded(of, arrays)}
    if isinstance(value, dict):
        return {"dict": {name: _encoded(one, arrays) for name, one in value.items()}}
    if isinstance(value, list):
        return [_encoded(one, arrays) for one in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a piece cannot hold {type(value).__name__}")


def _decoded(value: Any, arrays: Sequence[npt.NDArray[Any]]) -> Any:
    if isinstance(value, list):
        return [_decoded(one, arrays) for one in value]
    if not isinstance(value, dict):
        return value
    if "array" in value:
        found = arrays[value["array"]]
        return found if found.shape else found[()]
    if "dict" in value:
        return {name: _decoded(one, arrays) for name, one in value["dict"].items()}
    return KINDS[value["kind"]](**_decoded(value["of"], arrays))
