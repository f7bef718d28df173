"""Arguments for workers: large arrays go to each machine once, whatever holds them."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

SHARED_BYTES = 1 << 18
"""Arrays from this size on are sent apart."""


@dataclass(frozen=True)
class Parcel:
    """Something pickled, without its large arrays.

    Attributes
    ----------
    data : bytes
    arrays : tuple
        Where they are in Ray's object store.
    """

    data: bytes
    arrays: tuple[Any, ...]


class Sender:
    """Packs things; an array that is in several of them is stored once.

    Parameters
    ----------
    put : callable
        Stores an array; `ray.put`.
    """

    def __init__(self, put: Callable[[Any], Any]) -> None:
        self._put = put
        self._sent: dict[int, tuple[Any, Any]] = {}  # the array is kept, so that its id stays its

    def pack(self, thing: Any) -> Parcel:
        """Pickle something that can be pickled."""
        used: list[Any] = []
        file = io.BytesIO()
        pickler = _Pickler(file, used, self._stored)
        pickler.dump(thing)
        return Parcel(file.getvalue(), tuple(used))

    def _stored(self, array: Any) -> Any:
        if id(array) not in self._sent:
            self._sent[id(array)] = array, self._put(array)
        return self._sent[id(array)][1]


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, used: list[Any], stored: Callable[[Any], Any]) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._used, self._stored = used, stored

    def persistent_id(self, obj: Any) -> int | None:
        if type(obj) is not np.ndarray or obj.nbytes < SHARED_BYTES or obj.dtype.hasobject:
            return None
        self._used.append(self._stored(obj))
        return len(self._used) - 1


class _Unpickler(pickle.Unpickler):
    def __init__(self, parcel: Parcel, get: Callable[[Any], Any]) -> None:
        super().__init__(io.BytesIO(parcel.data))
        self._arrays, self._get = parcel.arrays, get

    def persistent_load(self, pid: int) -> Any:
        return self._get(self._arrays[pid])


def unpack(parcel: Parcel, get: Callable[[Any], Any] | None = None) -> Any:
    """Make what was packed again; its large arrays can only be read.

    Parameters
    ----------
    parcel
        Of our own workers or driver, and of nobody else.
    get : callable, optional
        Returns a stored array. Default: `ray.get`, in a worker.
    """
    if get is None:
        import ray

        get = ray.get
    return _Unpickler(parcel, get).load()
