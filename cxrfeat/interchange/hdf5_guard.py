"""HDF5 files of others, opened as data from a stranger: nothing is followed out of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import numpy as np
import numpy.typing as npt

from cxrfeat.errors import CxrfeatError, FileFormatError, InputError
from cxrfeat.interchange.columns import text, texts
from cxrfeat.interchange.outside import refuse_too_large

Member: TypeAlias = h5py.Dataset | h5py.Group


@contextlib.contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """Open a file for reading; whatever HDF5 says of it is one line.

    Raises
    ------
    FileFormatError
        A damaged file, or one that is packed by what is not installed.
    """
    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except CxrfeatError:
        raise
    except (AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError) as error:
        told = str(error).splitlines()
        raise FileFormatError(
            f"'{path}' cannot be read as HDF5 ({told[0] if told else type(error).__name__}): write"
            " it again, without filters that h5py does not have"
        ) from error


def members(group: h5py.Group, path: Path) -> dict[str, Member]:
    """Return what lies in a group, by name.

    Raises
    ------
    InputError
        A link, or a dataset whose numbers lie in another file.
    """
    found: dict[str, Member] = {}
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise InputError(f"'{path}': '{name}' is a link, and links are not followed: copy it")
        member = group[name]
        if isinstance(member, h5py.Dataset) and (member.is_virtual or member.external):
            raise InputError(f"'{path}': the numbers of '{name}' lie in another file: copy them")
        if isinstance(member, h5py.Dataset | h5py.Group):
            found[name] = member
    return found


def values_of(dataset: h5py.Dataset, path: Path) -> npt.NDArray[Any]:
    """Read a whole dataset, if there is memory for what it states.

    Raises
    ------
    InputError
        More than the memory.
    """
    refuse_too_large(dataset.nbytes, f"'{path}': '{dataset.name}'")
    return np.asarray(dataset[()])


def texts_of(dataset: h5py.Dataset, path: Path) -> list[str]:
    """Read a dataset of one dimension as text."""
    return texts(values_of(dataset, path).reshape(-1))


def attribute(owner: Member, name: str) -> str:
    """Read an attribute that is one text; "" where there is none."""
    if name not in owner.attrs:
        return ""
    value = owner.attrs[name]
    return text(value) if isinstance(value, str | bytes) else ""
