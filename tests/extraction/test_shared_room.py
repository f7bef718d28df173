"""Arrays come out of shared memory as they went in, and a slot is used again when they are gone."""

from __future__ import annotations

import gc
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from loky import ProcessPoolExecutor

from cxrfeat.extraction.shared_room import Packed, SharedRoom, Slot, pack

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="memory without a name is Linux's"
)


def sent(room: SharedRoom, what: Any, slot: Slot | None) -> Any:
    """As from another process: what is packed is pickled on its way."""
    return room.unpack(pack(what, slot), slot)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        arrays.arrays(
            st.sampled_from([np.float32, np.uint8, np.dtype("S5"), bool]),
            arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=7),
        ),
        max_size=6,
    )
)
def test_whatever_goes_in_comes_out(some: list[np.ndarray]) -> None:
    room = SharedRoom(2, 8192)
    what = {"arrays": some, "told": ("a", None), "again": some[:1]}
    found = sent(room, what, room.take())
    assert found["told"] == what["told"]
    for ours, exact in zip([*found["arrays"], *found["again"]], [*some, *some[:1]], strict=True):
        assert (ours.dtype, ours.shape) == (exact.dtype, exact.shape)
        assert ours.tobytes() == exact.tobytes()
    room.close()


def test_a_slot_is_taken_again_when_its_last_array_is_gone_and_not_before() -> None:
    room = SharedRoom(2, 4096)
    first = sent(room, [np.full(100, 1.0), np.full(100, 2.0)], room.take())
    second = sent(room, [np.full(100, 3.0)], room.take())
    assert room.take() is None
    kept = first[1]
    del first
    gc.collect()
    assert room.take() is None
    np.testing.assert_array_equal(kept, np.full(100, 2.0))
    del kept
    gc.collect()
    slot = room.take()
    assert slot is not None
    third = sent(room, [np.full(100, 4.0)], slot)
    np.testing.assert_array_equal(second[0], np.full(100, 3.0))
    room.close()
    np.testing.assert_array_equal(third[0], np.full(100, 4.0))


def test_what_does_not_fit_or_has_no_slot_goes_through_the_pipe() -> None:
    room, large = SharedRoom(1, 4096), np.arange(5000)
    slot = room.take()
    np.testing.assert_array_equal(sent(room, large, slot), large)
    assert room.take() == slot  # given back at once
    np.testing.assert_array_equal(sent(room, large, None), large)
    gone = Slot("/proc/self/fd/no such file", 1, 0, 4096)
    assert pack(large[:3], gone).slot is None


def packed_there(slot: Slot) -> Packed:
    return pack(np.arange(1000), slot)


def test_another_process_puts_its_arrays_into_our_memory() -> None:
    room = SharedRoom(1, 1 << 20)
    slot = room.take()
    with ProcessPoolExecutor(1) as pool:
        packed = pool.submit(packed_there, slot).result()
    assert packed.slot == slot
    assert len(packed.message) < 500  # 8,000 bytes are not in it
    np.testing.assert_array_equal(room.unpack(packed, slot), np.arange(1000))
