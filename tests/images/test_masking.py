"""Masked pictures hold nothing of their centre, and a mark lies where it is said to."""

import numpy as np
import pytest

from cxrfeat.evidence import OUTSIDE_AREA
from cxrfeat.images import resize
from cxrfeat.images.masking import (
    CENTRE_MASKED,
    MARGINS,
    MARK_AWAY,
    MARK_SHARE,
    MARK_SIDE,
    OUTER_FRAME,
    masked,
    outside,
    with_corner_mark,
)


@pytest.mark.parametrize("mask", [OUTER_FRAME, CENTRE_MASKED])
@pytest.mark.parametrize("shape", [(640, 640), (517, 803), (224, 224), (90, 61)])
@pytest.mark.parametrize("size", [224, 32])
def test_what_is_left_is_the_same_whatever_the_centre_was(
    mask: str, shape: tuple[int, int], size: int
) -> None:
    random = np.random.default_rng(0)
    picture = random.random(shape).astype(np.float32)
    other = picture.copy()
    low, high = MARGINS[mask], 1 - MARGINS[mask]
    inside = tuple(slice(int(np.floor(low * side)), int(np.ceil(high * side))) for side in shape)
    other[inside] = random.random(other[inside].shape)
    one, two = (masked(resize(p, size), mask, shape) for p in (picture, other))
    assert np.array_equal(one, two)
    assert np.ptp(one) > 0.1  # the frame is there
    assert not np.array_equal(resize(picture, size), resize(other, size))


def test_the_outer_frame_is_nearly_all_that_explain_calls_outside() -> None:
    assert OUTSIDE_AREA - 0.03 < outside(224, MARGINS[OUTER_FRAME]).mean() <= OUTSIDE_AREA


def test_a_corner_mark_is_white_in_the_upper_left_corner_and_nowhere_else() -> None:
    picture = np.zeros((500, 400), np.float32)
    marked = with_corner_mark(picture)
    rows, columns = np.nonzero(marked)
    assert rows.max() < (MARK_AWAY + MARK_SIDE) * 500
    assert columns.max() < (MARK_AWAY + MARK_SIDE) * 400
    assert rows.min() == MARK_AWAY * 500
    assert columns.min() == MARK_AWAY * 400
    assert marked.mean() == pytest.approx(MARK_SHARE, rel=0.01)
    assert not picture.any()
