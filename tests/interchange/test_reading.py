"""Every layout that other programs write embeddings in is read as the same numbers and ids."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from cxrfeat import interchange
from cxrfeat.errors import InputError
from tests.interchange.conftest import IDS, X, hdf5, reading

STEMS = [Path(id_).stem for id_ in IDS]


def parquet_of(path: Path, columns: dict[str, object]) -> Path:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs cxrfeat[parquet]")
    import pyarrow

    parquet.write_table(pyarrow.table(columns), path)
    return path


def as_tsv(folder: Path) -> Path:
    path = folder / "x.tsv"
    rows = ["\t".join(["", *"0123"])]
    rows += ["\t".join([id_, *map(str, row)]) for id_, row in zip(IDS, X, strict=True)]
    path.write_text("\n".join(rows), encoding="utf-8")
    return path


def as_columns(folder: Path) -> Path:
    columns = {f"emb_{i}": X[:, i] for i in (3, 1, 0, 2)}
    return parquet_of(folder / "x.parquet", {"filename": IDS, **columns, "view": ["PA"] * 3})


def as_list_column(folder: Path) -> Path:
    return parquet_of(folder / "x.parquet", {"path": IDS, "vector": X.tolist()})


def as_npz(folder: Path) -> Path:
    np.savez(folder / "x.npz", feats=X.astype(np.float64), filenames=np.array(IDS), fold=[1, 2, 3])
    return folder / "x.npz"


def as_matrix(folder: Path) -> Path:
    return hdf5(folder / "x.h5", embeddings=X, ids=IDS, coordinates=np.zeros((3, 2)))


def as_thingsvision(folder: Path) -> Path:
    (folder / "file_names.txt").write_text("\n".join(IDS) + "\n", encoding="utf-8")
    return hdf5(folder / "features.hdf5", features=X)


def as_split_thingsvision(folder: Path) -> Path:
    (folder / "file_names.txt").write_text("\n".join(IDS), encoding="utf-8")
    return hdf5(folder / "features.hdf5", features_01=X[:2], features_02=X[2:])


def as_thingsvision_folder(folder: Path) -> Path:
    (folder / "file_names.txt").write_text("\n".join(IDS), encoding="utf-8")
    np.save(folder / "features.npy", X)
    return folder


def as_groups(folder: Path) -> Path:
    return hdf5(
        folder / "x.h5",
        **{f"{id_}__features": row for id_, row in zip(IDS, X, strict=True)},
        **{f"{id_}__coords": np.zeros((5, 2)) for id_ in IDS},
    )


def as_datasets(folder: Path) -> Path:
    return hdf5(folder / "x.h5", **{id_: row[None] for id_, row in zip(IDS, X, strict=True)})


@pytest.mark.parametrize(
    "written",
    [
        *(as_tsv, as_columns, as_list_column, as_npz, as_matrix, as_thingsvision),
        *(as_split_thingsvision, as_thingsvision_folder, as_groups, as_datasets),
    ],
)
def test_a_layout_is_read_whole(written: Callable[[Path], Path], tmp_path: Path) -> None:
    found = reading(written(tmp_path))
    assert found.X.dtype == np.float32
    row_of = dict(zip(found.ids or [], found.X, strict=True))
    assert sorted(row_of) == sorted(IDS)
    np.testing.assert_array_equal([row_of[id_] for id_ in IDS], X)


def test_a_csv_of_the_test_folder_is_read_with_what_else_it_says(csv: Path) -> None:
    found = reading(csv)
    assert (found.format, found.ids, found.columns) == ("CSV", IDS, {"age": ["50"] * 3})
    np.testing.assert_array_equal(found.X, X)


@pytest.mark.parametrize("program", ["TRIDENT", "STAMP"])
def test_a_file_for_each_image_is_one_row(program: str, tmp_path: Path) -> None:
    """TRIDENT: `features`, `coords` of the patches; STAMP: `feats`, the encoder an attribute."""
    for stem, row in zip(STEMS, X, strict=True):
        if program == "TRIDENT":
            path = hdf5(tmp_path / "slides" / f"{stem}.h5", features=row, coords=np.ones((9, 2)))
        else:
            path = hdf5(tmp_path / "slides" / f"{stem}.h5", feats=row[None].astype(np.float16))
        with h5py.File(path, "r+") as file:
            owner = file["features"] if program == "TRIDENT" else file
            owner.attrs["encoder"] = "titan"
    if program == "TRIDENT":  # an older file does not say its encoder
        with h5py.File(tmp_path / "slides" / f"{STEMS[0]}.h5", "r+") as file:
            del file["features"].attrs["encoder"]
    found = reading(tmp_path / "slides")
    assert (found.ids, found.encoder, len(found.files)) == (sorted(STEMS), "titan", 3)
    expected = X if program == "TRIDENT" else X.astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(found.X, expected)
    alone = reading(tmp_path / "slides" / f"{STEMS[1]}.h5")
    assert alone.ids == [STEMS[1]]


def test_patches_are_refused_unless_their_mean_is_asked_for(tmp_path: Path) -> None:
    for stem in STEMS:
        hdf5(tmp_path / f"{stem}.h5", feats=X, coords=np.zeros((3, 2)))
    with pytest.raises(InputError, match=r"3 rows, of patches.*--patches mean"):
        reading(tmp_path)
    np.testing.assert_array_almost_equal(reading(tmp_path, patches="mean").X[0], X.mean(axis=0))


@pytest.mark.parametrize("kind", ["txt", "csv", "npy"])
def test_ids_come_from_a_file_of_their_own(kind: str, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    ids = tmp_path / f"ids.{kind}"
    if kind == "npy":
        np.save(ids, np.array(IDS))
    else:
        head = "image\n" if kind == "csv" else ""
        ids.write_text(head + "\n".join(IDS) + "\n", encoding="utf-8")
    found = reading(tmp_path / "x.npy", ids=ids)
    assert found.ids == IDS
    assert found.files == [tmp_path / "x.npy", ids]


def test_rows_of_several_files_stand_one_after_another(tmp_path: Path, csv: Path) -> None:
    more = tmp_path / "more.csv"
    more.write_text("image,f0,f1,f2,f3,view\nz.png,1,2,3,4,PA\n", encoding="utf-8")
    found = reading(csv, more)
    assert found.ids == [*IDS, "z.png"]
    assert found.columns == {"age": ["50"] * 3 + [""], "view": [""] * 3 + ["PA"]}


def anndata_of(path: Path, sparse: bool = False) -> Path:
    """A file as anndata 0.12 lays it out, with a categorical and a blank number in `obs`."""
    with h5py.File(path, "w") as file:
        file.attrs["encoding-type"] = "anndata"
        if sparse:
            group = file.create_group("X")
            group.attrs.update({"encoding-type": "csr_matrix", "shape": X.shape})
            group["data"], group["indices"] = X.reshape(-1), np.tile(np.arange(4), 3)
            group["indptr"] = np.arange(4) * 4
        else:
            file["X"] = X
        file["obsm/X_pca"] = X[:, :2]
        file["var/_index"] = ["1", "2", "3", "4"]
        obs = file.create_group("obs")
        obs.attrs["_index"] = "names"
        obs["names"] = IDS
        obs["finding/codes"], obs["finding/categories"] = [0, 1, -1], ["a", "b"]
        obs["finding"].attrs["encoding-type"] = "categorical"
        obs["age"] = [30.0, np.nan, 41.0]
    return path


@pytest.mark.parametrize("sparse", [False, True])
def test_anndata_is_read_with_its_observations(sparse: bool, tmp_path: Path) -> None:
    path = anndata_of(tmp_path / "x.h5ad", sparse)
    found = reading(path)
    assert (found.format, found.ids) == ("AnnData", IDS)
    assert found.columns == {"finding": ["a", "b", ""], "age": ["30", "", "41"]}
    np.testing.assert_array_equal(found.X, X)
    np.testing.assert_array_equal(reading(path, embedding="X_pca").X, X[:, :2])


@pytest.mark.parametrize("kind", ["npz", "h5", "parquet"])
def test_numbers_beside_the_embeddings_are_taken_as_people_write_them(
    kind: str, tmp_path: Path
) -> None:
    path = tmp_path / f"x.{kind}"
    beside = {"age": [63.0, np.nan, 5.0], "dose": [0.5, np.inf, 2.0], "visits": [1.0, np.inf, 3.0]}
    arrays = {name: np.array(values) for name, values in beside.items()}
    if kind == "npz":
        np.savez(path, features=X, ids=np.array(IDS), **arrays)
    elif kind == "h5":
        hdf5(path, features=X, ids=IDS, **arrays)
    else:
        parquet_of(path, {"id": IDS, "features": X.tolist(), **arrays})
    assert reading(path).columns == {
        "age": ["63", "", "5"],
        "dose": ["0.5", "inf", "2.0"],
        "visits": ["1", "inf", "3"],
    }


def test_every_reader_says_what_it_is_for() -> None:
    assert set(interchange.READERS) == {"csv", "parquet", "npy", "npz", "hdf5", "folder"}
