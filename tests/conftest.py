"""Fixtures that more than one part of the tests needs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxrfeat.commands.fit import fit
from cxrfeat.images.drawing import phantom
from cxrfeat.results import FitResult
from cxrfeat.tables import read_table
from tests.evaluation.made import write_file
from tests.pages.made import hashes, pixels_as_embeddings

SHARED = Path(__file__).parents[2] / "shared"


def _shared(part: str) -> Path:
    path = SHARED / part
    if not path.exists():
        why = f"needs the real files of ../shared/{part}, which are not part of the project"
        if os.environ.get("REQUIRE_SHARED"):
            pytest.fail(why)
        pytest.skip(why)
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


@pytest.fixture(scope="session")
def run_with_pictures(tmp_path_factory: pytest.TempPathFactory) -> FitResult:
    """60 synthetic radiographs of 30 synthetic patients from two sources, with a control."""
    home = tmp_path_factory.mktemp("with-pictures")
    table = read_table(phantom.write_phantoms(home / "images", patients=30, size=96))
    ids, names = table["path"], list(phantom.CLASSES)
    y = np.array([names.index(label) for label in table["label"]])
    meta = {
        "group": [f"PATIENT-{name}" for name in table["patient"]],
        "source": ["St Elsewhere" if i % 3 else "County General" for i in range(len(ids))],
    }
    (home / "embeddings").mkdir()
    X = pixels_as_embeddings(home / "images", ids)
    noise = np.random.default_rng(0).normal(size=(len(ids), 8)).astype(np.float32)
    common: dict[str, Any] = {
        "ids": ids, "classes": names, "meta": meta, "sha": hashes(home / "images", ids),
    }  # fmt: skip
    write_file(home / "embeddings" / "pixels.h5", X, y, **common)
    write_file(home / "embeddings" / "blind.h5", noise, y, weights="random-seed-0", **common)
    return fit(
        home / "embeddings", head=["logreg", "lda", "dummy"], out=home / "runs" / "ward-7",
        learning_curve=True, seed=3, groups="group",  # patients were in both sources
    )  # fmt: skip


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium of the system; nothing is downloaded."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        why = "needs the browser chromium: `make browser` installs it (as root, on Debian)"
        if os.environ.get("REQUIRE_BROWSER"):
            pytest.fail(why)
        pytest.skip(why)
    from playwright.sync_api import sync_playwright

    quiet = (
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    )
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=list(quiet))
        yield launched
        launched.close()
