"""A thousand damaged files among good ones: each recorded with a code, nothing else lost."""

from __future__ import annotations

import os
import random
import resource
import socket
import struct
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import cxrfeat
from cxrfeat.tables import read_table
from tests.benchmark import benchmark

SMALL = {"backbone": ["squeezenet1_1"], "weights": ["random"], "image_size": 64, "device": "cpu"}
CODES = {
    *("missing", "unreadable", "not_a_file", "empty", "unrecognised", "too_large", "truncated"),
    *("damaged", "multi_frame", "modality", "colour", "no_pixels", "unsupported", "depth"),
    "decoder_missing",
}
DAMAGED = 1_000
damage = benchmark("damaged")


def png_bomb() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(60_000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def jpeg_bomb() -> bytes:
    data = bytearray(damage.phantom(9, "JPEG"))
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = struct.pack(">HH", 60_000, 60_000)
    return bytes(data)


def bmp_bomb() -> bytes:
    data = bytearray(damage.phantom(9, "BMP"))
    data[18:26] = struct.pack("<ii", 60_000, 60_000)
    return bytes(data)


def tiff_bomb() -> bytes:
    return (
        damage.phantom(9, "TIFF")
        .replace(struct.pack("<HHIHH", 256, 3, 1, 96, 0), b"")
        .replace(struct.pack("<HHII", 256, 4, 1, 96), struct.pack("<HHII", 256, 4, 1, 60_000))
        .replace(struct.pack("<HHII", 257, 4, 1, 96), struct.pack("<HHII", 257, 4, 1, 60_000))
    )


def put_special_files(folder: Path) -> dict[str, str]:
    """Put what is no ordinary image into `folder`; return the expected code of each."""
    os.mkfifo(folder / "pipe.png")
    (folder / "folder.png").mkdir()
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.png").write_text("this is no picture")
    (folder / "bomb.png").write_bytes(png_bomb())
    (folder / "bomb.jpg").write_bytes(jpeg_bomb())
    (folder / "bomb.bmp").write_bytes(bmp_bomb())
    (folder / "dangling.png").symlink_to(folder / "nowhere.png")
    (folder / "new\nline.png").write_bytes(b"x")
    Path(os.fsdecode(os.fsencode(folder) + b"/latin\xe9.png")).write_bytes(b"x")
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(folder)  # the path of a socket may only be short
        try:
            listener.bind("socket.png")
        finally:
            os.chdir(here)
    expected = {
        "pipe.png": "not_a_file",
        "folder.png": "not_a_file",
        "socket.png": "not_a_file",
        "empty.jpg": "empty",
        "text.png": "unrecognised",
        "bomb.png": "too_large",
        "bomb.jpg": "too_large",
        "bomb.bmp": "too_large",
        "dangling.png": "missing",
        "new\nline.png": "unrecognised",
        "latin\\xe9.png": "unrecognised",
    }
    if os.geteuid() != 0:  # root reads everything
        (folder / "closed.png").write_bytes(damage.phantom(0, "PNG"))
        (folder / "closed.png").chmod(0)
        expected["closed.png"] = "unreadable"
    return expected


def optional(request: pytest.FixtureRequest, name: str) -> Path | None:
    folder = Path(request.config.rootpath).parent / "shared" / "data" / name
    return folder if folder.is_dir() else None


def test_a_thousand_damaged_files_cost_no_good_one(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    expected = put_special_files(folder)
    rng = random.Random(4)
    dicom = optional(request, "dicom")
    originals = damage.originals(
        optional(request, "covid19-317"), None if dicom is None else dicom / "RG3_J2KI.dcm"
    )
    kinds: dict[str, tuple[str, bool]] = {}
    for number in range(DAMAGED - len(expected)):
        how = damage.KINDS[number % 4]
        original = originals[number // 4 % len(originals)]
        name = f"d{number:04d}.{('png', 'jpg', 'dcm', 'tif')[number % 3]}"
        (folder / name).write_bytes(damage.damaged(original, how, rng))
        png, jpeg = original.startswith(b"\x89PNG"), original.startswith(b"\xff\xd8")
        kinds[name] = (how, png or how == "cut" or (jpeg and how == "zeros"))
    for number in range(12):
        (folder / f"good{number}.png").write_bytes(damage.phantom(100 + number, "PNG"))

    result = cxrfeat.extract(folder, out=tmp_path / "e", **SMALL)

    codes = {failure.id: failure.code for failure in result.failures}
    assert set(codes.values()) <= CODES
    assert {name: codes[name] for name in expected} == expected
    for name, (how, shows) in kinds.items():
        # JPEG, TIFF, BMP and JPEG 2000 carry no check sums: a flipped bit may be just noise.
        if shows:
            assert name in codes, f"{name}: {how} was read as if it were whole"
    with cxrfeat.load(result.files[0].path) as embeddings:
        assert len(embeddings) == DAMAGED + 12
        status = dict(zip(embeddings.ids, embeddings.status.tolist(), strict=True))
        assert Counter(status.values()) == {2: len(codes), 1: len(status) - len(codes)}
        good = [name for name in status if name.startswith("good")]
        assert [status[name] for name in good] == [1] * 12
        assert np.isfinite(embeddings.numpy(good)).all()
    assert sorted(read_table(tmp_path / "e" / "failures.csv")["code"]) == sorted(codes.values())


def test_bombs_take_no_memory() -> None:
    from cxrfeat.errors import ImageError
    from cxrfeat.images import read_image

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for bomb in (png_bomb(), jpeg_bomb(), bmp_bomb(), tiff_bomb()):
        with pytest.raises(ImageError, match="60000 x 60000") as caught:
            read_image(bomb)
        assert caught.value.code == "too_large"
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 100 * 1024  # in KiB; one of them alone would be 3,600 MB
