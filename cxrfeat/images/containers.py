"""What a file says of its own layout, held against what it is.

PNG has check sums. TIFF, BMP and JPEG 2000 have none, so that damage is noticed only where a file
then contradicts itself: sizes, offsets, lengths, codes that cannot be. The decoders of WebP and of
deflated TIFF check these, and the sum of the latter, by themselves.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from typing import Any

from PIL.TiffImagePlugin import TiffImageFile

from cxrfeat.errors import ImageError

_UNCOMPRESSED = 1
_STRIPS = {"offsets": 273, "counts": 279, "tile offsets": 324, "tile counts": 325}
_ROWS_PER_STRIP, _TILE_WIDTH, _TILE_HEIGHT = 278, 322, 323
_WIDTH, _HEIGHT, _BITS, _COMPRESSION = 256, 257, 258, 259
_PHOTOMETRIC, _CHANNELS, _PLANES = 262, 277, 284
_SUBSAMPLED = 6  # YCbCr, whose colours may have fewer samples

_CODESTREAM = b"\xff\x4f\xff\x51"
_IN_PACKETS = re.compile(rb"\xff[\x90-\xff]")  # a code stream never holds these between markers


def check_png(data: bytes) -> None:
    """Check the sum of every chunk, which Pillow does not do for the pixels."""
    place, kind = 8, b""
    while kind != b"IEND":
        length = int.from_bytes(data[place : place + 4])
        end = place + 8 + length
        kind = data[place + 4 : place + 8]
        if end + 4 > len(data):
            raise ImageError("truncated", "the PNG file ends too early")
        if zlib.crc32(memoryview(data)[place + 4 : end]) != int.from_bytes(data[end : end + 4]):
            raise ImageError("damaged", "a part of the PNG file does not match its check sum")
        place = end + 4


def check_bmp(data: bytes) -> None:
    """Check sizes, the place of the pixels, and what is always the same."""
    stated, unused, start, header = (_little(data, at, 4) for at in (2, 6, 10, 14))
    if stated > len(data):
        raise ImageError("truncated", f"{len(data)} bytes, not {stated} as the BMP file states")
    if not 14 + header <= start <= len(data) or unused:
        raise ImageError("damaged", "the header of the BMP file contradicts itself")
    if header < 40:
        return
    width, height = _little(data, 18, 4), abs(int.from_bytes(data[22:26], "little", signed=True))
    planes, bits, coding, size = (
        _little(data, at, length) for at, length in ((26, 2), (28, 2), (30, 4), (34, 4))
    )
    needed = (width * bits + 31) // 32 * 4 * height
    raw = coding in (0, 3)
    if planes != 1 or (raw and size and size < needed) or (raw and len(data) < start + needed):
        raise ImageError("damaged", "the header of the BMP file contradicts itself")


def check_tiff(image: TiffImageFile, data: bytes) -> None:
    """Check that strips or tiles lie in the file, and hold as much as the picture has."""
    tags = image.tag_v2
    tiled = _STRIPS["tile offsets"] in tags
    offsets = _numbers(tags.get(_STRIPS["tile offsets" if tiled else "offsets"]))
    counts = _numbers(tags.get(_STRIPS["tile counts" if tiled else "counts"]))
    if not any(counts):  # some files leave them out
        return
    width, height = int(tags[_WIDTH]), int(tags[_HEIGHT])
    across, down = (
        (int(tags.get(_TILE_WIDTH, width)), int(tags.get(_TILE_HEIGHT, height)))
        if tiled
        else (width, min(int(tags.get(_ROWS_PER_STRIP, height)), height))
    )
    bits, channels = _numbers(tags.get(_BITS, 1)), int(tags.get(_CHANNELS, 1))
    apart = channels if tags.get(_PLANES, 1) == 2 else 1
    pieces = -(-width // max(across, 1)) * -(-height // max(down, 1)) * apart
    if len(offsets) != len(counts) or len(counts) != pieces:
        raise ImageError("damaged", f"{len(counts)} parts in the TIFF file, not {pieces}")
    if any(at + count > len(data) for at, count in zip(offsets, counts, strict=True)):
        raise ImageError("truncated", "a part of the TIFF file lies beyond its end")
    compressed = int(tags.get(_COMPRESSION, _UNCOMPRESSED)) != _UNCOMPRESSED
    if compressed or tags.get(_PHOTOMETRIC) == _SUBSAMPLED:
        return
    together = sum(bits) if len(bits) == channels else bits[0] * channels
    row = -(-across * together // apart // 8)
    for number, count in enumerate(counts):
        last = not tiled and (number + 1) % (pieces // apart) == 0 and height % down
        needed = row * (height % down if last else down)
        if count < needed:
            raise ImageError("damaged", f"{count} bytes in a part of the TIFF file, not {needed}")


def check_codestream(frame: bytes) -> None:
    """Check that the tile-parts of a JPEG 2000 picture reach to its end marker, and their codes."""
    place = frame.find(_CODESTREAM) + 2
    plain = True
    while (marker := frame[place : place + 2]) != b"\xff\x90":
        if place < 2 or marker[:1] != b"\xff" or len(marker) < 2:
            raise ImageError("damaged", "the header of the JPEG 2000 picture is not whole")
        if marker == b"\xff\x52":
            plain = not frame[place + 4] & 0b110  # else packets have markers of their own
        place += 2 + int.from_bytes(frame[place + 2 : place + 4])
    while frame[place : place + 2] == b"\xff\x90":
        length = int.from_bytes(frame[place + 6 : place + 10])
        end = place + length if length else frame.rfind(b"\xff\xd9")
        start = frame.find(b"\xff\x93", place, end) + 2
        if start < 2 or (plain and _IN_PACKETS.search(frame, start, end)):
            raise ImageError("damaged", "codes in the JPEG 2000 picture that cannot be")
        place = end
    if frame[place : place + 2] != b"\xff\xd9":
        raise ImageError("damaged", "the parts of the JPEG 2000 picture do not reach its end")


def _little(data: bytes, at: int, length: int) -> int:
    return int.from_bytes(data[at : at + length], "little")


def _numbers(value: Any) -> Sequence[int]:
    if value is None:
        return ()
    return tuple(int(v) for v in value) if isinstance(value, tuple) else (int(value),)
