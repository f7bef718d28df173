"""Ids of another program mean the images that tables would mean by them, or their bytes."""

from __future__ import annotations

import pytest

from cxrfeat.errors import InputError
from cxrfeat.interchange import KnownImages, match

KNOWN = KnownImages(
    ["train/a/1.png", "train/b/2.png", "val/b/2.png", "val/b/3.jpg"],
    ["1" * 64, "2" * 64, "2" * 64, ""],
)


@pytest.mark.parametrize(
    ("ids", "places"),
    [
        (["val/b/3.jpg", "train/a/1.png"], [3, 0]),
        (["3", "1"], [3, 0]),
        (["1.png", "train/b/2"], [0, 1]),
        (["/data/cxr/train/b/2.png", "/data/cxr/val/b/3.jpg"], [1, 3]),
        (["1" * 64], [0]),
    ],
)
def test_rows_are_matched(ids: list[str], places: list[int]) -> None:
    found = match(ids, [], KNOWN, "x")
    assert (found.places, found.unknown) == (places, [])
    assert found.lacking == [n for i, n in enumerate(KNOWN.ids) if i not in places]


def test_what_does_not_match_is_listed() -> None:
    found = match(["1", "nowhere", "4.png"], [], KNOWN, "x")
    assert (found.rows, found.places, found.unknown) == ([0], [0], ["nowhere", "4.png"])
    assert found.lacking == KNOWN.ids[1:]


def test_the_bytes_of_an_image_decide_where_they_are_known() -> None:
    assert match(["any name"], ["1" * 64], KNOWN, "x").places == [0]
    assert match(["val/b/2.png"], ["2" * 64], KNOWN, "x").places == [2]


@pytest.mark.parametrize(
    ("ids", "sha256", "message"),
    [
        (["2"], [], "'2' could be 'train/b/2.png' or 'val/b/2.png': use paths, or the sha256"),
        (["1", "train/a/1.png"], [], "'1' and 'train/a/1.png' are both of the image"),
        (["copy"], ["2" * 64], "'copy' could be 'train/b/2.png' or 'val/b/2.png', whose bytes"),
        (["x", "y"], [], "none of its 2 ids is an image"),
    ],
)
def test_what_could_be_several_images_is_refused(
    ids: list[str], sha256: list[str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        match(ids, sha256, KNOWN, "x")
