"""Turned, inverted, cropped and bordered pictures are told from the others."""

import numpy as np
import pytest

from cxrfeat.images import resize
from cxrfeat.images.checks import (
    WIDE_BORDER,
    border_share,
    cropped_against_the_rest,
    inverted_against_the_rest,
    turned_against_the_rest,
)
from cxrfeat.images.drawing.phantom import CLASSES, Anatomy, draw_phantom


@pytest.fixture(scope="module")
def phantoms() -> np.ndarray:
    drawn = []
    for number in range(30):
        random = np.random.default_rng(number)
        drawn.append(draw_phantom(Anatomy.random(random), CLASSES[number % 3], random, 96))
    return np.stack(drawn)


def small(pictures: np.ndarray) -> np.ndarray:
    return np.stack([resize(picture, 32) for picture in pictures])


def test_nothing_is_said_of_sound_pictures(phantoms: np.ndarray) -> None:
    seen = small(phantoms)
    assert not turned_against_the_rest(seen).any()
    assert not inverted_against_the_rest(seen).any()
    assert not cropped_against_the_rest(seen).any()


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_turned_picture_is_told_with_the_turn_that_makes_it_upright(
    phantoms: np.ndarray, quarters: int
) -> None:
    seen = small(phantoms)
    seen[4] = np.rot90(seen[4], quarters)  # against the clock
    turns = turned_against_the_rest(seen)
    assert turns[4] == 90 * quarters
    assert not np.delete(turns, 4).any()


def test_a_negative_is_inverted_and_not_turned(phantoms: np.ndarray) -> None:
    seen = small(phantoms)
    seen[7] = 1 - seen[7]
    assert np.flatnonzero(inverted_against_the_rest(seen)).tolist() == [7]
    assert not turned_against_the_rest(seen).any()


def test_a_corner_of_a_picture_is_told_from_the_whole(phantoms: np.ndarray) -> None:
    seen = small(phantoms)
    seen[9] = resize(phantoms[9][:67, :67], 32)
    assert np.flatnonzero(cropped_against_the_rest(seen)).tolist() == [9]


def test_few_pictures_are_not_compared(phantoms: np.ndarray) -> None:
    few = small(phantoms[:7])
    few[0] = np.rot90(few[0])
    assert not turned_against_the_rest(few).any()
    assert not cropped_against_the_rest(few).any()


@pytest.mark.parametrize("grey", [0.0, 0.4, 1.0])
def test_the_share_of_a_border_is_that_of_its_area(grey: float) -> None:
    picture = np.random.default_rng(0).random((80, 60)).astype(np.float32)
    assert border_share(picture) == 0
    bordered = np.pad(picture, ((10, 10), (0, 20)), constant_values=np.float32(grey))
    assert border_share(bordered) == pytest.approx(1 - 80 * 60 / (100 * 80))
    assert border_share(bordered) > WIDE_BORDER
    assert border_share(np.full((5, 5), grey, np.float32)) == 1


def beside(start: np.ndarray) -> np.ndarray:
    """Grey values that begin in each row at some place, black before."""
    grey = np.random.default_rng(0).uniform(0.2, 1, (len(start), 100)).astype(np.float32)
    return np.where(np.arange(100) >= start[:, None], grey, np.float32(0))


def test_black_beside_a_body_is_no_border() -> None:
    body = 8 + 12 * np.sin(np.linspace(0, np.pi, 90))
    assert border_share(beside(body)) == 0


def test_a_border_that_is_a_little_askew_is_one() -> None:
    askew = beside(8 + 0.06 * np.arange(90))
    askew[40:50, :20] = 0  # as dark as the border
    assert border_share(askew) == pytest.approx(0.08)
