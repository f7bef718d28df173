"""However a file came about, it is the file that doing it at once would have made."""

from __future__ import annotations

import os
import signal
import tempfile
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cxrfeat.inputs import Dataset
from cxrfeat.store import load, merge, verify
from tests.store.conftest import sha_of, vector_of, writer_for

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
settings.register_profile(
    "store", deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow]
)
store_settings = settings.get_profile("store")

NAMES = [f"{letter}.png" for letter in "abcdefghij"]
ids = st.lists(st.sampled_from(NAMES), unique=True)
versions = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 2))
steps = st.lists(
    st.fixed_dictionaries(
        {
            "ids": ids,
            "versions": versions,
            "prune": st.booleans(),
            "retry_failed": st.booleans(),
            "rows": st.integers(0, 10),
            "end": st.sampled_from(["close", "kill", "error"]),
        }
    ),
    max_size=5,
)


def dataset(names: list[str]) -> Dataset:
    """Labels and columns depend on the name alone."""
    odd = np.array([ord(name[0]) % 2 for name in names], dtype=np.float32)
    return Dataset(
        ids=names,
        paths=[],
        classes=["odd", "even"],
        labels=np.stack([odd, 1 - odd], axis=1).reshape(-1, 2),
        meta={"group": np.array([f"patient {ord(name[0]) // 3}" for name in names], dtype=np.str_)},
    )


def fails(name: str, version: int) -> bool:
    return name[0] in "cf" and version == 1


def extract(path: Path, step: dict, rows: int | None = None) -> None:
    """Do what the verb does: images of some versions, the first few rows, then the end."""
    version = {name: step["versions"].get(name, 0) for name in step["ids"]}
    with writer_for(
        path,
        step["ids"],
        dataset=dataset(step["ids"]),
        current_sha256={name: sha_of(name, version[name]) for name in step["ids"]},
        prune=step["prune"],
        retry_failed=step["retry_failed"],
    ) as writer:
        for count, name in enumerate(writer.pending):
            if rows is not None and count >= rows:
                break
            sha256 = sha_of(name, version[name])
            if fails(name, version[name]):
                writer.fail(name, "truncated", "ends early", sha256)
            else:
                writer.write([name], vector_of(name, version[name])[None], [sha256])
            if count % 2:
                writer.commit()
        if step["end"] == "kill" and rows is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        if step["end"] == "error" and rows is not None:
            raise InterruptedError


def extract_apart(path: Path, step: dict) -> None:
    """The same in a process that may be killed."""
    process = os.fork()
    if process == 0:
        code = 1
        try:
            extract(path, step, step["rows"])
            code = 0
        except InterruptedError:
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) == (-signal.SIGKILL if step["end"] == "kill" else 0)


def content(path: Path) -> dict[str, bytes]:
    """Every dataset but the sizes and dates of images."""
    found = {}
    with h5py.File(path) as file:
        names = ["embeddings", "id", "sha256", "status", "error", "checksum", "labels"]
        for name in [*names, *(f"meta/{column}" for column in file["meta"])]:
            found[name] = file[name][...].tobytes()
    return found


@store_settings
@given(history=steps, last=ids, version=versions)
def test_a_pruned_file_is_the_one_made_at_once(
    history: list[dict], last: list[str], version: dict[str, int]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, once = Path(folder) / "history.h5", Path(folder) / "once.h5"
        for step in history:
            extract_apart(path, step)
            assert verify(path).sound
        end = {"ids": last, "versions": version, "prune": True, "retry_failed": True, "end": ""}
        extract(path, end)
        extract(once, end)
        assert content(path) == content(once)
        assert sorted(p.name for p in Path(folder).iterdir()) == ["history.h5", "once.h5"]


@store_settings
@given(history=steps, last=ids, version=versions)
def test_vanished_rows_are_kept_as_they_were(
    history: list[dict], last: list[str], version: dict[str, int]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.h5"
        for step in history:
            extract_apart(path, {**step, "prune": False})
        before = {}
        if path.exists():
            with load(path) as e:
                before = {
                    name: (int(e.status[row]), e.sha256[row], e[row].tobytes())
                    for row, name in enumerate(e.ids)
                    if e.status[row] == 1
                }
        end = {"ids": last, "versions": version, "prune": False, "retry_failed": False, "end": ""}
        extract(path, end)
        everyone = dataset(list(dict.fromkeys([*last, *(n for s in history for n in s["ids"])])))
        with load(path) as e:
            assert e.ids[: len(last)] == last
            assert {*last, *before} <= set(e.ids) <= set(everyone.ids)
            assert not (set(e.ids) - set(last)) & {
                name for row, name in enumerate(e.ids) if e.status[row] == 0
            }
            for row, name in enumerate(e.ids):
                if name in before and name not in last:
                    assert before[name] == (1, e.sha256[row], e[row].tobytes())
                where = everyone.ids.index(name)
                np.testing.assert_array_equal(e.labels[row], everyone.labels[where])
                assert e.meta["group"][row] == everyone.meta["group"][where]


@store_settings
@given(order=st.permutations(NAMES), cuts=st.lists(st.integers(0, 10), min_size=1, max_size=3))
def test_merged_shards_are_the_file_made_at_once(order: list[str], cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(order)]
    with tempfile.TemporaryDirectory() as folder:
        once, out = Path(folder) / "once.h5", Path(folder) / "merged.h5"
        end = {"versions": {}, "prune": False, "retry_failed": False, "end": ""}
        shards = []
        for number, (start, stop) in enumerate(pairwise(edges)):
            shards.append(Path(folder) / f"shard{number}.h5")
            extract(shards[-1], {**end, "ids": order[start:stop]})
        extract(once, {**end, "ids": order})
        merge(shards, out)
        assert content(out) == content(once)
