"""A file of kept pictures: what is read from it is what was written, or nothing."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from cxrfeat.errors import FileFormatError, StorageError
from cxrfeat.store import KEPT_IMAGE, PictureFile, make_picture_file
from tests.store.test_full_disk import file_size_limit
from tests.store.test_kill import kill, start

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
SPEC = {"image": {"version": 1}, "picture": "float32"}
SIDE, ROWS = 16, 400


def picture_of(number: int) -> np.ndarray:
    return np.random.default_rng(number).random((SIDE, SIDE), dtype=np.float32)


def some(numbers: range) -> tuple[np.ndarray, np.ndarray]:
    told = [(f"{n:032}".encode(), f"{n:064}".encode(), b"[]", n, 0, 0) for n in numbers]
    return np.array(told, dtype=KEPT_IMAGE), np.stack([picture_of(n) for n in numbers])


def add(path: Path, count: int, batch: int = 3) -> None:
    with_room = PictureFile(path, SPEC, SIDE)
    begun = ROWS - with_room.free
    for first in range(begun, begun + count, batch):
        with_room.append(*some(range(first, min(first + batch, begun + count))))


def opened(path: Path) -> PictureFile:
    return PictureFile(path, SPEC, SIDE)


def sound_rows(path: Path) -> list[int]:
    """Numbers of the pictures that count, each of which must be the one that was written."""
    file = opened(path)
    done = np.flatnonzero(file.images()["done"] == 1)
    pictures = np.empty((len(done), SIDE, SIDE), np.float32)
    images, sound = file.read(done, pictures)
    found = []
    for image, picture in zip(images[sound], pictures[sound], strict=True):
        number = int(image["place"])
        assert image["bytes"] == int(image["sha256"]) == number
        np.testing.assert_array_equal(picture, picture_of(number))
        found.append(number)
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "pictures.h5"
    make_picture_file(path, SPEC, SIDE, ROWS)
    return path


def test_pictures_come_back_to_the_bit_in_any_order(path: Path) -> None:
    add(path, 20)
    assert sound_rows(path) == list(range(20))
    file = opened(path)
    pictures = np.empty((4, SIDE, SIDE), np.float32)
    _, sound = file.read(np.array([7, 3, 4, 19]), pictures)
    assert sound.all()
    np.testing.assert_array_equal(pictures, [picture_of(n) for n in (7, 3, 4, 19)])


def test_other_programs_read_it_with_h5py_alone(path: Path) -> None:
    add(path, 4)
    with h5py.File(path) as file:
        assert file.attrs["format"] == b"cxrfeat-pictures"
        assert file["image"]["done"][:5].tolist() == [1, 1, 1, 1, 0]
        np.testing.assert_array_equal(file["picture"][2], picture_of(2))


def test_room_is_taken_as_rows_are_filled(path: Path) -> None:
    def taken() -> int:
        return os.stat(path).st_blocks * 512

    if taken() >= path.stat().st_size:
        pytest.skip("needs a file system with sparse files")
    before = taken()
    add(path, 40)
    assert 0 < taken() - before < 40 * SIDE * SIDE * 4 + 40 * KEPT_IMAGE.itemsize + 100_000


def test_filling_rows_changes_nothing_but_the_rows(path: Path) -> None:
    """Why a kill cannot spoil a file: HDF5's own structures are written once, at the start."""
    before = np.frombuffer(path.read_bytes(), np.uint8)
    add(path, ROWS)
    after = np.frombuffer(path.read_bytes(), np.uint8)
    own = np.ones(len(before), dtype=bool)
    with h5py.File(path) as file:
        for name in ("image", "picture"):
            first, size = file[name].id.get_offset(), file[name].id.get_storage_size()
            own[first : first + size] = False
    assert len(after) == len(before)
    np.testing.assert_array_equal(after[own], before[own])


def test_a_kill_at_any_moment_leaves_only_whole_pictures(path: Path) -> None:
    rng = random.Random(0)
    kills = 0
    before: set[int] = set()
    while kills < 12 and len(before) < ROWS - 60:
        process = start(lambda: add(path, 60, batch=1))
        time.sleep(rng.uniform(0.002, 0.02))
        kills += kill(process)
        found = {*sound_rows(path)}
        assert before <= found
        before = found
    assert kills >= 5
    add(path, ROWS - len(before))
    assert sound_rows(path) == list(range(ROWS))


@pytest.mark.parametrize("seed", range(4))
def test_flipped_bytes_never_give_another_picture(path: Path, seed: int) -> None:
    add(path, 30)
    whole = path.read_bytes()
    rng = random.Random(seed)
    lost = refused = 0
    for _ in range(30):
        damaged = bytearray(whole)
        # In the structure, beside the pictures, or in them.
        end = rng.choice([4096, 4096 + 30 * KEPT_IMAGE.itemsize, len(whole)])
        for _ in range(rng.choice([1, 8])):
            damaged[rng.randrange(end)] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            lost += len(sound_rows(path)) < 30
        except FileFormatError:
            refused += 1
    assert lost
    assert refused


@pytest.mark.parametrize("part", [0.0, 0.01, 0.5, 0.999])
def test_a_file_that_was_cut_is_refused(path: Path, part: float) -> None:
    add(path, ROWS)
    os.truncate(path, int(path.stat().st_size * part))
    with pytest.raises(FileFormatError, match="delete it"):
        opened(path)


@pytest.mark.parametrize(
    ("spec", "side"), [({"image": {"version": 2}, "picture": "float32"}, SIDE), (SPEC, 2 * SIDE)]
)
def test_pictures_that_were_read_in_another_way_are_refused(path: Path, spec, side: int) -> None:
    with pytest.raises(FileFormatError, match=r"another way|another type or shape"):
        PictureFile(path, spec, side)


@pytest.mark.parametrize("kind", ["text", "embeddings", "linked"])
def test_a_file_of_another_kind_is_refused(path: Path, kind: str) -> None:
    if kind == "text":
        path.write_text("no HDF5 file")
    elif kind == "embeddings":
        with h5py.File(path, "w", libver="earliest") as file:
            file.attrs["format"] = "cxrfeat-embeddings"
    else:
        with h5py.File(path, "r+") as file:
            del file["picture"]
            file["picture"] = h5py.ExternalLink("other.h5", "/picture")
    with pytest.raises(FileFormatError, match="delete it"):
        opened(path)


def test_a_damaged_row_that_is_given_back_is_filled_again(path: Path) -> None:
    add(path, 5)
    with h5py.File(path, "r+") as file:
        file["picture"][2, 0, 0] = 9.0
    assert sound_rows(path) == [0, 1, 3, 4]
    file = PictureFile(path, SPEC, SIDE)
    file.forget(np.array([2]))
    file = PictureFile(path, SPEC, SIDE)
    file.append(*some(range(2, 3)))
    assert sound_rows(path) == [0, 1, 2, 3, 4]


def test_no_room_for_a_new_file_leaves_none(tmp_path: Path) -> None:
    with file_size_limit(10_000), pytest.raises(StorageError, match="no room"):
        make_picture_file(tmp_path / "new.h5", SPEC, SIDE, ROWS)
    assert not list(tmp_path.iterdir())


def test_a_disk_that_fills_up_keeps_what_is_there(path: Path) -> None:
    add(path, 10)
    with h5py.File(path) as there:
        end_of_ten = there["picture"].id.get_offset() + 10 * SIDE * SIDE * 4
    file = PictureFile(path, SPEC, SIDE)
    with file_size_limit(end_of_ten + 100), pytest.raises(StorageError, match="no room"):
        file.append(*some(range(10, 40)))
    assert sound_rows(path)[:10] == list(range(10))
    add(path, ROWS - 10 - len(sound_rows(path)[10:]))
    assert {*sound_rows(path)} == {*range(ROWS)}


def test_what_is_read_was_written_together(path: Path) -> None:
    """The bytes of another row, in place of those of this one, are damage, too."""
    add(path, 4)
    with h5py.File(path, "r+") as file:
        file["image"][1] = file["image"][0]
        file["picture"][3] = file["picture"][2]
    assert sound_rows(path) == [0, 2]
