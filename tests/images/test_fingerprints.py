"""A digest tells pixels, a hash what a picture looks like, and altered copies are copies."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from cxrfeat.arrays import Picture
from cxrfeat.errors import UnknownNameError
from cxrfeat.images.altered_copies import KINDS, altered_copy
from cxrfeat.images.fingerprints import fingerprint, pixel_digest


def picture(seed: int, side: int = 96) -> Picture:
    grey = gaussian_filter(np.random.default_rng(seed).normal(size=(side, side)), side / 12)
    grey -= grey.min()
    return (grey / grey.max() * 0.6 + 0.2).astype(np.float32)


def bits(one: Picture, other: Picture) -> int:
    return (fingerprint(one).hash ^ fingerprint(other).hash).bit_count()


def test_the_digest_is_that_of_the_pixels_and_their_shape() -> None:
    one = picture(0)
    assert pixel_digest(one) == pixel_digest(one.copy(order="F"))
    changed = one.copy()
    changed[5, 7] += 1 / 255
    assert pixel_digest(changed) != pixel_digest(one)
    assert pixel_digest(one.reshape(48, 192)) != pixel_digest(one)


@pytest.mark.parametrize("kind", ["encoded again as JPEG", "with another contrast", "resized"])
def test_the_hash_hardly_moves_under_what_leaves_the_look_of_a_picture(kind: str) -> None:
    moved = [bits(picture(seed), altered_copy(picture(seed), kind, seed)) for seed in range(20)]
    apart = [bits(picture(seed), picture(seed + 1)) for seed in range(20)]
    assert np.median(moved) <= 2
    assert max(moved) < min(apart)


def test_brightness_and_contrast_leave_the_hash_as_it_is() -> None:
    one = picture(3)
    assert bits(one * np.float32(0.7) + np.float32(0.1), one) == 0


@pytest.mark.parametrize("grey", [0.0, 0.5, 1.0])
def test_blank_pictures_have_one_hash(grey: float) -> None:
    assert fingerprint(np.full((40, 50), grey, dtype=np.float32)).hash == 0


def test_the_small_picture_keeps_the_grey_values() -> None:
    small = fingerprint(picture(0)).small
    assert small.shape == (32, 32)
    assert small.mean() / 255 == pytest.approx(picture(0).mean(), abs=0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_is_altered_within_bounds_and_the_same_for_the_same_seed(kind: str) -> None:
    one = picture(1)
    copies = [altered_copy(one, kind, seed) for seed in (5, 5, 6)]
    assert copies[0].dtype == np.float32
    assert copies[0].min() >= 0
    assert copies[0].max() <= 1
    np.testing.assert_array_equal(copies[0], copies[1])
    assert not np.array_equal(copies[0], one)
    if kind != "mirrored":
        assert not np.array_equal(copies[0], copies[2])


def test_a_crop_takes_a_tenth_at_most() -> None:
    for seed in range(20):
        height, width = altered_copy(picture(0), "cropped", seed).shape
        assert 0.9 * 96 - 1 <= height < 96
        assert 0.9 * 96 - 1 <= width < 96


def test_a_kind_that_there_is_not_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="mirrored"):
        altered_copy(picture(0), "mirored", 0)
