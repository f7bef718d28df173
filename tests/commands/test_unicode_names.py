"""A name written in the Unicode form of another system is the same image, from file to page."""

from pathlib import Path
from unicodedata import normalize

import numpy as np
import pytest
from PIL import Image

import cxrfeat
from cxrfeat.reporting.thumbnails import find_folders, thumbnails

SMALL = {"backbone": ["squeezenet1_1"], "weights": ["random"], "image_size": 64, "device": "cpu"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images as an archive of a Mac leaves them, accents apart from their letters."""
    rng = np.random.default_rng(0)
    for name in ("Köln/Ärzte.png", "Bonn/1.png"):
        path = tmp_path / "images" / normalize("NFD", name)
        path.parent.mkdir(parents=True)
        Image.fromarray(rng.integers(0, 256, (70, 70), np.uint8)).save(path)
    return tmp_path / "images"


def test_images_keep_their_rows_in_either_form(folder: Path, tmp_path: Path) -> None:
    first = cxrfeat.extract(folder, out=tmp_path / "e", runtime="torch", **SMALL)
    with cxrfeat.load(first.files[0].path) as embeddings:
        assert embeddings.ids == ["Bonn/1.png", normalize("NFC", "Köln/Ärzte.png")]
        assert embeddings.classes == ["Bonn", normalize("NFC", "Köln")]
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rename(path.with_name(normalize("NFC", path.name)))
    again = cxrfeat.extract(folder, out=tmp_path / "e", runtime="torch", **SMALL)
    assert (again.read, again.files[0].reused, again.files[0].rows) == (0, 2, 2)


def test_thumbnails_are_found_in_either_form(folder: Path, tmp_path: Path) -> None:
    done = cxrfeat.extract(folder, out=tmp_path / "e", runtime="torch", **SMALL)
    with cxrfeat.load(done.files[0].path) as embeddings:
        ids, sha256 = embeddings.ids, dict(zip(embeddings.ids, embeddings.sha256, strict=True))
    assert folder.resolve() in find_folders(ids[1:], [done.files[0].path])
    jpegs, notes = thumbnails(ids, [0, 1], [folder], sha256)
    assert (sorted(jpegs), notes) == ([0, 1], [])
