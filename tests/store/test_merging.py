from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

import cxrfeat
from cxrfeat.errors import FileFormatError, InputError, SpecMismatchError
from cxrfeat.store import joined_files, load, merge, merge_shards, verify
from tests.store.conftest import SPEC, dataset_of, fill, sha_of, vector_of, writer_for
from tests.store.test_verify import flip, offset_of


def shard(path: Path, ids: list[str], done: int | None = None, **options: object) -> Path:
    with writer_for(path, ids, **options) as writer:
        fill(writer, ids[:done])
    return path


def labelled(ids: list[str], name: str, group: str) -> object:
    return dataset_of(
        ids,
        classes=[name],
        labels=np.ones((len(ids), 1), dtype=np.float32),
        meta={"group": np.array([group] * len(ids))},
    )


def test_shards_become_one_file(tmp_path: Path) -> None:
    a = shard(tmp_path / "a.h5", ["1", "2"], dataset=labelled(["1", "2"], "x", "p"))
    b = shard(
        tmp_path / "b.h5", ["3"], dataset=labelled(["3"], "y", "q"), environment={"torch": "2"}
    )
    merged = merge([a, b], tmp_path / "all.h5")
    assert (merged.rows, merged.done, merged.shared) == (3, 3, 0)
    with load(tmp_path / "all.h5") as e:
        assert e.ids == ["1", "2", "3"]
        np.testing.assert_array_equal(e.numpy(), [vector_of(name) for name in e.ids])
        assert e.classes == ["x", "y"]
        np.testing.assert_array_equal(e.labels, [[1, 0], [1, 0], [0, 1]])
        assert e.groups.tolist() == ["p", "p", "q"]
        assert [origin["name"] for origin in e.environment["merged_from"]] == ["a", "b"]
        assert e.environment["merged_from"][1]["environment"] == {"torch": "2"}


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_other_classes_are_said_with_what_becomes_of_the_labels(tmp_path: Path, kind: str) -> None:
    unknown = 0 if kind == "multiclass" else np.nan
    files = [
        shard(
            tmp_path / f"{name}.h5",
            ids,
            dataset=dataset_of(ids, classes=classes, labels=np.eye(2, dtype=np.float32), kind=kind),
        )
        for name, ids, classes in (("a", ["1", "2"], ["A", "B"]), ("b", ["3", "4"], ["A", "C"]))
    ]
    merged = merge(files, tmp_path / "all.h5")
    (note,) = merged.notes
    assert "a.h5': A, B; " in note
    assert "b.h5': A, C), together A, B, C: " in note
    assert ("is none of the classes" if kind == "multiclass" else "is unknown of") in note
    with load(tmp_path / "all.h5") as e:
        assert (e.classes, e.kind) == (["A", "B", "C"], kind)
        np.testing.assert_array_equal(
            e.labels, [[1, 0, unknown], [0, 1, unknown], [1, unknown, 0], [0, unknown, 1]]
        )
    assert not merge([files[0], files[0]], tmp_path / "same.h5").notes


def test_folders_of_files_are_merged_as_fit_takes_them(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        shard(tmp_path / name / "net.h5", [name], dataset=labelled([name], "x", "p"))
    merged = cxrfeat.merge([tmp_path / "a", tmp_path / "b"], out=tmp_path / "all.h5")
    assert merged.rows == 2
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="no embedding file"):
        cxrfeat.merge(tmp_path / "none", out=tmp_path / "other.h5")


def test_a_row_that_is_done_is_taken_before_one_that_is_pending(tmp_path: Path) -> None:
    a = shard(tmp_path / "a.h5", ["1", "2"], 1)
    b = shard(tmp_path / "b.h5", ["2", "1"], 1)
    merged = merge([a, b], tmp_path / "all.h5")
    assert (merged.rows, merged.done, merged.pending, merged.shared) == (2, 2, 0, 2)
    with load(tmp_path / "all.h5") as e:
        np.testing.assert_array_equal(e.numpy(["1", "2"]), [vector_of("1"), vector_of("2")])


def test_rows_that_disagree_are_an_error(tmp_path: Path) -> None:
    a = shard(tmp_path / "a.h5", ["1", "2"])
    with writer_for(tmp_path / "b.h5", ["1", "2"]) as writer:
        fill(writer, ["2"])
        fill(writer, ["1"], version=1)
    with pytest.raises(InputError, match=r"1 images have another sha256 or embedding.*\(1\)"):
        merge([a, tmp_path / "b.h5"], tmp_path / "all.h5")
    with writer_for(tmp_path / "c.h5", ["1"]) as writer:
        writer.write(["1"], vector_of("other")[None], [sha_of("1")])
    with pytest.raises(InputError, match="another sha256 or embedding"):
        merge([a, tmp_path / "c.h5"], tmp_path / "all.h5")
    d = shard(tmp_path / "d.h5", ["1"], dataset=labelled(["1"], "x", "p"))
    e = shard(tmp_path / "e.h5", ["1"], dataset=labelled(["1"], "x", "q"))
    with pytest.raises(InputError, match="another column 'group'"):
        merge([d, e], tmp_path / "all.h5")
    f = shard(tmp_path / "f.h5", ["1"], dataset=labelled(["1"], "y", "p"))
    with pytest.raises(InputError, match="another label"):
        merge([d, f], tmp_path / "all.h5")
    assert not list(tmp_path.glob("all*"))


def test_another_extractor_is_refused_with_the_difference(tmp_path: Path) -> None:
    a = shard(tmp_path / "a.h5", ["1"])
    b = shard(tmp_path / "b.h5", ["2"], spec={**SPEC, "pooling": "max"})
    with pytest.raises(SpecMismatchError) as caught:
        merge([a, b], tmp_path / "all.h5")
    assert caught.value.difference == ["pooling: avg here, max there"]


def test_damage_is_not_carried_into_a_merged_file(tmp_path: Path) -> None:
    a, b = shard(tmp_path / "a.h5", ["1"]), shard(tmp_path / "b.h5", ["2"])
    flip(b, offset_of(b, "embeddings"))
    with pytest.raises(FileFormatError, match="verify --repair"):
        merge([a, b], tmp_path / "all.h5")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.h5", "b.h5"]


def test_a_file_is_never_written_over(tmp_path: Path) -> None:
    a, b = shard(tmp_path / "a.h5", ["1"]), shard(tmp_path / "b.h5", ["2"])
    with pytest.raises(InputError, match="exists already"):
        merge([a, b], b)


def test_a_row_that_is_gone_gives_way_to_the_image_in_another_file(tmp_path: Path) -> None:
    a = shard(tmp_path / "a.h5", ["1", "2", "3"], dataset=labelled(["1", "2", "3"], "x", "p"))
    writer_for(a, ["3"], dataset=labelled(["3"], "x", "p")).close()  # 1 and 2 are gone
    with writer_for(tmp_path / "b.h5", ["2"], dataset=labelled(["2"], "y", "q")) as writer:
        fill(writer, version=1)  # and in this shard 2 is another image
    merged = merge([a, tmp_path / "b.h5"], tmp_path / "all.h5")
    assert (merged.rows, merged.done, merged.pending, merged.gone) == (3, 2, 0, 1)
    with load(tmp_path / "all.h5") as e:
        assert dict(zip(e.ids, e.gone.tolist(), strict=True)) == {"3": False, "1": True, "2": False}
        np.testing.assert_array_equal(e.numpy(["2"]), [vector_of("2", 1)])
        row = e.ids.index("2")
        assert (e.groups[row], e.labels[row].tolist()) == ("q", [0, 1])


def test_shared_rows_are_compared_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """20,000 images that two files had took 17 s when each was read by itself."""
    ids = [str(number) for number in range(200)]
    a, b = shard(tmp_path / "a.h5", ids), shard(tmp_path / "b.h5", ids[::-2])
    calls = []
    plain = h5py.Dataset.__getitem__
    monkeypatch.setattr(
        h5py.Dataset, "__getitem__", lambda d, *given: calls.append(1) or plain(d, *given)
    )
    assert merge([a, b], tmp_path / "all.h5").shared == 100
    assert len(calls) < 120
    with writer_for(tmp_path / "c.h5", ids) as writer:
        fill(writer, ids[:150])
        vectors = np.array([vector_of(name) for name in ids[150:]])
        vectors[7] = -vectors[7]
        writer.write(ids[150:], vectors, [sha_of(name) for name in ids[150:]])
    with pytest.raises(InputError, match=r"1 images have another .* \(157\)"):
        merge([a, tmp_path / "c.h5"], tmp_path / "other.h5")


def test_shards_lie_between_each_other_however_many_files_and_blocks_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With more files than may be open at once, and blocks that end within a file's rows."""
    monkeypatch.setattr(joined_files, "_MOST_OPEN", 2)
    monkeypatch.setattr(joined_files, "_BLOCK_BYTES", 7 * 20)
    ids = sorted(str(number) for number in range(50))
    files = []
    for number in range(4):
        environment = {"machine": number // 2}
        path = tmp_path / f"{number}.h5"
        files.append(shard(path, ids[number::4], 9, environment=environment))
    merged = merge_shards(files, tmp_path / "all.h5")
    assert (merged.rows, merged.done, merged.pending) == (50, 36, 14)
    with load(tmp_path / "all.h5") as e:
        assert e.ids == ids
        done = np.array([number // 4 < 9 for number in range(50)])
        np.testing.assert_array_equal(e.status == 1, done)
        np.testing.assert_array_equal(
            e.numpy(), [vector_of(ids[row]) for row in np.flatnonzero(done)]
        )
        assert [e.sha256[row] for row in np.flatnonzero(done)] == [
            sha_of(ids[row]) for row in np.flatnonzero(done)
        ]
        assert [origin.rows for origin in e.origins()] == [18, 18]
        assert e.environment == {"machine": 1}
    assert verify(tmp_path / "all.h5").sound
    assert merge_shards(files, tmp_path / "all.h5").unchanged


def test_shards_of_which_a_row_is_damaged_are_not_merged(tmp_path: Path) -> None:
    files = [shard(tmp_path / f"{name}.h5", [name]) for name in ("1", "2")]
    flip(files[1], offset_of(files[1], "embeddings"))
    with pytest.raises(FileFormatError, match=r"2\.h5' has damaged rows"):
        merge_shards(files, tmp_path / "all.h5")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1.h5", "2.h5"]


def test_a_file_of_other_labels_than_the_shards_is_left_as_it_is(tmp_path: Path) -> None:
    a = shard(tmp_path / "a.h5", ["1", "2"], 1, dataset=labelled(["1", "2"], "x", "p"))
    out = tmp_path / "all.h5"
    merge_shards([a], out)
    writer_for(out, ["1", "2"], dataset=labelled(["1", "2"], "y", "p")).close()
    assert merge_shards([a], out).unchanged  # no row is lacking
    with writer_for(a, ["1", "2"], dataset=labelled(["1", "2"], "x", "p")) as writer:
        fill(writer)
    before = out.read_bytes()
    with pytest.raises(InputError, match="labels or columns that the shards do not have"):
        merge_shards([a], out)
    assert out.read_bytes() == before
