"""docs/format.md is kept: by what is written, by its own example, and by a file of old."""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from cxrfeat.spec import canonical_json
from cxrfeat.store import load, verify
from tests.store.conftest import dataset_of, fill, sha_of, vector_of, writer_for

DOCUMENT = Path(__file__).parents[2] / "docs" / "format.md"
GOLDEN = Path(__file__).parent / "golden" / "format1.h5"
GOLDEN_SHA256 = "eb2c0fab97d77b71e8ad30977bed474fdea61a934f2b5f18b5c0240439a52000"
IDS = ["covid/1.png", "normal/ü.png", "normal/3.png"]


def write_with_a_gone_row(path: Path) -> None:
    """The example, whose second image was not there at the second extract."""
    write_example(path)
    with load(path) as e:
        rest = [0, 2]
        dataset = dataset_of(
            [IDS[row] for row in rest],
            classes=e.classes,
            labels=e.labels[rest],
            meta={name: values[rest] for name, values in e.meta.items()},
        )
    writer_for(path, [], dataset=dataset).close()


def write_example(path: Path) -> None:
    """What the golden file was written with; a new version must not write it anew."""
    dataset = dataset_of(
        IDS,
        classes=["covid", "normal"],
        labels=np.array([[1, 0], [0, 1], [np.nan, np.nan]], dtype=np.float32),
        meta={"group": np.array(["p1", "p2", ""]), "a/b": np.array(["x", "y", "z"])},
    )
    with writer_for(path, IDS, dataset=dataset, environment={"torch": "2.0"}) as writer:
        fill(writer, IDS[:2])
        writer.fail(IDS[2], "truncated", "the file ends early", sha_of(IDS[2]))


def assert_example(path: Path) -> None:
    assert verify(path).sound
    with load(path) as e:
        assert e.ids == IDS
        assert e.status.tolist() == [1, 1, 2]
        assert e.errors == ["", "", "truncated: the file ends early"]
        assert e.sha256 == [sha_of(name) for name in IDS]
        np.testing.assert_array_equal(e.numpy(), [vector_of(name) for name in IDS[:2]])
        np.testing.assert_array_equal(e.labels, [[1, 0], [0, 1], [np.nan, np.nan]])
        assert e.classes == ["covid", "normal"]
        assert e.kind == "multiclass"
        assert {name: values.tolist() for name, values in e.meta.items()} == {
            "group": ["p1", "p2", ""],
            "a/b": ["x", "y", "z"],
        }
        assert e.spec["pooling"] == "avg"
        assert e.environment == {"torch": "2.0"}


def test_a_file_of_format_1_is_read_for_ever() -> None:
    assert hashlib.sha256(GOLDEN.read_bytes()).hexdigest() == (
        "eb2c0fab97d77b71e8ad30977bed474fdea61a934f2b5f18b5c0240439a52000"
    )
    assert_example(GOLDEN)


def test_a_file_of_format_1_is_still_written(path: Path) -> None:
    write_example(path)
    assert_example(path)
    with h5py.File(path) as new, h5py.File(GOLDEN) as old:
        # What came later is optional, so that the version is the same.
        assert set(new) == set(old) | {"gone", "environment"}
        assert set(new.attrs) == set(old.attrs) | {"environments"}
        for name in ("embeddings", "checksum", "id", "sha256", "status", "error", "stat", "labels"):
            assert new[name].dtype == old[name].dtype
            assert new[name][...].tobytes() == old[name][...].tobytes()


def test_the_example_of_the_document_runs(path: Path, monkeypatch) -> None:
    example = re.search(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.S)
    assert example
    write_example(path)
    path.rename(path.with_name("vgg16.h5"))
    monkeypatch.chdir(path.parent)
    found: dict = {}
    exec(example[1], found)
    np.testing.assert_array_equal(found["X"], [vector_of(name) for name in IDS[:2]])
    assert found["ids"].tolist() == IDS[:2]
    assert found["names"] == ["covid", "normal"]
    np.testing.assert_array_equal(found["Y"], [[1, 0], [0, 1]])
    assert found["patients"].tolist() == ["p1", "p2"]
    assert found["made_with"]["backbone"] == "tiny"


def test_the_example_of_the_document_leaves_gone_rows_out(path: Path, monkeypatch) -> None:
    example = re.search(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.S)
    assert example
    write_with_a_gone_row(path)
    path.rename(path.with_name("vgg16.h5"))
    monkeypatch.chdir(path.parent)
    found: dict = {}
    exec(example[1], found)
    assert found["ids"].tolist() == IDS[:1]


def test_a_file_of_old_gets_its_marks_by_being_written_anew(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(GOLDEN.read_bytes())
    with load(path) as e:
        assert not e.gone.any()
        assert e.done.tolist() == [True, True, False]
    with writer_for(path, IDS[:2]) as writer:  # the last one vanished, so that no row moves
        assert (writer.changes.gone, writer.changes.rewritten) == (1, True)
    assert hashlib.sha256(GOLDEN.read_bytes()).hexdigest() == GOLDEN_SHA256
    with load(path) as e:
        assert e.gone.tolist() == [False, False, True]
    assert verify(path).sound


def test_every_must_for_writers_holds(path: Path) -> None:
    write_example(path)
    assert path.read_bytes()[8] == 0  # superblock version
    with h5py.File(path) as file:
        for dataset in [file[name] for name in file if name != "meta"] + list(
            file["meta"].values()
        ):
            assert dataset.id.get_create_plist().get_nfilters() == 0
            assert dataset.id.get_create_plist().get_alloc_time() == h5py.h5d.ALLOC_TIME_EARLY
            assert dataset.id.get_space_status() == h5py.h5d.SPACE_STATUS_ALLOCATED
            text = h5py.check_string_dtype(dataset.dtype)
            assert text is None or text.length is not None
        assert np.isnan(file["embeddings"].fillvalue)
        assert np.isnan(file["embeddings"][2]).all()
        spec = json.loads(file.attrs["spec"])
        stated = hashlib.sha256(canonical_json(spec).encode()).hexdigest()
        assert file.attrs["fingerprint"] == stated
        for row in range(2):
            expected = zlib.crc32(
                file["embeddings"][row].tobytes(), zlib.crc32(file["sha256"][row])
            )
            assert file["checksum"][row] == expected
        assert file["checksum"][2] == 0


def test_chunks_of_large_files_are_about_a_mebibyte(path: Path) -> None:
    writer_for(path, [f"{i}" for i in range(2000)], dimension=2048).close()
    with h5py.File(path) as file:
        assert file["embeddings"].chunks == (128, 2048)


def test_float16_halves_the_file_and_states_what_it_cost(path: Path) -> None:
    ids = [f"{i}" for i in range(400)]
    rng = np.random.default_rng(0)
    vectors = np.abs(rng.standard_normal((400, 512))).astype(np.float32)
    vectors[7, 3] = 70_000
    sizes = {}
    for storage in ("float32", "float16"):
        file = path.with_name(f"{storage}.h5")
        with writer_for(file, ids, dimension=512, storage=storage) as writer:
            failed = writer.write(ids, vectors, ["0" * 64] * 400)
        assert failed == (["7"] if storage == "float16" else [])
        sizes[storage] = file.stat().st_size
    assert sizes["float16"] < 0.7 * sizes["float32"]
    with load(file) as e:
        assert e.errors[7].startswith("overflow:")
        kept = np.arange(400) != 7
        read = e[kept]
        assert read.dtype == np.float32
        exact = vectors[kept].astype(np.float64)
        lost = np.linalg.norm(read - exact, axis=1) / np.linalg.norm(exact, axis=1)
        np.testing.assert_allclose(e.rounding[kept], lost, rtol=1e-5)
        assert 1e-5 < lost.max() < 2**-11  # half a unit in the last place of 11 bits
    assert verify(file).sound


@pytest.mark.parametrize("optional", ["stat", "gone", "environment"])
def test_a_file_without_an_optional_dataset_is_continued_and_mended(
    path: Path, optional: str
) -> None:
    ids = ["1", "2", "3", "4"]
    with writer_for(path, ids) as writer:
        fill(writer, ids[:2])
    with h5py.File(path, "r+") as file:
        del file[optional]
        file["embeddings"][0] = 7
    assert verify(path, repair=True).repaired
    now = {"sha": {"2": sha_of("2", 1)}, "stat": {"2": (5, 6)}}
    with writer_for(path, ids, current_sha256=now["sha"], current_stat=now["stat"]) as writer:
        assert writer.pending == ids
        fill(writer, ids[:3], version=1)
        writer.fail("4", "truncated", "ends early", stat=(1, 2))
    assert verify(path).sound
    with load(path) as e:
        assert e.status.tolist() == [1, 1, 1, 2]
