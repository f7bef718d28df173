"""Kept pictures: the rows of a run without them, whatever happens to their files."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest

from cxrfeat import inputs, store
from cxrfeat.errors import InputError
from cxrfeat.extraction import local_engine, picture_cache, picture_shelf
from cxrfeat.extraction.picture_cache import KeptPictures, News, PictureCache, size_in_bytes
from cxrfeat.extraction.plan import plan
from cxrfeat.extraction.shards import Shard
from cxrfeat.extraction.sources import sources_of
from cxrfeat.framing import Framing
from tests.extraction.picture_cache.made import (
    NETWORKS,
    PLENTY,
    READING,
    assert_same,
    computed,
    draw,
    files_of,
    with_cache,
)
from tests.store.test_kill import kill, start

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.mark.parametrize("how", ["threads", "processes"])
def test_damaged_pictures_are_read_again_said_and_mended(
    folder: Path, tmp_path: Path, how: str
) -> None:
    with_cache(folder, tmp_path / "c")
    (path,) = files_of(tmp_path / "c")
    with h5py.File(path, "r+") as file:
        file["picture"][3, 5, 5] = 0.25
        file["picture"][6] = file["picture"][7]
    found, said = with_cache(folder, tmp_path / "c", networks={"net": NETWORKS[how]()})
    assert_same(found, computed(folder))
    assert said[0].startswith("8 picture(s)")
    assert "2 picture(s) of the cache were damaged" in said[1]
    found, said = with_cache(folder, tmp_path / "c")
    assert_same(found, computed(folder))
    assert said[0].startswith("10 picture(s)")
    assert len(said) == 1


@pytest.mark.parametrize("seed", range(3))
def test_no_damage_gives_a_wrong_row(folder: Path, tmp_path: Path, seed: int) -> None:
    exact = computed(folder)
    with_cache(folder, tmp_path / "c")
    (path,) = files_of(tmp_path / "c")
    rng = random.Random(seed)
    used = os.stat(path).st_blocks * 512
    for _ in range(4):
        with path.open("r+b") as file:
            for _ in range(20):
                file.seek(rng.choice([rng.randrange(4096), rng.randrange(used)]))
                file.write(rng.randbytes(1))
        found, said = with_cache(folder, tmp_path / "c")
        assert_same(found, exact)
        if len(said) > 1 and "passed over" in said[-1]:
            path.unlink()
            with_cache(folder, tmp_path / "c")
            path = files_of(tmp_path / "c")[0]


def test_a_file_that_cannot_be_used_is_passed_over_and_named(folder: Path, tmp_path: Path) -> None:
    with_cache(folder, tmp_path / "c")
    (path,) = files_of(tmp_path / "c")
    os.truncate(path, 5000)
    found, said = with_cache(folder, tmp_path / "c")
    assert_same(found, computed(folder))
    assert said[0].startswith("0 picture(s)")
    assert f"'{path}' is damaged" in said[1]
    assert "delete it" in said[1]
    assert len(files_of(tmp_path / "c")) == 2
    _, said = with_cache(folder, tmp_path / "c")
    assert said[0].startswith("10 picture(s)")


def test_a_full_cache_keeps_what_it_has_and_says_so(folder: Path, tmp_path: Path) -> None:
    with_cache(folder, tmp_path / "probe", limit=PLENTY)
    made = sum(os.stat(path).st_blocks * 512 for path in files_of(tmp_path / "probe"))
    found, said = with_cache(folder, tmp_path / "c", limit=30_000)
    assert_same(found, computed(folder))
    assert "the cache is full" in said[1]
    assert "--cache-size" in said[1]
    kept = int(said[0].partition(", ")[2].split()[0])
    assert 0 < kept < 10
    found, said = with_cache(folder, tmp_path / "c", limit=30_000)
    assert said[0].startswith(f"{kept} picture(s)")
    assert_same(found, computed(folder))
    assert sum(os.stat(p).st_blocks * 512 for p in files_of(tmp_path / "c")) < made + 30_000


def test_a_disk_that_takes_no_more_costs_no_row(folder: Path, tmp_path: Path, monkeypatch) -> None:
    from tests.store.test_full_disk import file_size_limit

    exact = computed(folder)
    with file_size_limit(100_000):
        found, said = with_cache(folder, tmp_path / "c")
    assert_same(found, exact)
    assert any("no more pictures are added to the cache" in note for note in said)


def test_another_process_reads_only_and_says_so(folder: Path, tmp_path: Path) -> None:
    with_cache(folder, tmp_path / "c")
    draw(folder / "new.bmp", 99)
    ready, done = tmp_path / "ready", tmp_path / "done"

    def hold() -> None:
        with PictureCache(tmp_path / "c", PLENTY):
            ready.touch()
            while not done.exists():
                time.sleep(0.01)

    process = start(hold)
    try:
        while not ready.exists():
            time.sleep(0.001)
        found, said = with_cache(folder, tmp_path / "c")
    finally:
        kill(process)
    assert_same(found, computed(folder))
    assert said[0] == f"10 picture(s) came from the cache '{tmp_path / 'c'}'"
    assert "nothing is added to it" in said[1]
    assert f"process {process}" in said[1]
    _, said = with_cache(folder, tmp_path / "c")
    assert "1 were added" in said[0]


def test_a_kill_leaves_a_cache_that_gives_right_rows(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(40):
        draw(folder / f"{number:02}.bmp", number)
    exact = computed(folder)
    rng = random.Random(1)
    kept = killed = tried = 0
    while kept < 40:
        process = start(lambda: with_cache(folder, tmp_path / "c"))
        tried += 1
        time.sleep(rng.uniform(0.02, 0.04 * tried))
        killed += kill(process)
        with PictureCache(tmp_path / "c", 0) as cache:  # adds nothing
            assert_same(computed(folder, cache), exact)
            kept = cache.pictures.found
            assert cache.pictures.damaged == 0
    assert killed


def test_shards_add_side_by_side_and_find_what_others_kept(folder: Path, tmp_path: Path) -> None:
    shards = [Shard(0, 2), Shard(1, 2)]
    with PictureCache(tmp_path / "c", PLENTY, shards[0]) as first:
        _, said = with_cache(folder, tmp_path / "c", shard=shards[1])
        assert "10 were added" in said[0]
        assert_same(computed(folder, first), computed(folder))
        assert first.pictures.found == 10
    _, said = with_cache(folder, tmp_path / "c", shard=shards[1], limit=2000)
    assert "of 0.0 GB" in said[0]


def test_a_folder_that_cannot_be_made_is_an_error(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="cannot make the folder"):
        PictureCache(tmp_path / "file" / "c", PLENTY)


def test_files_are_filled_one_after_the_other(folder: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(picture_shelf, "FILE_BYTES", 15_000)
    with_cache(folder, tmp_path / "c")
    assert len(files_of(tmp_path / "c")) == 4  # of three pictures each
    draw(folder / "new.bmp", 99)
    found, said = with_cache(folder, tmp_path / "c")
    assert len(files_of(tmp_path / "c")) == 4
    assert_same(found, computed(folder))
    found, said = with_cache(folder, tmp_path / "c", networks={"net": NETWORKS["processes"]()})
    assert said[0].startswith("11 picture(s)")
    assert_same(found, computed(folder))


def test_a_process_reads_neighbours_in_one_call(folder: Path, tmp_path: Path, monkeypatch) -> None:
    with_cache(folder, tmp_path / "c")
    calls: list[int] = []
    original: Callable = store.PictureFile.read

    def counting(file, rows, pictures):
        calls.append(len(rows))
        return original(file, rows, pictures)

    monkeypatch.setattr(store.PictureFile, "read", counting)
    sources = dict(sources_of(inputs.find(folder)).items())
    items = plan(sources, {"net": list(sources)})
    kept = KeptPictures(tmp_path / "c", READING, (Framing(32),))
    reads, news = local_engine._read_some({"net": Framing(32)}, READING, kept, items)
    assert calls == [10]
    assert (len(reads), news) == (11, News(10, {}))
    assert kept.news() == News(0, {})


def test_it_opens_once_in_every_process_that_gets_it(folder: Path, tmp_path: Path) -> None:
    import pickle

    with_cache(folder, tmp_path / "c")
    kept = KeptPictures(tmp_path / "c", READING, (Framing(32),))
    sent = pickle.dumps(kept)
    assert len(sent) < 1000
    assert pickle.loads(sent) is pickle.loads(sent)
    assert len(pickle.loads(sent)) == len(kept) == 10
    picture_cache._opened.cache_clear()


@pytest.mark.parametrize(
    ("text", "size"),
    [("50GB", 50 * 10**9), ("1.5 GiB", 3 << 29), (1234, 1234), ("700m", 7 * 10**8), ("0", 0)],
)
def test_sizes_are_read_as_people_write_them(text: str | int, size: int) -> None:
    assert size_in_bytes(text) == size


@pytest.mark.parametrize("text", ["", "much", "-1GB", "5PB", "GB"])
def test_a_size_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="50GB"):
        size_in_bytes(text)
