"""A disk without room: a clear error, nothing lost, and the same command goes on afterwards."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from cxrfeat.errors import StorageError
from cxrfeat.store import load, verify
from tests.store.conftest import vector_of, writer_for

FEW = [f"{i}.png" for i in range(50)]
MANY = [f"{i}.png" for i in range(5000)]
DIMENSION = 64


@contextmanager
def file_size_limit(limit: int) -> Iterator[None]:
    """Let no file of this process grow beyond a limit, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def write_all(path: Path, ids: list[str]) -> None:
    with writer_for(path, ids, dimension=DIMENSION) as writer:
        todo = writer.pending
        vectors = np.array([vector_of(name, dimension=DIMENSION) for name in todo])
        writer.write(todo, vectors, ["0" * 64] * len(todo))


@pytest.mark.parametrize("limit", [2_000, 40_000, 500_000, 1_500_000])
def test_no_room_for_a_new_file_leaves_none(path: Path, limit: int) -> None:
    with (
        file_size_limit(limit),
        pytest.raises(StorageError, match=r"no room for a file of 2\.\d MB"),
    ):
        write_all(path, MANY)
    assert not path.parent.exists()
    write_all(path, MANY)
    assert verify(path).checked == len(MANY)


@pytest.mark.parametrize("limit", [40_000, 500_000])
def test_no_room_for_more_rows_keeps_the_file_as_it_was(path: Path, limit: int) -> None:
    write_all(path, FEW)
    before = path.read_bytes()
    with file_size_limit(limit), pytest.raises(StorageError, match="free some and run the same"):
        write_all(path, MANY)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    write_all(path, MANY)
    with load(path) as e:
        np.testing.assert_array_equal(e[4999], vector_of(MANY[4999], dimension=DIMENSION))


def test_too_little_room_is_known_before_anything_is_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(path.parents[1])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1_000_000))
    with pytest.raises(StorageError, match=r"needs 2\.\d MB and .* has 1\.0 MB free"):
        write_all(path, MANY)
    assert not path.parent.exists()


def test_a_disk_that_fills_up_while_rows_are_written_has_their_room_already(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = small_disk / "tiny.h5"
    with writer_for(path, FEW, dimension=DIMENSION) as writer:
        with pytest.raises(OSError, match="No space left"):
            (small_disk / "other").write_bytes(bytes(8_000_000))
        fill_rows = np.array([vector_of(name, dimension=DIMENSION) for name in FEW])
        writer.write(FEW, fill_rows, ["0" * 64] * len(FEW))
    assert verify(path).checked == len(FEW)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 0, 10**9))
    with pytest.raises(StorageError, match="no room"):
        write_all(path, MANY)
    assert verify(path).checked == len(FEW)
    (small_disk / "other").unlink()
    write_all(path, MANY)
    assert verify(path).checked == len(MANY)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 5 MB; only the superuser can make one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    made = ["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", str(disk)]
    if not shutil.which("mount") or subprocess.run(made, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small file system")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_the_command_line_ends_with_2_and_one_line(tmp_path: Path) -> None:
    for name, ids in (("a", MANY[:2500]), ("b", MANY[2500:])):
        write_all(tmp_path / f"{name}.h5", ids)
    command = "from cxrfeat.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", command, "merge", "a.h5", "b.h5", "--out", "all.h5"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000)),
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "no room" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.h5", "b.h5"]
