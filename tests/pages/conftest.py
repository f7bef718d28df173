"""A run with pictures, and a browser without network."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxrfeat.commands.fit import fit
from cxrfeat.images import read_image, resize
from cxrfeat.images.drawing import phantom
from cxrfeat.results import FitResult
from cxrfeat.tables import read_table
from tests.evaluation.made import write_file


def pixels_as_embeddings(folder: Path, ids: list[str], side: int = 12) -> np.ndarray:
    """What a very cheap extractor makes of images: themselves, small."""
    small = [resize(read_image(folder / id_).pixels, side).ravel() for id_ in ids]
    return np.stack(small)


def hashes(folder: Path, ids: list[str]) -> dict[str, str]:
    return {id_: hashlib.sha256((folder / id_).read_bytes()).hexdigest() for id_ in ids}


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
