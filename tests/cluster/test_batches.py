"""Lost work is tried again, halved, and the one item that kills is found."""

from __future__ import annotations

from collections import Counter

import pytest

from cxrfeat.cluster.batches import ALONE, Batch, Suspects


@pytest.mark.parametrize("size", [1, 2, 7, 32])
@pytest.mark.parametrize("place", ["first", "last"])
def test_the_one_item_that_kills_is_found_and_all_others_are_done(size: int, place: str) -> None:
    deadly = 0 if place == "first" else size - 1
    suspects: Suspects[int] = Suspects()
    assert suspects.add(Batch(list(range(size))), its_fault=True) is None
    done: list[int] = []
    found: list[int] = []
    deaths: Counter[int] = Counter()
    while suspects:
        batch = suspects.take()
        if deadly not in batch.items:
            done += batch.items
            continue
        deaths[len(batch.items)] += 1
        item = suspects.add(batch, its_fault=True)
        found += [] if item is None else [item]
    assert found == [deadly]
    assert sorted([*done, *found]) == list(range(size))
    assert deaths[1] == 2  # a verdict needs two deaths with nothing else in the worker
    assert deaths.total() <= size.bit_length() + 2


def test_a_batch_that_was_only_beside_another_one_is_tried_whole() -> None:
    suspects: Suspects[int] = Suspects()
    suspects.add(Batch([1, 2, 3]), its_fault=True)
    assert suspects.take().items == [1, 2, 3]
    assert not suspects


def test_machines_that_go_away_accuse_nobody() -> None:
    suspects: Suspects[int] = Suspects()
    batch = Batch([1])
    for _ in range(ALONE + 2):
        assert suspects.add(batch, its_fault=False) is None
        batch = suspects.take()
    assert batch.items == [1]
