from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from cxrfeat.errors import InputError, LockedError, SpecMismatchError
from cxrfeat.inputs import Dataset
from cxrfeat.store import StoreWriter, known, load, verify
from tests.store.conftest import SPEC, dataset_of, fill, sha_of, vector_of, writer_for

IDS = ["a/1.png", "a/ü.png", "b/3.png"]


def test_what_is_written_is_read_back(path: Path) -> None:
    labels = np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32)
    group = np.array(["p1", "p1", "p2"])
    dataset = dataset_of(
        IDS, labels=labels, classes=["a", "b"], meta={"group": group, "x/y": group}
    )
    with writer_for(path, IDS, dataset=dataset, environment={"torch": "2"}) as writer:
        assert writer.pending == IDS
        assert writer.changes.added == 3
        fill(writer, IDS[:2])
        writer.fail(IDS[2], "truncated", "ends early", sha_of(IDS[2]))
    with load(path) as e:
        assert (e.name, e.dimension, len(e), e.ids) == ("tiny", 5, 3, IDS)
        assert e.status.tolist() == [1, 1, 2]
        assert e.errors == ["", "", "truncated: ends early"]
        assert e.sha256 == [sha_of(name) for name in IDS]
        assert e.spec == SPEC
        assert e.environment == {"torch": "2"}
        assert e.classes == ["a", "b"]
        np.testing.assert_array_equal(e.labels, labels)
        assert e.groups.tolist() == ["p1", "p1", "p2"]
        assert list(e.meta) == ["group", "x/y"]
        np.testing.assert_array_equal(e.numpy(), [vector_of(name) for name in IDS[:2]])
        np.testing.assert_array_equal(e.numpy([IDS[1]]), [vector_of(IDS[1])])
        assert np.isnan(e[2]).all()
        assert "2 of 3 rows done" in repr(e)
        with pytest.raises(InputError, match="truncated"):
            e.numpy([IDS[2]])
        with pytest.raises(InputError, match="not an id"):
            e.numpy(["c"])


def test_rows_are_chosen_like_those_of_an_array(path: Path) -> None:
    with writer_for(path, IDS) as writer:
        fill(writer)
    everything = np.array([vector_of(name) for name in IDS])
    with load(path) as e:
        for rows in (
            0,
            -1,
            slice(None),
            slice(None, None, -2),
            [2, 0, 2],
            np.array([True, False, True]),
        ):
            np.testing.assert_array_equal(e[rows], everything[rows])
        assert e[[]].shape == (0, 5)
        with pytest.raises(IndexError):
            e[3]


def test_rows_of_a_closed_file_are_not_called_damaged(path: Path) -> None:
    with writer_for(path, IDS) as writer:
        fill(writer)
    with load(path) as e:
        assert len(e) == 3
    with pytest.raises(InputError, match="was closed"):
        e.numpy()


def test_nothing_is_rewritten_when_nothing_changed(path: Path) -> None:
    with writer_for(path, IDS) as writer:
        fill(writer)
    before, inode = path.read_bytes(), path.stat().st_ino
    with writer_for(path, IDS, current_sha256={IDS[0]: sha_of(IDS[0])}) as writer:
        assert writer.pending == []
        assert writer.changes.reused == 3
        assert not writer.changes.rewritten
    assert (path.read_bytes(), path.stat().st_ino) == (before, inode)
    assert sorted(p.name for p in path.parent.iterdir()) == ["tiny.h5"]


def test_gained_lost_and_changed_images_cost_only_what_is_new(path: Path) -> None:
    with writer_for(path, IDS) as writer:
        fill(writer)
    with writer_for(path, ["new", *IDS[1:]], current_sha256={IDS[2]: sha_of(IDS[2], 1)}) as writer:
        assert writer.pending == ["new", IDS[2]]
        changes = writer.changes
        assert (changes.reused, changes.added, changes.changed, changes.gone) == (
            1,
            1,
            1,
            1,
        )
        fill(writer, version=1)
    with load(path) as e:
        assert e.ids == ["new", IDS[1], IDS[2], IDS[0]]
        np.testing.assert_array_equal(e.numpy([IDS[0]]), [vector_of(IDS[0])])
        np.testing.assert_array_equal(e.numpy([IDS[2]]), [vector_of(IDS[2], 1)])
    with writer_for(path, IDS[1:], prune=True) as writer:
        assert writer.changes.dropped == 2
        assert writer.pending == []
    with load(path) as e:
        assert e.ids == IDS[1:]


def test_a_changed_image_is_reset_in_place(path: Path) -> None:
    with writer_for(path, IDS) as writer:
        fill(writer)
    with writer_for(path, IDS, current_sha256={IDS[1]: sha_of(IDS[1], 1)}) as writer:
        assert not writer.changes.rewritten
        assert writer.pending == [IDS[1]]
    with load(path) as e:
        assert np.isnan(e[1]).all()
        assert e.sha256[1] == ""


def test_failed_rows_stay_until_they_are_to_be_retried(path: Path) -> None:
    with writer_for(path, IDS) as writer:
        fill(writer, IDS[:2])
        writer.fail(IDS[2], "truncated", "ends early", sha_of(IDS[2]))
    with writer_for(path, IDS) as writer:
        assert writer.changes.failed_kept == 1
        assert writer.pending == []
    with writer_for(path, IDS, retry_failed=True) as writer:
        assert writer.changes.retried == 1
        assert writer.pending == [IDS[2]]
        fill(writer)
    with load(path) as e:
        assert e.errors[2] == ""
        assert e.status.tolist() == [1, 1, 1]


def test_another_spec_is_refused_line_by_line(path: Path) -> None:
    writer_for(path, IDS).close()
    with pytest.raises(SpecMismatchError, match="pooling differ") as caught:
        writer_for(path, IDS, spec={**SPEC, "pooling": "max"})
    assert caught.value.difference == ["pooling: max here, avg there"]
    writer_for(path, IDS).close()  # the refusal left no lock behind


def test_a_second_writer_is_told_who_holds_the_file(path: Path) -> None:
    with writer_for(path, IDS), pytest.raises(LockedError, match="this process"):
        writer_for(path, IDS)


def test_an_embedding_that_is_not_finite_is_a_failed_row(path: Path) -> None:
    vectors = np.array([vector_of(name) for name in IDS])
    vectors[1, 2] = np.nan
    with writer_for(path, IDS) as writer:
        assert writer.write(IDS, vectors, [sha_of(name) for name in IDS]) == [IDS[1]]
    with load(path) as e:
        assert e.status.tolist() == [1, 2, 1]
        assert e.errors[1].startswith("not-finite:")


def test_known_tells_what_need_not_be_hashed_again(path: Path) -> None:
    assert known(path) is None
    with writer_for(path, IDS) as writer:
        fill(writer, IDS[:1])
    rows = known(path)
    assert rows.ids == IDS
    assert rows.sha256.astype(str).tolist() == [sha_of(IDS[0]), "", ""]
    assert rows.stat.tolist() == [[1, 2], [-1, -1], [-1, -1]]
    assert rows.status.tolist() == [1, 0, 0]


def test_labels_and_columns_follow_the_dataset_and_are_never_lost(path: Path) -> None:
    first = Dataset(
        ids=["1", "2"],
        paths=[],
        classes=["x", "y"],
        labels=np.array([[1, 0], [0, 1]], dtype=np.float32),
        meta={"group": np.array(["p", "q"])},
    )
    with writer_for(path, [], dataset=first) as writer:
        fill(writer)
    with writer_for(path, ["1", "2", "3"]) as writer:
        assert writer.pending == ["3"]
    with load(path) as e:
        np.testing.assert_array_equal(e.labels, [[1, 0], [0, 1], [np.nan, np.nan]])
        assert e.groups.tolist() == ["p", "q", ""]
    other = Dataset(
        ids=["3"], paths=[], classes=["z", "y"], labels=np.array([[1, 0]], dtype=np.float32)
    )
    writer_for(path, [], dataset=other).close()
    with load(path) as e:
        assert e.ids == ["3", "1", "2"]
        assert e.classes == ["z", "y", "x"]
        np.testing.assert_array_equal(e.labels, [[1, 0, 0], [0, 0, 1], [0, 1, 0]])


def test_a_file_of_no_images_is_a_file(path: Path) -> None:
    writer_for(path, []).close()
    with load(path) as e:
        assert (len(e), e.numpy().shape) == (0, (0, 5))
    with writer_for(path, IDS) as writer:
        assert writer.pending == IDS


def test_a_row_that_failed_and_is_written_after_all_keeps_no_error(path: Path) -> None:
    with writer_for(path, IDS) as writer:
        writer.fail(IDS[0], "truncated", "ends early")
        fill(writer, IDS)
    with load(path) as e:
        assert e.status.tolist() == [1, 1, 1]
        assert e.errors == ["", "", ""]


def test_an_image_that_was_only_touched_is_known_again_next_time(path: Path) -> None:
    with writer_for(path, IDS) as writer:
        fill(writer, IDS[:2])
    stat = (1, 999)
    same = {IDS[0]: sha_of(IDS[0]), IDS[1]: sha_of(IDS[1], 1)}
    with writer_for(
        path, IDS, current_sha256=same, current_stat=dict.fromkeys(IDS, stat)
    ) as writer:
        assert writer.pending == IDS[1:]
    rows = known(path)
    assert rows.stat.tolist() == [list(stat), [-1, -1], [-1, -1]]


def test_a_row_that_counts_is_not_written_over(path: Path) -> None:
    with writer_for(path, IDS) as writer:
        fill(writer)
        with pytest.raises(InputError, match="already"):
            fill(writer, IDS[:1], version=1)
        with pytest.raises(InputError, match="already"):
            writer.fail(IDS[0], "truncated", "ends early")
    with load(path) as e:
        np.testing.assert_array_equal(e[0], vector_of(IDS[0]))


def outside_of_rows(path: Path, name: str, length: int) -> bytes:
    """The bytes of a file without those of one dataset."""
    with h5py.File(path) as file:
        at = file[name].id.get_offset()
    data = path.read_bytes()
    return data[:at] + data[at + length :]


def test_a_mark_is_set_and_taken_back_in_place(path: Path) -> None:
    with writer_for(path, IDS) as writer:
        fill(writer)
    inode, before = path.stat().st_ino, outside_of_rows(path, "gone", 3)
    with writer_for(path, IDS[:2]) as writer:
        assert (writer.changes.gone, writer.changes.rewritten) == (1, False)
    with load(path) as e:
        assert e.gone.tolist() == [False, False, True]
        assert e.numpy().shape == (2, 5)
    assert (path.stat().st_ino, outside_of_rows(path, "gone", 3)) == (inode, before)
    with writer_for(path, IDS) as writer:
        assert (writer.changes.gone, writer.changes.reused, writer.pending) == (0, 3, [])
    with load(path) as e:
        assert not e.gone.any()
    assert (path.stat().st_ino, outside_of_rows(path, "gone", 3)) == (inode, before)


def test_a_moved_row_that_failed_stays_failed_until_it_is_retried(path: Path) -> None:
    with writer_for(path, IDS) as writer:
        fill(writer, IDS[:2])
        writer.fail(IDS[2], "truncated", "ends early", sha_of(IDS[2]))
    ids, now = [*IDS[:2], "c/3.png"], {"c/3.png": sha_of(IDS[2])}
    with writer_for(path, ids, current_sha256=now) as writer:
        changes = writer.changes
        assert (changes.moved, changes.failed_kept, changes.reused) == (1, 1, 2)
    with load(path) as e:
        assert e.errors == ["", "", "truncated: ends early"]
    ids, now = [*IDS[:2], "d/3.png"], {"d/3.png": sha_of(IDS[2])}
    with writer_for(path, ids, current_sha256=now, retry_failed=True) as writer:
        assert (writer.changes.moved, writer.changes.retried) == (1, 1)
        assert writer.pending == ["d/3.png"]


def test_of_equal_vanished_images_the_one_of_the_same_name_moves(path: Path) -> None:
    same = sha_of("same")
    with writer_for(path, ["a/1.png", "a/2.png"]) as writer:
        writer.write(writer.pending, np.ones((2, 5), dtype=np.float32), [same, same])
    with writer_for(path, ["b/2.png"], current_sha256={"b/2.png": same}) as writer:
        assert (writer.changes.moved, writer.changes.gone) == (1, 1)
    with load(path) as e:
        assert (e.ids, e.gone.tolist()) == (["b/2.png", "a/1.png"], [False, True])


def test_an_image_renamed_over_another_takes_its_row_along(path: Path) -> None:
    with writer_for(path, IDS) as writer:
        fill(writer)
    with writer_for(path, IDS[:2], current_sha256={IDS[0]: sha_of(IDS[2])}) as writer:
        changes = writer.changes
        assert (changes.moved, changes.changed, changes.gone, changes.dropped) == (1, 0, 0, 0)
    with load(path) as e:
        np.testing.assert_array_equal(e.numpy(), [vector_of(IDS[2]), vector_of(IDS[1])])


def test_images_that_come_and_go_here_and_there_cost_no_read_each(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """50,000 rows, every tenth gone, took 90 s when each stretch between was copied by itself."""
    ids = [f"{number:04d}" for number in range(600)]
    some = [name for number, name in enumerate(ids) if number % 3]
    vectors = {name: vector_of(name) for name in ids}

    def write(writer: StoreWriter) -> None:
        todo = writer.pending
        with writer:
            writer.write(
                todo, np.array([vectors[name] for name in todo]), [sha_of(name) for name in todo]
            )

    write(writer_for(path, some))
    calls = []
    plain = h5py.Dataset.__getitem__
    monkeypatch.setattr(
        h5py.Dataset, "__getitem__", lambda d, *given: calls.append(1) or plain(d, *given)
    )
    writer = writer_for(path, ids)  # each third row is new
    assert writer.changes.added == 200
    write(writer)
    writer_for(path, some).close()  # and gone again: those rows go to the end
    with load(path) as e:
        assert e.ids == [*some, *(name for name in ids if name not in set(some))]
        everything = e.numpy(include_gone=True)
        np.testing.assert_array_equal(everything, [vectors[name] for name in e.ids])
        np.testing.assert_array_equal(e.numpy(ids[::-3]), [vectors[name] for name in ids[::-3]])
    assert len(calls) < 120
    assert verify(path).sound


def test_images_that_come_between_others_are_added_in_blocks(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not row by row: as many calls for 200 of them as for 20."""
    calls: list[str] = []
    for name in ("__getitem__", "__setitem__"):
        plain = getattr(h5py.Dataset, name)
        monkeypatch.setattr(
            h5py.Dataset, name, lambda d, *given, plain=plain: calls.append("") or plain(d, *given)
        )
    ids = sorted(f"{number:04d}" for number in range(1000))
    counts = []
    for every in (50, 5):
        old = [name for name in ids if int(name) % every]
        with writer_for(path, old) as writer:
            vectors = np.array([vector_of(name) for name in old])
            writer.write(old, vectors, [sha_of(name) for name in old])
        calls.clear()
        with writer_for(path, ids) as writer:
            counts.append(len(calls))
            assert (writer.changes.added, writer.changes.reused) == (1000 // every, len(old))
        with load(path) as e:
            np.testing.assert_array_equal(e.numpy(old), vectors)
        path.unlink()
    assert counts[0] == counts[1]
