"""Which image format a file is, from its first bytes and never from its suffix."""

from __future__ import annotations

HEAD_BYTES = 144
"""How many first bytes `recognise` needs: a DICOM file names itself at byte 128."""

IMAGE_SUFFIXES = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".bmp", ".dib", ".webp"),
        *(".dcm", ".dicom", ".dic"),
    )
)
"""Suffixes that promise an image; a broken promise is a recorded failure, not passed over."""


def recognise(head: bytes) -> str | None:
    """Name the image format that `head`, the first bytes of a file, belongs to.

    Returns
    -------
    str or None
        ``"JPEG"``, ``"PNG"``, ``"TIFF"``, ``"BMP"``, ``"WebP"``, ``"DICOM"``, or None.
    """
    for name, offset, magic in _SIGNATURES:
        if head[offset : offset + len(magic)] == magic and _agrees(name, head):
            return name
    return "DICOM" if _is_dicom_without_preamble(head) else None


_SIGNATURES = (
    ("DICOM", 128, b"DICM"),
    ("JPEG", 0, b"\xff\xd8\xff"),
    ("PNG", 0, b"\x89PNG\r\n\x1a\n"),
    ("TIFF", 0, b"II*\x00"),
    ("TIFF", 0, b"MM\x00*"),
    ("WebP", 0, b"RIFF"),
    ("BMP", 0, b"BM"),
)


def _agrees(name: str, head: bytes) -> bool:
    if name == "WebP":
        return head[8:12] == b"WEBP"
    if name == "BMP":  # two letters are too few: the size of the second header is one of these
        return int.from_bytes(head[14:18], "little") in (12, 40, 52, 56, 64, 108, 124)
    return True


def _is_dicom_without_preamble(head: bytes) -> bool:
    """Tell a DICOM data set that starts at byte 0, as older archives wrote them."""
    group, vr = head[0:2], head[4:6]
    starts = group in (b"\x02\x00", b"\x08\x00") and head[2:4] in (b"\x00\x00", b"\x05\x00")
    implicit_length = head[4:8] == b"\x04\x00\x00\x00"
    return starts and (vr in (b"UL", b"CS") or (head[2:4] == b"\x00\x00" and implicit_length))
