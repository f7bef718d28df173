"""Fixtures that more than one part of the tests needs."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared"


def _shared(part: str) -> Path:
    path = SHARED / part
    if not path.exists():
        pytest.skip(f"needs the real files of ../shared/{part}, which are not part of the project")
    return path


@pytest.fixture(scope="session", autouse=True)
def _conversions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Converted networks are made anew for the tests, once for all their processes."""
    root = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        root = root.parent
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXRFEAT_CACHE", str(root / "cxrfeat-cache"))
        yield


@pytest.fixture(scope="session")
def radiographs() -> Path:
    """317 real radiographs: covid19-317."""
    return _shared("data/covid19-317")


@pytest.fixture(scope="session")
def vgg16_weights() -> Path:
    """Real VGG16 convolution weights with their sidecar."""
    return _shared("weights/vgg16-imagenet-features.safetensors")


@pytest.fixture
def real_dicom(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of real DICOM files from pydicom's public test data, with a key for patients."""
    monkeypatch.setenv("CXRFEAT_PATIENT_KEY", "a key for tests only")
    return _shared("data/dicom")
