"""A large array is stored once, wherever it stands; everything else travels as it is."""

from __future__ import annotations

import gc
import weakref
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cxrfeat.cluster.parcels import SHARED_BYTES, Sender, unpack


def test_an_array_in_many_places_is_stored_once_and_comes_back_in_each() -> None:
    stored: list[np.ndarray] = []

    def put(array: np.ndarray) -> int:
        stored.append(array)
        return len(stored) - 1

    large = np.arange(SHARED_BYTES // 8 + 1)
    small = np.arange(3)
    sender = Sender(put)
    things: list[Any] = [{"X": [large, small]}, partial(np.add, large), (large, None)]
    parcels = [sender.pack(thing) for thing in things]
    assert len(stored) == 1
    assert all(len(parcel.data) < SHARED_BYTES for parcel in parcels)
    first, second, third = (unpack(parcel, stored.__getitem__) for parcel in parcels)
    assert first["X"][0] is second.args[0] is third[0] is large
    np.testing.assert_array_equal(first["X"][1], small)


def test_a_mapped_matrix_is_stored_apart_as_it_lies_in_its_file(tmp_path: Path) -> None:
    X = np.arange(SHARED_BYTES // 4 + 5, dtype=np.float32).reshape(-1, 3)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    stored: list[np.ndarray] = []
    parcel = Sender(lambda array: stored.append(array) or len(stored) - 1).pack([mapped, mapped])
    assert len(parcel.data) < 1000
    (apart,) = stored
    assert type(apart) is np.ndarray  # of which Ray makes no second copy
    assert np.shares_memory(apart, mapped)
    first, second = unpack(parcel, stored.__getitem__)
    np.testing.assert_array_equal(first, X)
    assert first is second


def test_an_array_that_the_next_thing_does_not_have_is_let_go_of() -> None:
    matrices = [np.full(SHARED_BYTES, number, np.uint8) for number in range(2)]
    stored: list[int] = []
    sender = Sender(lambda array: stored.append(int(array[0])))
    sender.pack(matrices[0])
    sender.pack((matrices[0], 1))
    of_the_first = weakref.ref(matrices[0])
    sender.pack(matrices[1])
    del matrices[0]
    gc.collect()
    assert of_the_first() is None
    assert stored == [0, 1]
