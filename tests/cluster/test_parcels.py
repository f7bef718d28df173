"""A large array is stored once, wherever it stands; everything else travels as it is."""

from __future__ import annotations

from functools import partial
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
