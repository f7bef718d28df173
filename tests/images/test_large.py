"""Large pictures are scaled while they are read, within the tolerance that is documented."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from cxrfeat.images import read_image, resize
from cxrfeat.images.drawing.phantom import Anatomy, draw_phantom

# docs/images.md states these, against decoding every pixel and resizing in floats.
MEAN_TOLERANCE, LARGEST_TOLERANCE = 0.001, 0.01


@pytest.fixture(scope="module")
def large() -> np.ndarray:
    rng = np.random.default_rng(0)
    phantom = draw_phantom(Anatomy.random(rng), "diffuse_opacity", rng, 500)
    grey = Image.fromarray(np.round(phantom * 255).astype(np.uint8)).resize((2600, 2200))
    noise = rng.integers(-4, 5, (2200, 2600))
    return np.clip(np.asarray(grey).astype(np.int16) + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_scaled_reading_is_within_the_stated_tolerance(
    large: np.ndarray, format: str, mode: str
) -> None:
    buffer = io.BytesIO()
    options = {"quality": 90} if format == "JPEG" else {"compress_level": 1}
    Image.fromarray(large).convert(mode).save(buffer, format, **options)
    radiograph = read_image(buffer.getvalue())
    assert (radiograph.height, radiograph.width) == large.shape
    assert radiograph.pixels.shape == (1100, 1300)
    full = np.asarray(Image.open(buffer).convert("L"), dtype=np.float32) / np.float32(255)
    for size in (224, 300, 512):
        apart = np.abs(resize(radiograph.pixels, size) - resize(full, size))
        assert apart.mean() < MEAN_TOLERANCE
        assert apart.max() < LARGEST_TOLERANCE


def test_pictures_of_usual_size_are_read_whole() -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((2047, 2100), np.uint8)).save(buffer, "JPEG")
    assert read_image(buffer.getvalue()).pixels.shape == (2047, 2100)
