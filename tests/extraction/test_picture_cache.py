"""Kept pictures: the rows of a run without them, whatever happens to the folder or the images."""

from __future__ import annotations

import os
import random
import shutil
import tarfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from cxrfeat import images, inputs, store
from cxrfeat.errors import InputError
from cxrfeat.extraction import local_engine, picture_cache, picture_shelf
from cxrfeat.extraction.job import ComputedImage, OpenJob
from cxrfeat.extraction.local_engine import LocalEngine
from cxrfeat.extraction.picture_cache import KeptPictures, News, PictureCache, size_in_bytes
from cxrfeat.extraction.plan import plan
from cxrfeat.extraction.shards import Shard
from cxrfeat.extraction.sources import ImageSource, sources_of
from cxrfeat.framing import Framing
from cxrfeat.images import ReadingOptions
from tests.store.test_kill import kill, start

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
READING = ReadingOptions()
PLENTY = 10**12


class Copying:
    """A network whose embedding is the picture itself; `at_once` as one on an accelerator."""

    def __init__(self, size: int = 32, *, side_by_side: bool = True, at_once: int = 1) -> None:
        self.framing, self.batch = Framing(size), 8
        self.side_by_side, self.at_once, self.pinned = side_by_side, at_once, False

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        return pictures.reshape(len(pictures), -1).copy()  # pictures are overwritten


def draw(path: Path, seed: int, mode: str = "L") -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (50, 60, 3), np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten pictures, one of them in colour, and one broken file."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(10):
        draw(folder / f"{number}.bmp", number, "RGB" if number == 4 else "L")
    (folder / "broken.bmp").write_bytes((folder / "0.bmp").read_bytes()[:500])
    return folder


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What is decoded, as it is."""
    seen: list[bytes] = []
    original = images.read_image

    def counting(data: bytes, *, options: ReadingOptions) -> images.Radiograph:
        seen.append(data)
        return original(data, options=options)

    monkeypatch.setattr(images, "read_image", counting)
    return seen


def computed(
    given: Path,
    cache: PictureCache | None = None,
    reading: ReadingOptions = READING,
    networks: dict[str, Any] | None = None,
) -> dict[str, ComputedImage]:
    networks = networks or {"net": Copying()}
    sources: dict[str, ImageSource] = dict(sources_of(inputs.find(given)).items())
    items = plan(sources, {name: list(sources) for name in networks})
    if cache is not None:
        cache.open(reading, {one.framing for one in networks.values()})
    engine = LocalEngine(OpenJob(networks, reading), batch_size=4, workers=2, cache=cache)
    return {one.id: one for batch in engine.run(items) for one in batch}


def with_cache(given: Path, folder: Path, limit: int = PLENTY, **how: Any) -> tuple[dict, list]:
    with PictureCache(folder, limit, how.pop("shard", None)) as cache:
        return computed(given, cache, **how), cache.notes


def assert_same(ours: dict[str, ComputedImage], exact: dict[str, ComputedImage]) -> None:
    assert {*ours} == {*exact}
    for id_, one in exact.items():
        told, other = (
            (each.stamp, each.sha256, each.warnings, str(each.error)) for each in (one, ours[id_])
        )
        assert told == other
        assert one.rows.keys() == ours[id_].rows.keys()
        for name, row in one.rows.items():
            np.testing.assert_array_equal(ours[id_].rows[name], row)


def files_of(cache: Path) -> list[Path]:
    return sorted(cache.rglob("*.h5"))


def wait_for_another_time(path: Path) -> None:
    """Let the file system's clock go on, which changes in steps."""
    probe = path.with_name("probe")
    probe.touch()
    before = probe.stat().st_ctime_ns
    while probe.stat().st_ctime_ns == before:
        time.sleep(0.001)
        probe.chmod(0o600)
    probe.unlink()


NETWORKS = {
    "threads": lambda: Copying(),
    "batches": lambda: Copying(side_by_side=False),
    "processes": lambda: Copying(side_by_side=False, at_once=2),
}


@pytest.mark.parametrize("how", NETWORKS)
def test_a_second_network_decodes_nothing_and_has_the_rows_it_would_have(
    folder: Path, tmp_path: Path, decoded: list[bytes], how: str
) -> None:
    networks = {"net": NETWORKS[how]()}
    exact = computed(folder)
    first, said = with_cache(folder, tmp_path / "c", networks=networks)
    assert_same(first, exact)
    assert said[0].startswith("0 picture(s) came from the cache")
    assert "10 were added" in said[0]
    decoded.clear()
    second, said = with_cache(folder, tmp_path / "c", networks={"net": NETWORKS[how]()})
    assert_same(second, exact)
    assert said[0].startswith("10 picture(s) came from the cache")
    assert len(said) == 1
    if how != "processes":  # which decode, where they do, out of sight
        assert decoded == [(folder / "broken.bmp").read_bytes()]
    assert second["4.bmp"].warnings == ("colour picture",)


def test_processes_read_what_is_new_and_what_is_kept(folder: Path, tmp_path: Path) -> None:
    with_cache(folder, tmp_path / "c")
    draw(folder / "new.bmp", 77)
    shutil.copy2(folder / "3.bmp", folder / "copy.bmp")  # known by its bytes alone
    found, said = with_cache(folder, tmp_path / "c", networks={"net": NETWORKS["processes"]()})
    assert_same(found, computed(folder))
    assert "2 were added" in said[0]
    found, said = with_cache(folder, tmp_path / "c", networks={"net": NETWORKS["processes"]()})
    assert said[0].startswith("12 picture(s)")
    assert_same(found, computed(folder))


def test_several_sizes_are_kept_and_found_together(
    folder: Path, tmp_path: Path, decoded: list[bytes]
) -> None:
    networks = {"small": Copying(16), "large": Copying(48)}
    with_cache(folder, tmp_path / "c", networks={"small": Copying(16)})
    with_cache(folder, tmp_path / "c", networks=networks)
    decoded.clear()
    found, _ = with_cache(folder, tmp_path / "c", networks=networks)
    assert len(decoded) == 1
    assert_same(found, computed(folder, networks=networks))


def test_networks_that_see_other_parts_of_an_image_share_no_picture(
    folder: Path, tmp_path: Path
) -> None:
    whole, middle = Copying(), Copying()
    middle.framing = Framing(32, crop="centre")
    exact = computed(folder, networks={"whole": whole, "middle": middle})
    with_cache(folder, tmp_path / "c", networks={"whole": whole})
    ours, _ = with_cache(folder, tmp_path / "c", networks={"whole": whole, "middle": middle})
    assert_same(ours, exact)
    rows = exact["0.bmp"].rows
    assert not np.array_equal(rows["whole"], rows["middle"])


@pytest.mark.parametrize("kind", ["files", "zip", "tar"])
def test_images_of_equal_names_sizes_and_times_are_never_taken_for_each_other(
    tmp_path: Path, kind: str
) -> None:
    """As where two collections were unpacked from archives that give every file one date."""
    given = {"files": "images", "zip": "images.zip", "tar": "images.tar"}[kind]
    exact = {}
    for number in (0, 1, 2):  # two places, then other images in the second one
        place = tmp_path / ("a" if number == 0 else "b")
        shutil.rmtree(place, ignore_errors=True)
        collection(place, kind, seed=10 * number)
        exact[number] = computed(place / given)
        found, said = with_cache(place / given, tmp_path / "c")
        assert_same(found, exact[number])
        assert said[0].startswith("0 picture(s)")
    stamps = [{id_: one.stamp for id_, one in exact[number].items()} for number in (0, 1, 2)]
    assert stamps[0] == stamps[1] == stamps[2] or kind == "zip"  # whose stamps hold the CRC-32
    rows = [one["0.bmp"].rows["net"] for one in exact.values()]
    assert not np.array_equal(rows[1], rows[2])
    _, said = with_cache(tmp_path / "a" / given, tmp_path / "c")
    assert said[0].startswith("3 picture(s)")


def collection(place: Path, kind: str, seed: int) -> None:
    folder = place / "images"
    folder.mkdir(parents=True)
    for number in range(3):
        draw(folder / f"{number}.bmp", seed + number)
        os.utime(folder / f"{number}.bmp", (10**9, 10**9))
    files = sorted(folder.iterdir())
    if kind == "zip":
        with zipfile.ZipFile(place / "images.zip", "w") as archive:
            for file in files:
                archive.write(file, file.name)
    if kind == "tar":
        with tarfile.open(place / "images.tar", "w") as archive:
            for file in files:
                archive.add(file, file.name)
        os.utime(place / "images.tar", (10**9, 10**9))


def test_an_image_that_is_replaced_in_place_is_read_anew(folder: Path, tmp_path: Path) -> None:
    with_cache(folder, tmp_path / "c")
    before = (folder / "1.bmp").stat()
    wait_for_another_time(folder)
    data = (folder / "2.bmp").read_bytes()
    (folder / "1.bmp").write_bytes(data)
    os.utime(folder / "1.bmp", ns=(before.st_atime_ns, before.st_mtime_ns))
    after = (folder / "1.bmp").stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    found, _ = with_cache(folder, tmp_path / "c")
    assert_same(found, computed(folder))


def test_moved_and_touched_images_are_read_but_not_decoded(
    folder: Path, tmp_path: Path, decoded: list[bytes]
) -> None:
    with_cache(folder, tmp_path / "c")
    (folder / "0.bmp").touch()
    folder.rename(tmp_path / "elsewhere")
    decoded.clear()
    found, said = with_cache(tmp_path / "elsewhere", tmp_path / "c")
    assert len(decoded) == 1  # the broken one
    assert_same(found, computed(tmp_path / "elsewhere"))
    assert "10 were added" in said[0]  # so that they need not be read next time


@pytest.mark.parametrize(
    "other",
    [
        {"modalities": None}, {"bits": 12}, {"frame": 1}, {"max_pixels": 10}, {"max_bytes": 10},
        {"guess_bits": False},
    ],
    ids=lambda other: next(iter(other)),
)  # fmt: skip
def test_pictures_that_were_read_in_another_way_are_not_taken(
    folder: Path, tmp_path: Path, other: dict[str, Any]
) -> None:
    """Also what decides which images fail: a picture that is kept would not."""
    with_cache(folder, tmp_path / "c")
    reading = replace(READING, **other)
    found, said = with_cache(folder, tmp_path / "c", reading=reading)
    assert said[0].startswith("0 picture(s)")
    assert_same(found, computed(folder, reading=reading))


def test_another_decoder_reads_anew(folder: Path, tmp_path: Path, monkeypatch) -> None:
    with_cache(folder, tmp_path / "c")
    monkeypatch.setattr(images, "decoders", lambda: {"Pillow": "another"})
    _, said = with_cache(folder, tmp_path / "c")
    assert said[0].startswith("0 picture(s)")


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
