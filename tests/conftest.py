"""Fixtures that more than one part of the tests needs."""

from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared"


def _shared(part: str) -> Path:
    path = SHARED / part
    if not path.exists():
        pytest.skip(f"needs the real files of ../shared/{part}, which are not part of the project")
    return path


@pytest.fixture(scope="session")
def radiographs() -> Path:
    """317 real radiographs: covid19-317."""
    return _shared("data/covid19-317")


@pytest.fixture(scope="session")
def vgg16_weights() -> Path:
    """Real VGG16 convolution weights with their sidecar."""
    return _shared("weights/vgg16-imagenet-features.safetensors")
