"""A file of pictures that were read and resized, so that they need not be read again.

``docs/format.md`` specifies it. As in an embedding file, all structure is written once: filling
rows touches raw data alone, so that a process that is killed at any moment leaves a file that
opens. Nothing is synced row by row: a row counts only if its checksum is that of its bytes, and
what does not count is read from the image again.
"""

from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Iterator
from functools import cached_property
from io import FileIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
from h5py import h5d, h5l, h5p, h5s, h5t

from cxrfeat.arrays import Pictures, RowNumbers
from cxrfeat.spec import Spec, canonical_json, fingerprint
from cxrfeat.store.disk import storage_errors, sync_file
from cxrfeat.store.format1 import close_quietly
from cxrfeat.store.hdf5_guard import check_text
from cxrfeat.store.rows import runs
from cxrfeat.store.validation import damage_named

FORMAT, VERSION = b"cxrfeat-pictures", 1
WARNING_BYTES = 160

KEPT_IMAGE = np.dtype(
    [
        ("place", "S32"),
        ("sha256", "S64"),
        ("warnings", f"S{WARNING_BYTES}"),
        ("bytes", "<i8"),
        ("checksum", "<u4"),
        ("done", "u1"),
    ]
)
"""What is kept beside a picture; ``checksum`` is over the fields before it and the picture."""

KeptImages = npt.NDArray[np.void]
"""Shape (k,), of `KEPT_IMAGE`."""

_CHECKED_BYTES = KEPT_IMAGE.fields["checksum"][1]  # type: ignore[index]  # it has fields
_PICTURE = np.dtype("<f4")  # as it lies in the file, and in the memory of all machines we know
_DELETE = "delete it, its pictures are read from the images again"


def row_bytes(side: int) -> int:
    """Return what one picture takes on the disk, with what is kept beside it."""
    return side * side * _PICTURE.itemsize + KEPT_IMAGE.itemsize


def checksums(images: KeptImages, pictures: Pictures) -> npt.NDArray[np.uint32]:
    """Compute the CRC-32 of each row: what is kept beside the picture, then its bytes."""
    beside = np.ascontiguousarray(images).view(np.uint8).reshape(-1, KEPT_IMAGE.itemsize)
    return np.array(
        [
            zlib.crc32(picture, zlib.crc32(told[:_CHECKED_BYTES].data))
            for told, picture in zip(beside, np.ascontiguousarray(pictures, _PICTURE), strict=True)
        ],
        dtype=np.uint32,
    )


def make_picture_file(path: Path, spec: Spec, side: int, rows: int) -> None:
    """Make a file without pictures, whole or not at all; room is taken only as rows are filled.

    Raises
    ------
    StorageError
        The folder cannot be written, or the disk is full.
    """
    new = path.with_name(path.name + ".new")
    with storage_errors(path):
        try:
            with h5py.File(new, "w", libver="earliest", locking=False, track_order=False) as file:
                # Text of fixed length: no global heap, from which a damaged file might not return.
                file.attrs["format"] = np.bytes_(FORMAT)
                file.attrs["format_version"] = VERSION
                file.attrs["spec"] = np.bytes_(canonical_json(spec).encode())
                file.attrs["fingerprint"] = np.bytes_(fingerprint(spec).encode())
                _allocate(file, "image", (rows,), KEPT_IMAGE, filled=True)
                _allocate(file, "picture", (rows, side, side), _PICTURE, filled=False)
            sync_file(new)
            os.replace(new, path)
        except BaseException:
            new.unlink(missing_ok=True)
            raise


class PictureFile:
    """Some kept pictures of one size, read in one way.

    HDF5 makes a file and says where in it the numbers lie; they are read and written past it,
    because it lets one thread of a process work at a time. Threads may read while one of them fills
    rows; one process at a time may fill them.

    Parameters
    ----------
    path : Path
    spec : mapping
        How the pictures were read.
    side : int
        S, of the pictures in pixels.

    Raises
    ------
    FileFormatError
        The file is damaged, or not one of such pictures.
    """

    def __init__(self, path: Path, spec: Spec, side: int) -> None:
        self.path = path
        with damage_named(path, _DELETE):
            file = h5py.File(path, "r", libver="earliest", locking=False, rdcc_nbytes=0)
            try:
                self._rows, *self._starts = _checked(file, path, spec, side)
            finally:
                close_quietly(file)

    def __len__(self) -> int:
        return self._rows

    def images(self) -> KeptImages:
        """Return what is beside all pictures; rows that are not `done` hold none.

        Raises
        ------
        FileFormatError
        """
        images = np.empty(len(self), KEPT_IMAGE)
        with damage_named(self.path, _DELETE), self.path.open("rb", buffering=0) as file:
            _fill(file, self._starts[0], images)
        return images

    @cached_property
    def _free(self) -> RowNumbers:
        return np.flatnonzero(self.images()["done"] != 1)

    @property
    def free(self) -> int:
        """How many rows can be filled."""
        return len(self._free)

    def read(
        self, rows: RowNumbers, pictures: Pictures
    ) -> tuple[KeptImages, npt.NDArray[np.bool_]]:
        """Read pictures by their rows, in any order.

        Parameters
        ----------
        rows : ndarray of int, shape (k,)
        pictures : ndarray of float32, shape (k, S, S)
            Filled.

        Returns
        -------
        images : ndarray of `KEPT_IMAGE`, shape (k,)
        sound : ndarray of bool, shape (k,)
            Which of them are what was written together.

        Raises
        ------
        FileFormatError
            The file cannot be read at all.
        """
        images = np.empty(len(rows), KEPT_IMAGE)
        with damage_named(self.path, _DELETE), self.path.open("rb", buffering=0) as file:
            for run in runs(rows):
                for place, values in self._where(int(rows[run.start]), images, pictures):
                    _fill(file, place, values[run])
        return images, (checksums(images, pictures) == images["checksum"]) & (images["done"] == 1)

    def append(self, images: KeptImages, pictures: Pictures) -> None:
        """Fill free rows; a kill loses none that is filled.

        Parameters
        ----------
        images : ndarray of `KEPT_IMAGE`, shape (k,)
            Without `checksum` and `done`; k is at most `free`.
        pictures : ndarray of float32, shape (k, S, S)

        Raises
        ------
        StorageError
            The disk is full, or takes no more for another reason.
        """
        images, pictures = images.copy(), np.ascontiguousarray(pictures, _PICTURE)
        images["checksum"], images["done"] = checksums(images, pictures), 1
        rows = self._free[: len(images)]
        with storage_errors(self.path), self.path.open("r+b", buffering=0) as file:
            for run in runs(rows):
                for place, values in self._where(int(rows[run.start]), images, pictures):
                    _put(file, place, values[run])
        self._free = self._free[len(images) :]

    def forget(self, rows: RowNumbers) -> None:
        """Give damaged rows back, to be filled by a later run.

        Raises
        ------
        StorageError
        """
        nothing = np.zeros(1, KEPT_IMAGE)
        with storage_errors(self.path), self.path.open("r+b", buffering=0) as file:
            for row in rows.tolist():
                _put(file, self._starts[0] + row * KEPT_IMAGE.itemsize, nothing)

    def _where(
        self, row: int, images: KeptImages, pictures: Pictures
    ) -> Iterator[tuple[int, npt.NDArray[Any]]]:
        """Yield from which byte on a row lies: its picture, then what is beside it."""
        for start, values in ((self._starts[1], pictures), (self._starts[0], images)):
            yield start + row * values[:1].nbytes, values


def _fill(file: FileIO, place: int, values: npt.NDArray[Any]) -> None:
    """Read values that lie in one stretch."""
    there = values.reshape(-1).view(np.uint8)
    file.seek(place)
    if file.readinto(there.data) != len(there):
        raise ValueError("it ends before its pictures do")


def _put(file: FileIO, place: int, values: npt.NDArray[Any]) -> None:
    """Write values in one stretch, however little the disk takes at a time."""
    left = values.reshape(-1).view(np.uint8).data
    file.seek(place)
    while left:
        left = left[file.write(left) :]


def _allocate(
    file: h5py.File, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], *, filled: bool
) -> None:
    layout = h5p.create(h5p.DATASET_CREATE)
    layout.set_layout(h5d.CONTIGUOUS)
    layout.set_alloc_time(h5d.ALLOC_TIME_EARLY)
    layout.set_fill_time(h5d.FILL_TIME_ALLOC if filled else h5d.FILL_TIME_NEVER)
    layout.set_obj_track_times(False)
    kind = h5t.py_create(dtype, logical=True)
    h5d.create(file.id, name.encode(), kind, h5s.create_simple(shape), layout)


def _checked(file: h5py.File, path: Path, spec: Spec, side: int) -> tuple[int, int, int]:
    """Say how many rows a file has, and where in it the images and the pictures begin."""
    check_text(path, file)
    stated = {name: file.attrs[name] for name in ("format", "spec", "fingerprint")}
    if stated["format"] != FORMAT or int(file.attrs["format_version"]) != VERSION:
        raise ValueError("it is no file of pictures of this version")
    same = stated["fingerprint"] == fingerprint(spec).encode()
    if not same or json.loads(stated["spec"]) != json.loads(canonical_json(spec)):
        raise ValueError("its pictures were read in another way")
    images, pictures = (_inside(file, name) for name in ("image", "picture"))
    if images.dtype != KEPT_IMAGE or images.ndim != 1:
        raise ValueError("what is beside the pictures is of another type")
    if pictures.dtype != _PICTURE or pictures.shape != (len(images), side, side):
        raise ValueError("its pictures are of another type or shape")
    size = path.stat().st_size
    for dataset in (images, pictures):
        start = dataset.id.get_offset()
        if start is None or start + math.prod(dataset.shape) * dataset.dtype.itemsize > size:
            raise ValueError("it states more data than it holds")
    return len(images), images.id.get_offset(), pictures.id.get_offset()


def _inside(file: h5py.File, name: str) -> h5py.Dataset:
    """Take a dataset whose numbers lie in this very file, uncompressed."""
    if file.id.links.get_info(name.encode()).type != h5l.TYPE_HARD:
        raise ValueError(f"'{name}' points out of it")
    dataset = file[name]
    made = dataset.id.get_create_plist()
    if made.get_layout() != h5d.CONTIGUOUS or made.get_external_count():
        raise ValueError(f"'{name}' lies out of it")
    return dataset
