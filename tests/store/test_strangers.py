"""A file from a stranger is data only: refused with one line, never followed, never a crash."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from cxrfeat.errors import FileFormatError
from cxrfeat.store import load, verify
from tests.store.conftest import dataset_of, fill, writer_for

IDS = [f"{i}.png" for i in range(6)]


@pytest.fixture
def good(path: Path) -> Path:
    dataset = dataset_of(
        IDS,
        classes=["a", "b"],
        labels=np.eye(2, dtype=np.float32)[np.arange(6) % 2],
        meta={"group": np.array(list("ppqqrr"))},
    )
    with writer_for(path, IDS, dataset=dataset) as writer:
        fill(writer)
    return path


def replace(file: h5py.File, name: str, **made: object) -> None:
    del file[name]
    file.create_dataset(name, **made)


def external_link(file: h5py.File, tmp: Path) -> None:
    with h5py.File(tmp / "secret.h5", "w") as secret:
        secret["x"] = np.zeros((6, 5), dtype="<f4")
    del file["embeddings"]
    file["embeddings"] = h5py.ExternalLink(str(tmp / "secret.h5"), "x")


def soft_link(file: h5py.File, tmp: Path) -> None:
    file["elsewhere"] = h5py.ExternalLink(str(tmp / "secret.h5"), "/")
    del file["sha256"]
    file["sha256"] = h5py.SoftLink("/elsewhere/x")


def external_storage(file: h5py.File, tmp: Path) -> None:
    (tmp / "passwd").write_bytes(bytes(6 * 5 * 4))
    replace(
        file,
        "embeddings",
        shape=(6, 5),
        dtype="<f4",
        external=[(str(tmp / "passwd"), 0, h5py.h5f.UNLIMITED)],
    )


def virtual_dataset(file: h5py.File, tmp: Path) -> None:
    with h5py.File(tmp / "secret.h5", "w") as secret:
        secret["x"] = np.zeros((6, 5), dtype="<f4")
    layout = h5py.VirtualLayout((6, 5), "<f4")
    layout[:] = h5py.VirtualSource(str(tmp / "secret.h5"), "x", (6, 5))
    del file["embeddings"]
    file.create_virtual_dataset("embeddings", layout)


def meta_in_another_file(file: h5py.File, tmp: Path) -> None:
    del file["meta"]
    file["meta"] = h5py.ExternalLink(str(tmp / "secret.h5"), "/")


def column_in_another_file(file: h5py.File, tmp: Path) -> None:
    file["meta/age"] = h5py.ExternalLink(str(tmp / "secret.h5"), "x")


def endless_embeddings(file: h5py.File, tmp: Path) -> None:
    replace(file, "embeddings", shape=(6, 1 << 40), dtype="<f4", chunks=(1, 1024))


def bomb(file: h5py.File, tmp: Path) -> None:
    replace(file, "embeddings", shape=(6, 1 << 22), dtype="<f4", compression="gzip")


def endless_ids(file: h5py.File, tmp: Path) -> None:
    for name in list(file):
        if name != "meta":
            del file[name]
    rows = 1 << 40
    file.create_dataset("embeddings", shape=(rows, 5), dtype="<f4", chunks=(1024, 5))
    file.create_dataset("id", shape=(rows,), dtype="S8", chunks=(1024,))


def long_strings(file: h5py.File, tmp: Path) -> None:
    replace(file, "id", data=np.array(IDS, dtype=object), dtype=h5py.string_dtype())


def object_references(file: h5py.File, tmp: Path) -> None:
    references = np.array([file.ref] * 6, dtype=h5py.ref_dtype)
    replace(file, "status", data=references, dtype=h5py.ref_dtype)


def compound_status(file: h5py.File, tmp: Path) -> None:
    replace(file, "status", data=np.zeros(6, dtype=[("a", "u1"), ("b", "u1")]))


def group_for_embeddings(file: h5py.File, tmp: Path) -> None:
    del file["embeddings"]
    file.create_group("embeddings")


def fewer_status(file: h5py.File, tmp: Path) -> None:
    replace(file, "status", data=np.ones(5, dtype="u1"))


def no_status(file: h5py.File, tmp: Path) -> None:
    del file["status"]


def null_embeddings(file: h5py.File, tmp: Path) -> None:
    replace(file, "embeddings", data=h5py.Empty("<f4"))


def spec_is_no_object(file: h5py.File, tmp: Path) -> None:
    file.attrs["spec"] = "[1, 2]"


def spec_is_nested_too_deep(file: h5py.File, tmp: Path) -> None:
    file.attrs["spec"] = "[" * 30_000


def spec_was_edited(file: h5py.File, tmp: Path) -> None:
    file.attrs["spec"] = '{"backbone": "other"}'


def spec_is_a_number(file: h5py.File, tmp: Path) -> None:
    file.attrs["spec"] = 3


def version_is_an_array(file: h5py.File, tmp: Path) -> None:
    file.attrs["format_version"] = np.arange(5)


def version_to_come(file: h5py.File, tmp: Path) -> None:
    file.attrs["format_version"] = 2


def kind_unknown(file: h5py.File, tmp: Path) -> None:
    file["labels"].attrs["kind"] = "other"


def labels_without_names(file: h5py.File, tmp: Path) -> None:
    del file["labels"].attrs["names"]


def ids_twice(file: h5py.File, tmp: Path) -> None:
    file["id"][1] = file["id"][0]


def not_ours(file: h5py.File, tmp: Path) -> None:
    del file.attrs["format"]


HARM: dict[Callable[[h5py.File, Path], None], str] = {
    external_link: "points out of the file",
    soft_link: "points out of the file",
    external_storage: "points out of the file",
    virtual_dataset: "points out of the file",
    meta_in_another_file: "points out of the file",
    column_in_another_file: "points out of the file",
    endless_embeddings: "more data than it holds",
    endless_ids: "more data than it holds",
    bomb: "compressed",
    long_strings: "not text of fixed length",
    object_references: "of type",
    compound_status: "of type",
    group_for_embeddings: "not a dataset",
    fewer_status: "one row for each",
    no_status: "has no 'status'",
    null_embeddings: "not a dataset",
    spec_is_no_object: "not a JSON object",
    spec_is_nested_too_deep: "damaged",
    spec_was_edited: "fingerprint",
    spec_is_a_number: "not one text",
    version_is_an_array: "format None",
    version_to_come: "has format 2, this cxrfeat reads format 1",
    kind_unknown: "unknown kind",
    labels_without_names: "damaged",
    ids_twice: "not unique",
    not_ours: "not an embedding file",
}


@pytest.mark.parametrize("harm", HARM, ids=lambda harm: harm.__name__)
def test_harm_is_refused(good: Path, tmp_path: Path, harm: Callable[..., None]) -> None:
    with h5py.File(good, "r+") as file:
        harm(file, tmp_path)
    with pytest.raises(FileFormatError, match=HARM[harm]) as caught:
        load(good)
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(FileFormatError):
        writer_for(good, IDS)
    with contextlib.suppress(FileFormatError):
        assert not verify(good).sound
    assert [p.name for p in good.parent.iterdir()] == ["tiny.h5"]


def test_what_is_no_hdf5_file_is_refused(tmp_path: Path) -> None:
    for name, content in (
        ("empty.h5", b""),
        ("text.h5", b"id,label\n"),
        ("cut.h5", b"\x89HDF\r\n\x1a\n"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FileFormatError):
            load(tmp_path / name)
    with pytest.raises(FileFormatError, match="there is no file"):
        load(tmp_path / "none.h5")
    with pytest.raises(FileFormatError, match="is a folder: name one of"):
        load(tmp_path)


def test_a_truncated_file_is_refused_at_every_length(good: Path, tmp_path: Path) -> None:
    whole = good.read_bytes()
    rng = random.Random(0)
    for _ in range(40):
        good.write_bytes(whole[: rng.randrange(len(whole))])
        with pytest.raises(FileFormatError):
            load(good)


def test_what_a_file_has_beyond_the_format_is_ignored(good: Path) -> None:
    with h5py.File(good, "r+") as file:
        file["notes"] = h5py.ExternalLink("/nowhere.h5", "/x")
        file["extra"] = np.zeros(3)
    with load(good) as e:
        assert len(e.numpy()) == 6


FUZZ = """
import random, sys
from pathlib import Path
from cxrfeat.errors import CxrfeatError
from cxrfeat.store import known, load, verify

whole = Path(sys.argv[1]).read_bytes()
path = Path(sys.argv[2])
refused = read = 0
for seed in range(int(sys.argv[3]), int(sys.argv[4])):
    print(seed, flush=True)
    rng = random.Random(seed)
    data = bytearray(whole)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        kind, at = rng.randrange(4), rng.randrange(len(data))
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at] = rng.choice((0, 1, 127, 128, 255))
        elif kind == 2:
            length = rng.randrange(1, 64)
            data[at : at + length] = rng.randbytes(length)
        else:
            other = rng.randrange(len(data))
            length = rng.randrange(1, 256)
            data[at : at + length] = data[other : other + length]
    path.write_bytes(data)
    try:
        with load(path) as e:
            e.numpy(), e.sha256, e.errors, e[:]
        known(path)
        verify(path)
        read += 1
    except CxrfeatError:
        refused += 1
print("refused", refused, "read", read)
"""


def fuzz(good: Path, tmp_path: Path, first: int, last: int, seconds: float) -> None:
    # In a process of its own with little memory: a crash or a hang of HDF5 must show as such.
    limited = "import resource; resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))\n"
    done = subprocess.run(
        [sys.executable, "-c", limited + FUZZ, good, tmp_path / "bad.h5", str(first), str(last)],
        capture_output=True,
        text=True,
        timeout=seconds,
    )
    where = done.stdout.splitlines()[-1:]
    assert done.returncode == 0, f"seed {where}: {done.stderr[-2000:]}"
    words = where[0].split()
    assert int(words[1]) > 0
    assert int(words[1]) + int(words[3]) == last - first


def test_damaged_files_give_errors_of_our_own_kind_only(good: Path, tmp_path: Path) -> None:
    fuzz(good, tmp_path, 0, 300, seconds=60)


@pytest.mark.slow
def test_many_damaged_files_give_errors_of_our_own_kind_only(good: Path, tmp_path: Path) -> None:
    fuzz(good, tmp_path, 300, 20_000, seconds=1200)
