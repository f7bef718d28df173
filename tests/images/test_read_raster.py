"""Every raster format comes out as one grey picture in [0, 1], or as a coded failure."""

from __future__ import annotations

import hashlib
import io
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrfeat.errors import ImageError
from cxrfeat.images import ReadingOptions, read_image, resize

RAMP = np.linspace(0, 255, 64 * 48).astype(np.uint8).reshape(48, 64)


def encode(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("PNG", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("BMP", {}),
        ("WebP", {"lossless": True}),
        ("JPEG", {"quality": 100}),
    ],
)
def test_a_grey_picture_reads_the_same_from_every_format(format: str, options: dict) -> None:
    radiograph = read_image(encode(Image.fromarray(RAMP), format, **options))
    assert radiograph.format == format
    assert radiograph.pixels.dtype == np.float32
    tolerance = 2 / 255 if format == "JPEG" else 1e-6
    np.testing.assert_allclose(radiograph.pixels, RAMP / 255, atol=tolerance)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "LA"])
def test_grey_stored_as_colour_reads_as_the_same_grey(mode: str) -> None:
    radiograph = read_image(encode(Image.fromarray(RAMP).convert(mode), "PNG"))
    np.testing.assert_allclose(radiograph.pixels, RAMP / 255, atol=1.1 / 255)
    assert not radiograph.warnings


def test_cmyk_reads_as_the_same_grey() -> None:
    cmyk = Image.fromarray(RAMP).convert("RGB").convert("CMYK")
    radiograph = read_image(encode(cmyk, "TIFF"))
    np.testing.assert_allclose(radiograph.pixels, RAMP / 255, atol=2 / 255)


def test_transparent_pixels_are_black() -> None:
    rgba = np.full((8, 8, 4), 255, dtype=np.uint8)
    rgba[:4, :, 3] = 0
    pixels = read_image(encode(Image.fromarray(rgba), "PNG")).pixels
    assert pixels[:4].max() == 0.0
    assert pixels[4:].min() == 1.0


def test_a_real_colour_picture_is_read_with_a_warning() -> None:
    red = Image.new("RGB", (16, 16), (200, 10, 10))
    assert read_image(encode(red, "PNG")).warnings == ("colour picture",)


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_a_deep_ramp_keeps_its_levels(format: str, bits: int) -> None:
    ramp = np.arange(2**bits, dtype=np.uint16).reshape(-1, 64)
    radiograph = read_image(encode(Image.fromarray(ramp), format))
    assert radiograph.bits == bits
    assert len(np.unique(radiograph.pixels)) == 2**bits
    assert (radiograph.pixels.min(), radiograph.pixels.max()) == (0.0, 1.0)


@pytest.mark.parametrize("array", [RAMP, RAMP.astype(np.uint16) * 257])
def test_a_tiff_that_counts_down_from_white_comes_out_bone_bright(array: np.ndarray) -> None:
    inverted = Image.fromarray(np.iinfo(array.dtype).max - array)
    data = encode(inverted, "TIFF", tiffinfo={262: 0})
    if inverted.mode == "L":  # Pillow inverts on writing as well
        data = encode(Image.fromarray(array), "TIFF", tiffinfo={262: 0})
    np.testing.assert_allclose(read_image(data).pixels, RAMP / 255, atol=1e-6)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    turns = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: np.transpose,
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(a.T, 2),
        8: lambda a: np.rot90(a, -1),
    }
    stored = np.ascontiguousarray(turns[orientation](RAMP))
    data = encode(Image.fromarray(stored), "PNG", exif=exif)
    np.testing.assert_allclose(read_image(data).pixels, RAMP / 255, atol=1e-6)


def test_the_hash_is_of_the_files_bytes(tmp_path: Path) -> None:
    data = encode(Image.fromarray(RAMP), "PNG")
    (tmp_path / "x.jpg").write_bytes(data)
    radiograph = read_image(tmp_path / "x.jpg")
    assert radiograph.format == "PNG"
    assert radiograph.sha256 == hashlib.sha256(data).hexdigest()
    assert radiograph.size_bytes == len(data)
    assert "Pillow" in radiograph.decoder


def failure(source: Path | bytes, **options: object) -> str:
    with pytest.raises(ImageError) as caught:
        read_image(source, **options)
    assert "\n" not in str(caught.value)
    return caught.value.code


@pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP", "WebP", "JPEG"])
def test_a_truncated_picture_is_a_failure_and_never_a_grey_half(format: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
    data = encode(Image.fromarray(noise), format)
    for part in (0.3, 0.6, 0.9):
        assert failure(data[: int(len(data) * part)]) in ("truncated", "damaged")


def test_a_broken_download_filled_up_with_zeros_is_truncated() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
    data = encode(Image.fromarray(noise), "JPEG")
    for part in (0.4, 0.7, 0.95):
        kept = int(len(data) * part)
        assert failure(data[:kept] + bytes(len(data) - kept)) == "truncated"


def test_bytes_after_the_end_of_a_jpeg_are_allowed() -> None:
    data = encode(Image.fromarray(RAMP), "JPEG", quality=100)
    read_image(data + b"\0 and a camera's notes")


def test_what_is_no_file_is_a_failure_with_its_own_code(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    assert failure(tmp_path / "pipe.png") == "not_a_file"
    assert failure(tmp_path / "folder.png") == "not_a_file"
    assert failure(tmp_path / "absent.png") == "missing"
    assert failure(Path("\0.png")) == "unreadable"
    with socket.socket(socket.AF_UNIX) as listener:
        previous = Path.cwd()
        os.chdir(tmp_path)  # the path of a socket may only be short
        try:
            listener.bind("socket.png")
        finally:
            os.chdir(previous)
        assert failure(tmp_path / "socket.png") == "not_a_file"


def test_empty_and_unknown_contents_are_failures_with_their_own_codes() -> None:
    assert failure(b"") == "empty"
    assert failure(b"hello, this is text") == "unrecognised"


def test_a_large_picture_is_refused_before_it_is_decoded() -> None:
    bomb = encode(Image.new("1", (9_000, 9_000)), "PNG")
    assert failure(bomb) == "too_large"
    assert failure(bomb, options=ReadingOptions(max_bytes=100)) == "too_large"


def test_several_pages_are_refused() -> None:
    page = Image.fromarray(RAMP)
    assert failure(encode(page, "TIFF", save_all=True, append_images=[page])) == "multi_frame"


def test_threads_read_the_same_as_one_after_the_other() -> None:
    files = [encode(Image.fromarray(np.roll(RAMP, i)), "PNG") for i in range(40)]
    with ThreadPoolExecutor(8) as pool:
        for i, radiograph in enumerate(pool.map(read_image, files)):
            np.testing.assert_array_equal(radiograph.pixels, np.roll(RAMP, i) / np.float32(255))


def test_resizing_keeps_the_whole_picture_and_the_range() -> None:
    pixels = np.zeros((40, 80), dtype=np.float32)
    pixels[:, 40:] = 1.0
    small = resize(pixels, 10)
    assert small.shape == (10, 10)
    assert small.dtype == np.float32
    np.testing.assert_array_equal(small[:, :4], 0.0)
    np.testing.assert_array_equal(small[:, 6:], 1.0)


def test_resizing_down_averages_instead_of_skipping() -> None:
    checks = (np.indices((256, 256)).sum(axis=0) % 2).astype(np.float32)
    np.testing.assert_allclose(resize(checks, 16), 0.5, atol=0.02)
