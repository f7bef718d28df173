"""A folder of results that appears whole: written beside its place, then renamed.

Beside its place it is hidden, and one process at a time has it. What that process found piece by
piece stays there when it is killed, stopped or fails, and the same command goes on from it.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from cxrfeat.errors import InputError, LockedError, StorageError
from cxrfeat.paths import PathLike
from cxrfeat.store import FileLock

FOLDS = "folds"
"""Folder in that of a run: what each head found on each fold of each extractor."""
ASKED = "asked.json"
"""What the run that has not ended was asked for."""

PACKING = 1
"""Of gzip: on digits, the hardest packing is a seventh smaller and takes five times as long."""


@dataclass(frozen=True)
class RunFolder:
    """Where results go, and where they are written until they are complete.

    Attributes
    ----------
    final, partial : Path
    lock : FileLock
        On the partial one.
    """

    final: Path
    partial: Path
    lock: FileLock

    @property
    def folds(self) -> Path:
        """Where pieces are kept; it is there when the first one is."""
        return self.partial / FOLDS

    @property
    def mapped(self) -> Path:
        """Where embeddings lie that do not fit into the memory, while they are worked on."""
        return self.partial.with_suffix(".mapped")

    def write(self, name: str, text: str) -> None:
        """Write one text file."""
        try:
            (self.partial / name).write_text(text, encoding="utf-8")
        except OSError as error:
            raise StorageError(f"{self.final} cannot be written: {error.strerror}") from error

    def write_blocks(self, name: str, blocks: Iterable[str]) -> None:
        """Write a text file that need not fit into memory, packed where its name ends in .gz.

        The same text is the same bytes: no time and no name goes into a packed file.
        """
        try:
            with (self.partial / name).open("wb") as file:
                encoded = (text.encode() for text in blocks)
                if name.endswith(".gz"):
                    with gzip.GzipFile("", "wb", PACKING, file, mtime=0) as packed:
                        packed.writelines(encoded)
                else:
                    file.writelines(encoded)
        except OSError as error:
            raise StorageError(f"{self.final} cannot be written: {error.strerror}") from error

    def finish(self) -> None:
        """Put the folder in its place."""
        try:
            (self.partial / ASKED).unlink(missing_ok=True)
            os.replace(self.partial, self.final)
        except OSError as error:
            raise StorageError(f"{self.final} cannot be written: {error.strerror}") from error
        self._let_go()

    def leave(self) -> None:
        """Leave nothing behind but finished pieces, for the same command to go on from."""
        if self.lock.held and self.partial.exists():
            _clear(self.partial)
            if not self.folds.exists():
                shutil.rmtree(self.partial, ignore_errors=True)
        self._let_go()

    def _let_go(self) -> None:
        shutil.rmtree(self.mapped, ignore_errors=True)
        self.lock.release()


def new_run(out: PathLike | None, asked: Mapping[str, Any] | None = None) -> RunFolder:
    """Open a folder for results: `out`, or the next free ``runs/fit-001``.

    It is made before the work starts, so that a place that cannot be written costs no time. One
    that has not ended is gone on with: that of `out`, or the first below ``runs`` that was asked
    for the same.

    Parameters
    ----------
    asked
        The options, as plain data.

    Raises
    ------
    InputError
        The folder has content already.
    LockedError
        Another process writes it.
    StorageError
        The place cannot be written.
    """
    text = json.dumps(asked or {}, sort_keys=True)
    if out is not None:
        return _open(Path(out), text)
    for number in count(1):
        final = Path("runs") / f"fit-{number:03d}"
        partial = _partial(final)
        if final.exists() or (partial.exists() and _asked(partial) != text):
            continue
        try:
            return _open(final, text)
        except (LockedError, InputError):
            continue  # another process has taken it, or has just finished it
    raise AssertionError


def _open(final: Path, asked: str) -> RunFolder:
    partial = _partial(final)
    lock = FileLock(partial)
    try:
        if final.exists() and (not final.is_dir() or any(final.iterdir())):
            raise InputError(f"{final} exists already: give another --out, or delete it")
        try:
            partial.mkdir(exist_ok=True)
            _clear(partial)
            (partial / ASKED).write_text(asked, encoding="utf-8")
        except OSError as error:
            raise StorageError(f"{final} cannot be written: {error.strerror}") from error
    except BaseException:
        lock.release()
        raise
    return RunFolder(final, partial, lock)


def _partial(final: Path) -> Path:
    return final.with_name(f".{final.name}.partial")


def finished_name(folder: Path) -> str:
    """Return the name that the folder of a run has, or will have when it is finished."""
    name = folder.name
    return (
        name[1 : -len(".partial")] if name.startswith(".") and name.endswith(".partial") else name
    )


def _asked(partial: Path) -> str:
    try:
        return (partial / ASKED).read_text(encoding="utf-8")
    except OSError:
        return ""


def _clear(partial: Path) -> None:
    """Remove everything but finished pieces and what was asked for."""
    for path in partial.iterdir():
        if path.name in (FOLDS, ASKED):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def next_free(folder: Path) -> Path:
    """Return `folder`, or the first of ``folder-2``, ``folder-3`` ... that does not exist."""
    number, free = 1, folder
    while free.exists():
        number += 1
        free = folder.with_name(f"{folder.name}-{number}")
    return free
