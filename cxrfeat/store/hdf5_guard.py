"""Looking at the text of attributes before HDF5 does.

h5py returns attributes as ``str`` only where they are of variable length, and HDF5 keeps such text
in global heaps. HDF5 2.0 never comes back from a heap in which a damaged entry has the length 0,
so the few heaps a file refers to are walked here first, by the "HDF5 File Format Specification
Version 3.0", sections III.E (global heap), IV.A.1.a (version 1 object header) and IV.A.2.m
(attribute message).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import h5py
from h5py import h5o

_CONTINUATION, _ATTRIBUTE = 0x10, 0x0C
_VARIABLE_LENGTH = 9
_MOST_MESSAGES = 10_000


def check_text(path: Path, owner: h5py.Group | h5py.Dataset) -> None:
    """Walk every heap that the attributes of a group or dataset refer to.

    Raises
    ------
    ValueError
        If a heap, or the header that leads to it, is damaged or written in a newer way than
        format 1 is.
    """
    with path.open("rb") as file:
        if _read(file, 13, 2) != b"\x08\x08":
            raise ValueError("its addresses do not have 8 bytes")
        for message in _attributes(file, h5o.get_info(owner.id).addr):
            for heap in _heaps_of(message):
                _walk(file, heap)


def _read(file: BinaryIO, start: int, length: int) -> bytes:
    if start > 1 << 62:
        raise ValueError("an address lies beyond the file")
    file.seek(start)
    data = file.read(length)
    if len(data) != length:
        raise ValueError("an address lies beyond the file")
    return data


def _attributes(file: BinaryIO, header: int) -> Iterator[bytes]:
    """Yield the attribute messages of an object header of version 1."""
    version, _, _, _, size = struct.unpack("<BBHII", _read(file, header, 12))
    if version != 1:
        raise ValueError(f"an object header has version {version}, not 1")
    blocks = [(header + 16, size)]
    seen = 0
    for start, length in blocks:  # grows by the continuations that are found
        data = _read(file, start, length)
        position = 0
        while position + 8 <= length:
            kind, size, flags = struct.unpack_from("<HHB", data, position)
            message = data[position + 8 : position + 8 + size]
            position += 8 + size
            seen += 1
            if flags & 2 and kind == _ATTRIBUTE:
                raise ValueError("an attribute is kept elsewhere")
            if len(message) != size or seen > _MOST_MESSAGES:
                raise ValueError("an object header is damaged")
            if kind == _CONTINUATION:
                blocks.append(struct.unpack_from("<QQ", message))
            elif kind == _ATTRIBUTE:
                yield message


def _heaps_of(message: bytes) -> set[int]:
    """Return the addresses of the heaps in which an attribute's text lies."""
    version, _, name, datatype, dataspace = struct.unpack_from("<BBHHH", message)
    if version == 1:  # every part is padded to 8 bytes
        name, datatype, dataspace = (-(-length // 8) * 8 for length in (name, datatype, dataspace))
        start = 8 + name
    elif version in (2, 3):
        start = 8 + (version == 3) + name
    else:
        raise ValueError(f"an attribute has version {version}")
    if message[start] & 0x0F != _VARIABLE_LENGTH:
        return set()
    data = message[start + datatype + dataspace :]
    entries = struct.iter_unpack("<IQI", data[: len(data) // 16 * 16])
    return {address for length, address, _ in entries if length}


def _walk(file: BinaryIO, heap: int) -> None:
    """Go through a global heap as HDF5 will, making sure that it gets to the end."""
    signature, version, size = struct.unpack("<4sB3xQ", _read(file, heap, 16))
    if signature != b"GCOL" or version != 1 or size > Path(file.name).stat().st_size:
        raise ValueError("the text of an attribute is damaged")
    data = _read(file, heap, size)
    position = 16
    while position + 16 <= size:
        index, length = struct.unpack_from("<H6xQ", data, position)
        step = 16 + -(-length // 8) * 8 if index else length  # 0 is the free space at the end
        if step < 16 or position + step > size:
            raise ValueError("the text of an attribute is damaged")
        position += step
