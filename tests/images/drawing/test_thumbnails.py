from __future__ import annotations

import io

import numpy as np
from PIL import Image

from cxrfeat.images.drawing import phantom
from cxrfeat.images.drawing.thumbnails import SIDE, thumbnail


def test_a_thumbnail_is_the_whole_radiograph_small_and_without_metadata() -> None:
    rng = np.random.default_rng(0)
    pixels = phantom.draw_phantom(phantom.Anatomy.random(rng), "clear", rng, 512)
    data = thumbnail(pixels)
    with Image.open(io.BytesIO(data)) as picture:
        assert (picture.format, picture.mode, picture.size) == ("JPEG", "L", (SIDE, SIDE))
        assert not picture.getexif()
        assert "comment" not in picture.info
        small = np.asarray(picture, dtype=float) / 255
    assert abs(small.mean() - pixels.mean()) < 0.01
    assert len(data) < 9_000


def test_a_wide_picture_keeps_both_edges() -> None:
    pixels = np.zeros((100, 300), dtype=np.float32)
    pixels[:, :30], pixels[:, -30:] = 1.0, 0.5
    with Image.open(io.BytesIO(thumbnail(pixels, side=60))) as picture:
        small = np.asarray(picture) / 255
    assert small[:, 1].mean() > 0.9
    assert 0.4 < small[:, -2].mean() < 0.6
