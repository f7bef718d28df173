"""What cannot be read is refused in one line that says where, and how to mend it."""

from __future__ import annotations

import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest

from cxrfeat.errors import CxrfeatError, FileFormatError, InputError
from cxrfeat.store import write
from tests.interchange.conftest import IDS, X, hdf5, reading


def table(folder: Path, *lines: str) -> Path:
    path = folder / "x.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["id,f0,f1", "a,1,2", "b,1,x y"], "column 'f1' has text .'x y'. in row 3"),
        (["id,f0,f1", "a,1,", "b,1,2"], "column 'f1' has a blank in row 2"),
        (["id,f0,f1"], "has no row"),
        (["id,f0,f1", "a,1,2,3"], "row of another length"),
        (["id,f0,f2", "a,1,2"], "'f0' to 'f2' but not 'f1'"),
        (["id,a0,a1,b0,b1", "a,1,2,3,4"], "columns 'a\\*' .2., 'b\\*' .2. could each be meant"),
        (["id,mean,sd", "a,1,2"], "no columns numbered like f0.*there are 'id', 'mean', 'sd'"),
        (["f0,f1", "1,2"], "does not say which images.*--ids FILE"),
        (["id,f0,f1", "a,1,2", "a,1,3", "b,1,1"], "1 ids stand twice or more .'a'."),
        (["id,f0,f1", ",1,2"], "row 1 has a blank id"),
    ],
)
def test_a_table_that_cannot_be_read(lines: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message) as raised:
        reading(table(tmp_path, *lines))
    assert "\n" not in str(raised.value)


def test_columns_that_are_not_numbered_are_named(tmp_path: Path) -> None:
    path = table(tmp_path, "id,mean, sd,b0, b1", "a,1,2,3,4")
    np.testing.assert_array_equal(reading(path, embedding="b*,mean,sd").X, [[3, 4, 1, 2]])
    with pytest.raises(InputError, match="unknown column 'maen': did you mean mean"):
        reading(path, embedding="maen")


def test_lists_of_different_length_name_the_row(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="needs cxrfeat[parquet]")
    from pyarrow import parquet
    from pyarrow import table as made

    path = tmp_path / "x.parquet"
    parquet.write_table(made({"id": ["a", "b"], "x": [[1.0, 2.0], [1.0]]}), path)
    with pytest.raises(InputError, match="has 1 numbers in row 2 and 2 in row 1"):
        reading(path)
    parquet.write_table(made({"id": ["a", "b"], "x": [[1.0, 2.0], None]}), path)
    with pytest.raises(InputError, match="blank in row 2"):
        reading(path)
    parquet.write_table(made({"id": ["a", "b"], "f0": [1.0, 2.0], "f1": ["1", "zwei"]}), path)
    with pytest.raises(InputError, match=r"column 'f1' has text .'zwei'. in row 2"):
        reading(path)


def test_files_of_different_length_name_the_file(tmp_path: Path) -> None:
    hdf5(tmp_path / "many" / "1.h5", features=X[0])
    hdf5(tmp_path / "many" / "2.h5", features=X[0, :3])
    with pytest.raises(InputError, match="'2' has 3 numbers, '1' 4"):
        reading(tmp_path / "many")
    with pytest.raises(InputError, match=r"2.h5' has 3 numbers a row, .*1.h5' 4"):
        reading(tmp_path / "many" / "1.h5", tmp_path / "many" / "2.h5")


def test_ids_of_another_number_than_rows(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    (tmp_path / "ids.txt").write_text("a\nb\n")
    with pytest.raises(InputError, match=r"has 2 ids and .* 3 rows"):
        reading(tmp_path / "x.npy", ids=tmp_path / "ids.txt")
    np.savez(tmp_path / "x.npz", features=X, ids=np.array(["a", "b"]))
    with pytest.raises(InputError, match="has 2 ids for 3 rows"):
        reading(tmp_path / "x.npz")
    np.savez(tmp_path / "two.npz", one=X, two=X, ids=np.array(IDS))
    with pytest.raises(InputError, match=r"'one' .* 'two' .*--embedding"):
        reading(tmp_path / "two.npz")


class Hostile:
    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path("ran"),)


@pytest.mark.parametrize("kind", ["pt", "pkl", "npy", "npz"])
def test_what_can_hold_code_is_never_opened(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"x.{kind}"
    if kind in ("pt", "pkl"):
        path.write_bytes(pickle.dumps(Hostile()))
    elif kind == "npy":
        np.save(path, np.array([Hostile()], dtype=object), allow_pickle=True)
    else:
        np.savez(path, features=X, ids=np.array([Hostile()] * 3, dtype=object))
    with pytest.raises(InputError, match="never opened"):
        reading(path)
    assert not Path("ran").exists()


def test_a_file_that_is_nothing_of_the_kind(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no file"):
        reading(tmp_path / "none.csv")
    (tmp_path / "x.npz").write_bytes(b"")
    with pytest.raises(InputError, match="is empty"):
        reading(tmp_path / "x.npz")
    (tmp_path / "x.doc").write_bytes(b"something else")
    with pytest.raises(InputError, match="no format that is read here"):
        reading(tmp_path / "x.doc")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="it holds nothing"):
        reading(tmp_path / "folder")
    write(tmp_path / "ours.h5", X, IDS)
    with pytest.raises(InputError, match="is an embedding file already"):
        reading(tmp_path / "ours.h5")


@pytest.mark.parametrize("kind", ["h5", "npz", "npy", "parquet"])
def test_a_damaged_file_is_one_line(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{kind}"
    if kind == "h5":
        hdf5(path, features=X, ids=IDS)
    elif kind == "npz":
        np.savez(path, features=X, ids=np.array(IDS))
    elif kind == "npy":
        np.save(path, X)
    else:
        parquet = pytest.importorskip("pyarrow.parquet", reason="needs cxrfeat[parquet]")
        import pyarrow

        parquet.write_table(pyarrow.table({"id": IDS, "x": X.tolist()}), path)
    whole = path.read_bytes()
    for length in (9, len(whole) // 2, len(whole) - 9):
        path.write_bytes(whole[:length])
        with pytest.raises(CxrfeatError) as raised:
            reading(path)
        assert "\n" not in str(raised.value)


def test_nothing_is_followed_out_of_an_hdf5_file(tmp_path: Path) -> None:
    hdf5(tmp_path / "secret.h5", features=X, ids=IDS)
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["features"] = h5py.ExternalLink("secret.h5", "/features")
    with pytest.raises(InputError, match="'features' is a link"):
        reading(tmp_path / "link.h5")
    layout = h5py.VirtualLayout(X.shape, X.dtype)
    layout[...] = h5py.VirtualSource(tmp_path / "secret.h5", "features", X.shape)
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        file.create_virtual_dataset("features", layout)
    with pytest.raises(InputError, match="lie in another file"):
        reading(tmp_path / "virtual.h5")
    with h5py.File(tmp_path / "bomb.h5", "w") as file:
        file.create_dataset("features", (10**9, 10**6), "f4", chunks=(1, 10**6))
        file["ids"] = IDS
    with pytest.raises(InputError, match="GB, more than"):
        reading(tmp_path / "bomb.h5")


def test_what_would_fill_the_memory_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with h5py.File(tmp_path / "sparse.h5ad", "w") as file:
        file.attrs["encoding-type"] = "anndata"
        group = file.create_group("X")
        group.attrs.update({"encoding-type": "csc_matrix", "shape": (10**7, 10**6)})
        group["data"], group["indices"] = [1.0], [0]
        group["indptr"] = np.minimum(np.arange(10**6 + 1), 1)
        file["obs/_index"] = ["a"]
    with pytest.raises(InputError, match="GB, more than"):
        reading(tmp_path / "sparse.h5ad")
    np.savez_compressed(tmp_path / "packed.npz", features=np.zeros((3, 10_000)), ids=np.array(IDS))
    monkeypatch.setattr("cxrfeat.interchange.outside.usable_memory", lambda: 200_000)
    assert (tmp_path / "packed.npz").stat().st_size < 2_000
    with pytest.raises(InputError, match="GB, more than"):
        reading(tmp_path / "packed.npz")


def test_a_sparse_matrix_that_points_out_of_itself_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5ad", "w") as file:
        file.attrs["encoding-type"] = "anndata"
        group = file.create_group("X")
        group.attrs.update({"encoding-type": "csr_matrix", "shape": (2, 2)})
        group["data"], group["indices"], group["indptr"] = [1.0, 2.0], [0, 10**6], [0, 1, 2]
        file["obs/_index"] = ["a", "b"]
    with pytest.raises(FileFormatError, match="cannot be read as HDF5"):
        reading(tmp_path / "x.h5ad")
