"""What decides the depth of a set is kept, or found again: never taken from a damaged line."""

from __future__ import annotations

from pathlib import Path

import pytest

from cxrfeat.extraction.largest_samples import LargestSamples


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "samples.txt"


def test_a_sample_that_was_kept_is_found_by_the_next_run(path: Path) -> None:
    LargestSamples(path).keep("a", 4095)
    LargestSamples(path).keep("b", 0)
    found = LargestSamples(path)
    assert [found.find(version) for version in ("a", "b", "c", "")] == [4095, 0, None, None]


def test_every_damage_to_a_line_makes_it_none(path: Path) -> None:
    LargestSamples(path).keep("a", 4095)
    whole = path.read_bytes()
    line = whole.index(b"a")
    for place in range(line, len(whole) - 1):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            path.write_bytes(damaged)
            assert LargestSamples(path).find("a") is None
    for end in range(line, len(whole) - 1):
        path.write_bytes(whole[:end])
        assert LargestSamples(path).find("a") is None
        LargestSamples(path).keep("b", 1)  # after a line that was cut
        assert LargestSamples(path).find("b") == 1


def test_a_folder_that_takes_no_line_costs_nothing_else(tmp_path: Path) -> None:
    samples = LargestSamples(tmp_path / "missing" / "samples.txt")
    samples.keep("a", 1)
    assert samples.find("a") is None
