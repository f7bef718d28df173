"""info, verify, merge and export as a user types them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from cxrfeat.inputs import Dataset
from cxrfeat.store import load, open_writer


def write(path: Path, ids: list[str], **options: object) -> None:
    options = {"spec": {"backbone": "vgg16"}, "dimension": 4, **options}
    with open_writer(path, dataset=Dataset(ids=ids, paths=[]), **options) as writer:
        rows = np.array([[float(name), 1, 2, 3] for name in writer.pending], dtype=np.float32)
        writer.write(writer.pending, rows.reshape(-1, 4), ["a" * 64] * len(writer.pending))


@pytest.fixture
def run(tmp_path: Path):
    def typed(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from cxrfeat.cli import main; main()", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    return typed


def test_info_for_people_and_for_machines(run, tmp_path: Path) -> None:
    write(tmp_path / "a.h5", ["1", "2"])
    told = run("info", "a.h5")
    assert told.returncode == 0
    assert "2: 2 done, 0 pending, 0 failed" in told.stdout
    assert "spec: backbone" in told.stdout
    assert json.loads(run("info", "a.h5", "--json").stdout)["dimension"] == 4


def test_verify_ends_with_1_and_names_the_row_and_repair_mends_it(run, tmp_path: Path) -> None:
    write(tmp_path / "a.h5", ["1", "2"])
    assert run("verify", "a.h5").returncode == 0
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["embeddings"][1, 2] += 1
    told = run("verify", "a.h5")
    assert told.returncode == 1
    assert "row 1: 2: damaged embedding" in told.stdout
    told = run("verify", "a.h5", "--repair")
    assert told.returncode == 1
    assert "set back to pending" in told.stdout
    write(tmp_path / "a.h5", ["1", "2"])
    assert run("verify", "a.h5").returncode == 0
    with load(tmp_path / "a.h5") as e:
        np.testing.assert_array_equal(e[:], [[1, 1, 2, 3], [2, 1, 2, 3]])


def test_merge_and_export(run, tmp_path: Path) -> None:
    write(tmp_path / "a.h5", ["1", "2"])
    write(tmp_path / "b.h5", ["3"])
    told = run("merge", "a.h5", "b.h5", "--out", "all.h5")
    assert told.returncode == 0
    assert "all.h5: 3 rows: 3 done" in told.stdout
    told = run("export", "all.h5", "--to", "npz")
    assert told.returncode == 0
    with np.load(tmp_path / "all.npz", allow_pickle=False) as arrays:
        assert arrays["ids"].tolist() == ["1", "2", "3"]


def test_another_extractor_is_refused_line_by_line(run, tmp_path: Path) -> None:
    write(tmp_path / "a.h5", ["1"])
    write(tmp_path / "b.h5", ["2"], spec={"backbone": "vgg19", "pooling": "max"})
    told = run("merge", "a.h5", "b.h5", "--out", "all.h5")
    assert told.returncode == 2
    assert told.stderr.splitlines()[1:] == [
        "  backbone: vgg16 here, vgg19 there",
        "  pooling: (absent) here, max there",
    ]


def test_what_is_no_embedding_file_ends_with_2(run, tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_text("id,label\n")
    for verb in ("info", "verify", "export"):
        told = run(verb, "a.h5")
        assert told.returncode == 2
        assert told.stderr.count("\n") == 1
        assert "not an HDF5 file" in told.stderr
