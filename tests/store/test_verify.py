from __future__ import annotations

import random
from pathlib import Path

import h5py
import numpy as np
import pytest

from cxrfeat.errors import FileFormatError
from cxrfeat.store import load, verify
from tests.store.conftest import dataset_of, fill, vector_of, writer_for

IDS = [f"{i}.png" for i in range(40)]


@pytest.fixture
def filled(path: Path) -> Path:
    dataset = dataset_of(
        IDS,
        classes=["a", "b"],
        labels=np.eye(2, dtype=np.float32)[np.arange(40) % 2],
        meta={"group": np.array([f"p{i // 3}" for i in range(40)])},
    )
    with writer_for(path, IDS, dataset=dataset) as writer:
        fill(writer, IDS[:38])
        writer.fail(IDS[38], "truncated", "ends early")
    return path


def flip(path: Path, position: int, bit: int = 1) -> None:
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ bit]))


def offset_of(path: Path, name: str) -> int:
    with h5py.File(path) as file:
        if file[name].chunks:
            return file[name].id.get_chunk_info(0).byte_offset
        return file[name].id.get_offset()


def test_a_sound_file_is_said_to_be_sound(filled: Path) -> None:
    found = verify(filled)
    assert found.sound
    assert (found.rows, found.checked, found.repaired) == (40, 38, False)


def test_any_flipped_byte_of_an_embedding_is_found_and_mended(filled: Path) -> None:
    """200 random positions, one bit each; repair and recomputing give the original bytes back."""
    original = filled.read_bytes()
    start = offset_of(filled, "embeddings")
    rng = random.Random(0)
    for _ in range(200):
        position = rng.randrange(38 * 5 * 4)
        flip(filled, start + position, 1 << rng.randrange(8))
        found = verify(filled)
        assert [each.row for each in found.damaged] == [position // 20]
        assert verify(filled, repair=True).repaired
        with writer_for(filled, IDS) as writer:
            assert writer.pending[0] == IDS[position // 20]
            fill(writer, [IDS[position // 20]])
        assert filled.read_bytes() == original


@pytest.mark.parametrize("name", ["checksum", "sha256", "status"])
def test_a_flipped_byte_beside_an_embedding_is_found(filled: Path, name: str) -> None:
    flip(filled, offset_of(filled, name), bit=4)
    found = verify(filled, repair=True)
    assert [(each.id, each.row) for each in found.damaged] == [(IDS[0], 0)]
    with writer_for(filled, IDS) as writer:
        fill(writer, IDS[:1])
    assert verify(filled).sound
    with load(filled) as e:
        np.testing.assert_array_equal(e[0], vector_of(IDS[0]))


@pytest.mark.parametrize("name", ["id", "labels", "meta/group"])
def test_a_flipped_byte_in_a_column_names_the_column(filled: Path, name: str) -> None:
    flip(filled, offset_of(filled, name), bit=0x80)
    found = verify(filled)
    assert found.damaged_columns == [name]
    assert not found.sound
    load(filled).close()  # the rest of the file is not lost over it
    with pytest.raises(FileFormatError, match=f"damaged in /{name}"):
        writer_for(filled, [*IDS, "new"])  # would give the damage a new checksum
    dataset = dataset_of(
        IDS,
        classes=["a", "b"],
        labels=np.eye(2, dtype=np.float32)[np.arange(40) % 2],
        meta={"group": np.array([f"p{i // 3}" for i in range(40)])},
    )
    with writer_for(filled, IDS, dataset=dataset, prune=True) as writer:
        fill(writer)
    assert verify(filled).sound
