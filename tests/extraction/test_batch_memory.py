"""Pictures are put together as they are, however they lie in memory."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cxrfeat.extraction.batch_memory import BatchMemory, in_a_row

MANY = np.random.default_rng(0).random((12, 4, 4), np.float32)
APART = np.random.default_rng(1).random((12, 4, 6), np.float32)[:, :, :4]


@given(
    st.lists(
        st.one_of(
            st.integers(0, 11).map(lambda n: MANY[n]),
            st.integers(0, 11).map(lambda n: APART[n]),  # rows with something between them
            st.integers(0, 11).map(lambda n: MANY[n].copy()),
            st.integers(0, 11).map(lambda n: MANY[n].T),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_they_are_what_numpy_stacks(pictures: list[np.ndarray]) -> None:
    memory = BatchMemory(pinned=False)
    np.testing.assert_array_equal(memory.together(pictures), np.stack(pictures))


def test_those_that_lie_in_a_row_are_one_copy() -> None:
    room = np.arange(100 * 20, dtype=np.float32).reshape(100, 20)
    slots = [row[:16].reshape(4, 4) for row in room]  # aligned: something lies between them
    assert [len(there) for _, there in in_a_row(slots[:64])] == [64]
    assert len(list(in_a_row([*slots[70:90], *slots[:64]]))) <= 3


def test_memory_is_used_again_by_the_thread_that_has_it_alone() -> None:
    memory = BatchMemory(pinned=False)
    first = memory.together(list(MANY[:5]))
    again = memory.together(list(MANY[5:8]))
    assert np.shares_memory(first, again)
    np.testing.assert_array_equal(again, MANY[5:8])
    with ThreadPoolExecutor(1) as thread:
        other = thread.submit(memory.together, list(MANY[:5])).result()
    assert not np.shares_memory(other, again)
    assert memory.together(list(MANY)).shape == (12, 4, 4)
    assert memory.together([np.zeros((6, 6), np.float32)]).shape == (1, 6, 6)
