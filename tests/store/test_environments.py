"""Which machine computed which row, also after a file passed through several."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np

from cxrfeat.store import Origin, load, merge, merge_shards, verify
from tests.store.conftest import dataset_of, fill, writer_for
from tests.store.test_format import GOLDEN, IDS

A = {"platform": "machine a", "torch": "2.5"}
B = {"platform": "machine b", "torch": "2.6"}


def test_rows_of_a_resumed_file_name_what_computed_them(path: Path) -> None:
    with writer_for(path, ["1", "2", "3"], environment=A) as writer:
        fill(writer, ["1", "2"])
    with writer_for(path, ["1", "2", "3"], environment=B) as writer:
        assert (writer.changes.rewritten, writer.pending) == (True, ["3"])
        writer.fail("3", "truncated", "ends early")
    with writer_for(path, ["1", "2", "3", "4"], environment=A) as writer:
        fill(writer)
    with load(path) as e:
        assert e.environments == [A, B]
        assert e.computed_in.tolist() == [0, 0, 1, 0]
        assert e.origins() == [Origin(3, A)]  # of the rows that are done
        assert e.environment == A
    with h5py.File(path) as file:
        assert json.loads(file.attrs["environments"]) == [A, B]
        assert file["environment"].dtype == np.int32


def test_who_only_relabels_is_not_named(path: Path) -> None:
    with writer_for(path, ["1", "2"], environment=A) as writer:
        fill(writer)
    groups = dataset_of(["1", "2"], meta={"group": np.array(["p", "q"])})
    with writer_for(path, [], dataset=groups, environment=B) as writer:
        assert writer.changes.rewritten
    with load(path) as e:
        assert (e.environments, e.environment, e.computed_in.tolist()) == ([A], A, [0, 0])


def test_a_machine_with_nothing_to_compute_writes_nothing(path: Path) -> None:
    with writer_for(path, ["1", "2"], environment=A) as writer:
        fill(writer)
    before = path.read_bytes()
    writer_for(path, ["1", "2"], environment=B).close()
    assert path.read_bytes() == before


def test_a_known_machine_goes_on_in_place(path: Path) -> None:
    with writer_for(path, ["1", "2", "3"], environment=A) as writer:
        fill(writer, ["1"])
    with writer_for(path, ["1", "2", "3"], environment=B) as writer:
        fill(writer, ["2"])
    inode = path.stat().st_ino
    with writer_for(path, ["1", "2", "3"], environment=A) as writer:
        assert not writer.changes.rewritten
        fill(writer)
    with load(path) as e:
        assert e.computed_in.tolist() == [0, 1, 0]
    assert path.stat().st_ino == inode


def test_a_row_that_is_computed_again_names_the_new_machine(path: Path) -> None:
    with writer_for(path, ["1", "2"], environment=A) as writer:
        fill(writer)
    with writer_for(path, ["1", "2"], environment=B, current_sha256={"2": "0" * 64}) as writer:
        assert writer.pending == ["2"]
    with load(path) as e:
        assert e.computed_in.tolist() == [0, -1]
    with writer_for(path, ["1", "2"], environment=B) as writer:
        fill(writer, version=1)
    with load(path) as e:
        assert e.origins() == [Origin(1, A), Origin(1, B)]
    assert verify(path).sound


def test_rows_of_a_file_of_old_came_from_nobody_knows_where(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(GOLDEN.read_bytes())
    with load(path) as e:
        assert e.environments == []
        assert e.origins() == [Origin(2, None)]
    with writer_for(path, [*IDS, "new"], environment=B) as writer:
        fill(writer, ["new"])
    with load(path) as e:
        assert e.computed_in.tolist() == [-1, -1, -1, 0]
        assert e.origins() == [Origin(1, B), Origin(2, None)]


def test_a_merge_keeps_every_environment_once_and_every_row_with_its_own(tmp_path: Path) -> None:
    with writer_for(tmp_path / "a.h5", ["1", "2"], environment=A) as writer:
        fill(writer, ["1"])
    with writer_for(tmp_path / "a.h5", ["1", "2"], environment=B) as writer:
        fill(writer)
    with writer_for(tmp_path / "b.h5", ["3"], environment=B) as writer:
        fill(writer)
    with writer_for(tmp_path / "c.h5", ["4"]) as writer:
        fill(writer)
    merge([tmp_path / f"{name}.h5" for name in "abc"], tmp_path / "all.h5")
    with load(tmp_path / "all.h5") as e:
        assert e.environments == [A, B]
        assert dict(zip(e.ids, e.computed_in.tolist(), strict=True)) == {
            "1": 0,
            "2": 1,
            "3": 1,
            "4": -1,
        }
        assert [part["name"] for part in e.environment["merged_from"]] == ["a", "b", "c"]


def test_a_number_beyond_the_list_is_unknown(path: Path) -> None:
    with writer_for(path, ["1", "2"], environment=A) as writer:
        fill(writer)
    with h5py.File(path, "r+") as file:
        file["environment"][1] = 7
    with load(path) as e:
        assert e.computed_in.tolist() == [0, -1]


def test_a_merge_keeps_environments_beyond_the_64_kilobytes_of_a_small_attribute(
    tmp_path: Path,
) -> None:
    """As those of a thousand machines."""
    machines = [{"platform": f"machine {number} " + 30_000 * "x"} for number in range(4)]
    files = [tmp_path / f"{number}.h5" for number in range(4)]
    for number, file in enumerate(files):
        with writer_for(file, [str(number)], environment=machines[number]) as writer:
            fill(writer)
    merge(files, tmp_path / "all.h5")
    with load(tmp_path / "all.h5") as e:
        assert e.environments == machines
        assert [part["environment"] for part in e.environment["merged_from"]] == machines
        assert e.computed_in.tolist() == [0, 1, 2, 3]
    merge_shards(files, tmp_path / "single.h5")
    with load(tmp_path / "single.h5") as e:
        assert (e.environments, e.environment) == (machines, machines[-1])
