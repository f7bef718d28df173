"""Arguments for workers: large arrays go to each machine once, whatever holds them.

An array goes through Ray's object store: each machine fetches it once, all workers there read it
in place, and Ray moves to the disk what does not fit. A matrix that is mapped from a file goes the
same way, straight from the file into the store. To map the file elsewhere, too, would spare that
copy, but ask for a folder that all machines see.
"""

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
    """Packs things one after the other; an array that the next one has, too, is stored once.

    What the last thing did not have is let go of: it stays in the store as long as a parcel of it
    is there. So of many large arrays that are used in turn, those in use take room.

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
        before, self._sent = self._sent, {}
        used: list[Any] = []

        def stored(array: Any) -> None:
            if id(array) not in self._sent:
                there = before.get(id(array)) or (array, self._put(np.asarray(array)))
                self._sent[id(array)] = there
            used.append(self._sent[id(array)][1])

        file = io.BytesIO()
        _Pickler(file, used, stored).dump(thing)
        return Parcel(file.getvalue(), tuple(used))


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, used: list[Any], stored: Callable[[Any], None]) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._used, self._stored = used, stored

    def persistent_id(self, obj: Any) -> int | None:
        plain = type(obj) in (np.ndarray, np.memmap)
        if not plain or obj.nbytes < SHARED_BYTES or obj.dtype.hasobject:
            return None
        self._stored(obj)
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
        Returns a stored array. Default: `fetched`.
    """
    return _Unpickler(parcel, get or fetched).load()


def fetched(stored: Any) -> Any:
    """Return what is in the object store, in a worker; arrays are read in place."""
    import ray

    return ray.get(stored)
