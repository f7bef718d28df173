"""A process killed at any moment leaves a file that opens, verifies and is continued."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from cxrfeat.errors import LockedError
from cxrfeat.store import load, verify
from tests.store.conftest import sha_of, vector_of, writer_for

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
DIMENSION = 300


def extract(path: Path, ids: list[str], batch: int = 8) -> None:
    """Do what the extract verb does to a file, as fast as it goes."""
    with writer_for(path, ids, dimension=DIMENSION) as writer:
        todo = writer.pending
        for start in range(0, len(todo), batch):
            some = todo[start : start + batch]
            vectors = np.array([vector_of(name, dimension=DIMENSION) for name in some])
            writer.write(some, vectors, [sha_of(name) for name in some])
            writer.commit()


def start(work: Callable[[], None]) -> int:
    process = os.fork()
    if process == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return process


def kill(process: int) -> bool:
    """Kill a process; whether it was still at work."""
    os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def content(path: Path) -> dict[str, bytes]:
    with h5py.File(path) as file:
        names = ("embeddings", "id", "status", "sha256", "checksum")
        return {name: file[name][...].tobytes() for name in names}


def test_thirty_kills_do_not_change_the_outcome(tmp_path: Path) -> None:
    """Half of the kills come while rows are written, half while the file is being replaced."""
    path, once = tmp_path / "killed.h5", tmp_path / "once.h5"
    new = tmp_path / "killed.h5.new"
    rng = random.Random(0)
    ids: list[str] = []
    kills = while_replaced = 0
    while kills < 30:
        ids = [f"{i}.png" for i in range(len(ids) + 60)]
        process = start(lambda ids=ids: extract(path, ids))
        if kills % 2:
            deadline = time.monotonic() + 5
            while not new.exists() and time.monotonic() < deadline:
                pass
            time.sleep(rng.uniform(0, 0.003))
        else:
            time.sleep(rng.uniform(0.005, 0.08))
        kills += kill(process)
        while_replaced += new.exists()
        if path.exists():
            assert verify(path).sound
            with load(path) as e:
                done = e.status == 1
                np.testing.assert_array_equal(
                    e[done],
                    np.array(
                        [vector_of(e.ids[row], dimension=DIMENSION) for row in np.flatnonzero(done)]
                    ).reshape(-1, DIMENSION),
                )
    assert while_replaced >= 3
    extract(path, ids)
    extract(once, ids)
    assert content(path) == content(once)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["killed.h5", "once.h5"]


def test_filling_rows_changes_nothing_but_the_rows(tmp_path: Path) -> None:
    """Why a kill cannot spoil a file: HDF5's own structures are written once, at the start."""
    path = tmp_path / "filled.h5"
    ids = [f"{i}.png" for i in range(500)]
    writer_for(path, ids, dimension=DIMENSION).close()
    before = np.frombuffer(path.read_bytes(), np.uint8)
    extract(path, ids)
    after = np.frombuffer(path.read_bytes(), np.uint8)
    own = np.ones(len(before), dtype=bool)
    with h5py.File(path) as file:
        for name in ("embeddings", "checksum", "sha256", "status", "error", "stat"):
            dataset = file[name].id
            if file[name].chunks:
                for index in range(dataset.get_num_chunks()):
                    chunk = dataset.get_chunk_info(index)
                    own[chunk.byte_offset : chunk.byte_offset + chunk.size] = False
            else:
                own[dataset.get_offset() : dataset.get_offset() + dataset.get_storage_size()] = (
                    False
                )
    assert len(after) == len(before)
    np.testing.assert_array_equal(after[own], before[own])


def test_a_file_that_is_being_written_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "busy.h5"
    extract(path, ["0.png"])
    process = start(
        lambda: [extract(path, [f"{i}.png" for i in range(n)]) for n in range(1, 400, 40)]
    )
    seen = set()
    while os.waitpid(process, os.WNOHANG) == (0, 0):
        with load(path) as e:
            seen.add(len(e))
            done = np.flatnonzero(e.status == 1)[-3:]
            for row in done.tolist():
                np.testing.assert_array_equal(e[row], vector_of(e.ids[row], dimension=DIMENSION))
    assert len(seen) > 2


def test_the_lock_of_a_killed_owner_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "held.h5"
    ready = tmp_path / "ready"

    def hold() -> None:
        with writer_for(path, ["1"], dimension=DIMENSION):
            ready.touch()
            time.sleep(60)

    process = start(hold)
    while not ready.exists():
        time.sleep(0.001)
    with pytest.raises(LockedError, match=f"process {process} of .* since"):
        writer_for(path, ["1"], dimension=DIMENSION)
    assert kill(process)
    assert path.with_name("held.h5.lock").exists()
    extract(path, ["1"])
    assert [p.name for p in tmp_path.glob("held*")] == ["held.h5"]
