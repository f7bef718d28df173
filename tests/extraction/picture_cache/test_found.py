"""Kept pictures are found for the images that they are of, and for no others."""

from __future__ import annotations

import os
import shutil
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxrfeat import images
from cxrfeat.framing import Framing
from tests.extraction.picture_cache.made import (
    NETWORKS,
    READING,
    Copying,
    assert_same,
    computed,
    draw,
    wait_for_another_time,
    with_cache,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


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
