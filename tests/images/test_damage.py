"""Damage that a format can show is a failure, and what is only unusual is read."""

from __future__ import annotations

import io
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrfeat.errors import ImageError
from cxrfeat.images import read_image
from cxrfeat.images.drawing.phantom import Anatomy, draw_phantom


def phantom(size: int = 160) -> Image.Image:
    rng = np.random.default_rng(0)
    pixels = draw_phantom(Anatomy.random(rng), "diffuse_opacity", rng, size)
    noisy = pixels * 255 + rng.normal(0, 3, pixels.shape)
    return Image.fromarray(np.round(noisy).clip(0, 255).astype(np.uint8))


def encode(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def code(data: bytes) -> str:
    """Return the code of the failure, "" where the file is read as a picture."""
    try:
        read_image(data)
    except ImageError as error:
        return error.code
    return ""


JPEGS = {
    "baseline": {},
    "progressive": {"progressive": True},
    "restart markers": {"restart_marker_blocks": 5},
    "own tables": {"optimize": True, "quality": 60},
}


@pytest.mark.parametrize(
    ("kind", "most"),
    # Any bits may refine a progressive picture; the last few bytes of another are not missed.
    [("baseline", 2), ("restart markers", 0), ("own tables", 0), ("progressive", 15)],
)
def test_a_jpeg_that_was_partly_overwritten_with_zeros_is_damage(kind: str, most: int) -> None:
    data = encode(phantom(), "JPEG", **JPEGS[kind])
    scan, end = data.index(b"\xff\xda") + 14, len(data) - 2
    starts = np.linspace(scan, end - 40, 50).astype(int)
    read = [code(data[:at] + bytes(40) + data[at + 40 :]) for at in starts].count("")
    assert read <= most


@pytest.mark.parametrize("kind", ["baseline", "restart markers", "own tables"])
def test_most_jpegs_with_flipped_bits_are_damage(kind: str) -> None:
    data = encode(phantom(), "JPEG", **JPEGS[kind])
    scan, rng = data.rindex(b"\xff\xda") + 14, random.Random(0)
    read = 0
    for _ in range(100):
        changed = bytearray(data)
        for _ in range(20):
            changed[rng.randrange(scan, len(data) - 2)] ^= 1 << rng.randrange(8)
        read += not code(bytes(changed))
    assert read <= 20


@pytest.mark.parametrize(
    ("mode", "size"),
    [
        *((mode, size) for mode in ("L", "RGB", "CMYK") for size in ((1, 1), (5, 7), (333, 257))),
        *(("L", (2050, 2060)), ("RGB", (2050, 2060))),
    ],
)
@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_blocks": 3}]
)
def test_a_whole_jpeg_has_the_pixels_that_pillow_gives_it(
    mode: str, size: tuple[int, int], options: dict
) -> None:
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (-(-size[1] // 16), -(-size[0] // 16), 3), dtype=np.uint8)
    image = Image.fromarray(colours).resize(size).convert(mode)
    data = encode(image, "JPEG", **options)
    ours = read_image(data)
    with Image.open(io.BytesIO(data)) as theirs:
        scale = 2 if max(size) > 2000 else 1
        theirs.draft("L" if mode != "CMYK" else mode, (size[0] // scale, size[1] // scale))
        grey = theirs.convert("RGB").convert("L") if mode == "CMYK" else theirs.copy()
    np.testing.assert_array_equal(ours.pixels, np.asarray(grey, np.float32) / np.float32(255))
    assert ours.decoder.startswith("simplejpeg")


def test_real_radiographs_are_read_to_the_pixels_that_pillow_gives_them(
    radiographs: Path,
) -> None:
    files = sorted(path for path in radiographs.rglob("*") if path.suffix in (".jpg", ".jpeg"))
    for path in files[::12]:
        ours = read_image(path).pixels
        with Image.open(path) as image:
            image.draft("L", image.size)
            theirs = np.asarray(image.convert("L"), np.float32) / np.float32(255)
        np.testing.assert_array_equal(ours, theirs)
    assert len(files) > 300


def test_zeros_that_fill_up_a_jpeg_before_its_end_are_no_damage() -> None:
    data = encode(phantom(), "JPEG")
    padded = data[:-2] + bytes(64) + data[-2:]
    np.testing.assert_array_equal(read_image(padded).pixels, read_image(data).pixels)
    assert code(data[:-2] + b"\1" * 64 + data[-2:]) == "damaged"


def test_a_jpeg_of_unusual_subsampling_is_read_with_a_warning() -> None:
    data = encode(phantom().convert("CMYK"), "JPEG", subsampling=2)
    radiograph = read_image(data)
    assert radiograph.decoder.startswith("Pillow")
    assert radiograph.warnings == ("unusual JPEG subsampling: damage may not be noticed",)


def little(value: int, length: int = 4) -> bytes:
    return value.to_bytes(length, "little")


def test_a_bmp_that_contradicts_itself_is_refused() -> None:
    data = encode(phantom(), "BMP")
    places = {"size": 2, "reserved": 6, "start": 10, "planes": 26, "size of the pixels": 34}
    wrong = {"size": len(data) + 1, "reserved": 7, "start": 50, "planes": 0x0008_0003}
    wrong["size of the pixels"] = 160 * 160 - 1
    for name, place in places.items():
        changed = data[:place] + little(wrong[name]) + data[place + 4 :]
        assert code(changed) == ("truncated" if name == "size" else "damaged"), name
    assert code(data + b"more") == ""


def test_a_webp_whose_chunks_do_not_fill_it_is_refused() -> None:
    data = encode(phantom(), "WebP", quality=90)
    size = int.from_bytes(data[4:8], "little")
    assert code(data[:4] + little(size + 2) + data[8:]) == "damaged"
    assert code(data[:4] + little(size + 6) + data[8:] + b"EXTR" + little(9)[:2]) == "damaged"
    assert code(data + b"more") == ""


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_a_whole_tiff_is_no_damage(compression: str | None) -> None:
    for image in (phantom(), phantom().convert("RGB"), phantom().convert("1")):
        data = encode(image, "TIFF", compression=compression)
        assert code(data) == "", image.mode
    strips = encode(phantom(300), "TIFF", compression=compression, tiffinfo={278: 7})
    assert code(strips) == ""


def test_a_tiff_whose_strips_cannot_be_is_refused() -> None:
    data = encode(phantom(), "TIFF")
    counts = bytes.fromhex("1701 0400 01000000") + little(160 * 160)
    rows = bytes.fromhex("1601 0400 01000000") + little(160)
    assert data.count(counts) == data.count(rows) == 1
    assert code(data.replace(counts, counts[:8] + little(160 * 160 - 1))) == "damaged"
    assert code(data.replace(counts, counts[:8] + little(len(data)))) == "truncated"
    assert code(data.replace(rows, rows[:8] + little(80))) == "damaged"
    assert code(data.replace(counts, counts[:8] + little(0))) == ""  # as if left out


def test_the_check_sum_of_a_deflated_tiff_is_verified() -> None:
    data = encode(phantom(), "TIFF", compression="tiff_adobe_deflate")
    with Image.open(io.BytesIO(data)) as image:
        end = image.tag_v2[273][0] + image.tag_v2[279][0]
    assert code(data[: end - 1] + bytes([data[end - 1] ^ 1]) + data[end:]) == "damaged"
