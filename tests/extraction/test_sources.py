"""Image sources: what a file says of itself."""

from __future__ import annotations

import hashlib
import os
import pickle
from pathlib import Path

import pytest

from cxrfeat.errors import ImageError
from cxrfeat.extraction.sources import FileSource, Stamp

LIMIT = 1000


def test_a_file_has_a_stamp_bytes_and_their_sha256_in_another_process_too(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"pixels")
    os.utime(path, ns=(5, 7_000_000_000))
    for source in (FileSource("a.png", path), pickle.loads(pickle.dumps(FileSource("", path)))):
        assert source.stamp() == Stamp(6, 7_000_000_000)
        assert source.read(LIMIT) == b"pixels"
        assert source.sha256() == hashlib.sha256(b"pixels").hexdigest()


@pytest.mark.parametrize(
    ("name", "code"), [("gone", "missing"), ("folder", "not_a_file"), ("a\0b", "unreadable")]
)
def test_what_cannot_be_read_has_a_code_and_no_sha256(tmp_path: Path, name: str, code: str) -> None:
    (tmp_path / "folder").mkdir()
    source = FileSource(name, tmp_path / name)
    with pytest.raises(ImageError) as caught:
        source.read(LIMIT)
    assert caught.value.code == code
    assert source.sha256() == ""
    assert (source.stamp() is None) == (name != "folder")


def test_a_file_beyond_the_limit_is_not_read_but_known_by_its_sha256(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(bytes(LIMIT + 1))
    with pytest.raises(ImageError) as caught:
        FileSource("large.png", path).read(LIMIT)
    assert caught.value.code == "too_large"
    assert FileSource("large.png", path).sha256() == hashlib.sha256(bytes(LIMIT + 1)).hexdigest()
