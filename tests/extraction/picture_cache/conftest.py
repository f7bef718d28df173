"""A folder of pictures, and what is decoded of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cxrfeat import images
from cxrfeat.images import ReadingOptions
from tests.extraction.picture_cache.made import draw


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten pictures, one of them in colour, and one broken file."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(10):
        draw(folder / f"{number}.bmp", number, "RGB" if number == 4 else "L")
    (folder / "broken.bmp").write_bytes((folder / "0.bmp").read_bytes()[:500])
    return folder


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What is decoded, as it is."""
    seen: list[bytes] = []
    original = images.read_image

    def counting(data: bytes, *, options: ReadingOptions) -> images.Radiograph:
        seen.append(data)
        return original(data, options=options)

    monkeypatch.setattr(images, "read_image", counting)
    return seen
