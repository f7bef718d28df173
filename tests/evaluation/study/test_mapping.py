"""Embeddings that do not fit into the memory are mapped from a file: the same numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cxrfeat.errors import StorageError
from cxrfeat.evaluation.study import mapping
from cxrfeat.evaluation.study.mapping import blocks, matrix_of_blocks


def test_blocks_hold_every_row_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapping, "BLOCK_BYTES", 100)
    cut = list(blocks(10, 8))
    assert [(rows.start, rows.stop) for rows in cut] == [(0, 3), (3, 6), (6, 9), (9, 10)]
    assert len(list(blocks(2, 1000))) == 2
    assert list(blocks(0, 8)) == []


@pytest.mark.parametrize("rows", [1, 7])
def test_a_mapped_matrix_is_the_one_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(mapping, "BLOCK_BYTES", 50)
    X = np.random.default_rng(0).normal(size=(rows, 5)).astype(np.float32)
    here, there = (
        matrix_of_blocks(lambda rows: X[rows], X.shape, place, "vgg16")
        for place in (None, tmp_path / "mapped")
    )
    assert not isinstance(here, np.memmap)
    assert isinstance(there, np.memmap)
    assert not there.flags.writeable
    np.testing.assert_array_equal(here, X)
    np.testing.assert_array_equal(there, X)


def test_no_room_for_the_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "mapped").write_text("a file")
    with pytest.raises(StorageError, match="do not fit into the memory and need room there"):
        matrix_of_blocks(lambda rows: np.zeros((1, 5)), (1, 5), tmp_path / "mapped", "vgg16")
