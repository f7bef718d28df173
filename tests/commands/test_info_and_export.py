from __future__ import annotations

import csv
import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from cxrfeat.commands.export import export
from cxrfeat.commands.info import info
from cxrfeat.errors import InputError, UnknownNameError
from cxrfeat.inputs import Dataset
from cxrfeat.store import load, open_writer

IDS = ["a/1.png", "b/tab\tü.png", "b/3.png", "c/4.png"]
VECTORS = np.random.default_rng(0).standard_normal((4, 7)).astype(np.float32)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "vgg16.h5"
    dataset = Dataset(
        ids=IDS,
        paths=[],
        classes=["a", "b"],
        labels=np.array([[1, 0], [0, 1], [0, 1], [np.nan, np.nan]], dtype=np.float32),
        meta={"group": np.array(["p", "q", "q", ""]), "label": np.array(["1", "2", "3", "4"])},
    )
    with open_writer(
        path, spec={"backbone": "vgg16"}, dataset=dataset, dimension=7, environment={"torch": "2"}
    ) as writer:
        writer.write(IDS[:2], VECTORS[:2], ["0" * 64, "1" * 64])
        writer.fail(IDS[2], "truncated", "ends early")
        writer.write(IDS[3:], VECTORS[3:], ["3" * 64])
    return path


DONE = [0, 1, 3]


def test_info_describes_a_file(file: Path) -> None:
    found = info(file)
    assert (found.name, found.rows, found.done, found.failed, found.pending) == (
        "vgg16",
        4,
        3,
        1,
        0,
    )
    assert found.bytes == file.stat().st_size
    assert found.classes == {"a": 1, "b": 2}
    assert (found.kind, found.unlabelled, found.groups) == ("multiclass", 1, 2)
    assert found.columns == {"group": 3, "label": 4}
    assert found.failures == {"truncated": 1}
    assert found.environment == {"torch": "2"}
    assert (found.storage, found.rounding) == ("float32", None)


def test_parquet_is_read_back_by_pyarrow(file: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs cxrfeat[parquet]")
    done = export(file)
    assert (done.path, done.rows, done.left_out) == (file.with_suffix(".parquet"), 3, 1)
    table = parquet.read_table(done.path)
    assert table["id"].to_pylist() == [IDS[row] for row in DONE]
    assert table["label"].to_pylist() == ["a", "b", ""]
    assert table["meta_label"].to_pylist() == ["1", "2", "4"]
    assert table["group"].to_pylist() == ["p", "q", ""]
    np.testing.assert_array_equal(
        np.array(table["embedding"].to_pylist(), np.float32), VECTORS[DONE]
    )
    assert json.loads(table.schema.metadata[b"cxrfeat"])["spec"] == {"backbone": "vgg16"}


def test_npz_is_read_back_without_pickle(file: Path) -> None:
    done = export(file, to="npz")
    with np.load(done.path, allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["embeddings"], VECTORS[DONE])
        assert arrays["ids"].tolist() == [IDS[row] for row in DONE]
        np.testing.assert_array_equal(arrays["labels"], [[1, 0], [0, 1], [np.nan, np.nan]])
        assert arrays["classes"].tolist() == ["a", "b"]
        assert arrays["meta_group"].tolist() == ["p", "q", ""]
        with load(file) as e:
            assert json.loads(str(arrays["provenance"]))["fingerprint"] == e.fingerprint


def test_csv_keeps_every_bit_of_a_float32(file: Path) -> None:
    done = export(file, to="csv", out=file.parent / "deep" / "table.csv")
    with done.path.open(newline="", encoding="utf-8") as text:
        rows = list(csv.DictReader(text))
    assert [row["id"] for row in rows] == [IDS[row] for row in DONE]
    assert [row["label_b"] for row in rows] == ["0", "1", ""]
    vectors = np.array([[row[f"embedding_{i}"] for i in range(7)] for row in rows], np.float32)
    np.testing.assert_array_equal(vectors, VECTORS[DONE])
    provenance = json.loads((done.path.parent / "table.csv.json").read_text())
    assert provenance["environment"] == {"torch": "2"}


def test_tensorboard_files_have_a_line_for_each_embedding(file: Path) -> None:
    done = export(file, to="tensorboard")
    vectors = np.loadtxt(done.path / "tensors.tsv", delimiter="\t", dtype=np.float32)
    np.testing.assert_array_equal(vectors, VECTORS[DONE])
    header, *lines = (done.path / "metadata.tsv").read_text(encoding="utf-8").splitlines()
    names = header.split("\t")
    assert [dict(zip(names, line.split("\t"), strict=True))["id"] for line in lines] == [
        "a/1.png",
        "b/tab ü.png",
        "c/4.png",
    ]
    assert '"tensors.tsv"' in (done.path / "projector_config.pbtxt").read_text()


def test_pandas_polars_and_datasets_open_the_parquet(file: Path) -> None:
    """Polars and datasets are no dependencies of the tests: they skip, and were tried by hand."""
    pytest.importorskip("pyarrow", reason="needs cxrfeat[parquet]")
    path = export(file).path
    pandas = pytest.importorskip("pandas", reason="needs cxrfeat[pandas]")
    frame = pandas.read_parquet(path)
    np.testing.assert_array_equal(np.stack(frame["embedding"]), VECTORS[DONE])
    polars = pytest.importorskip("polars", reason="needs polars")
    table = polars.read_parquet(path)
    assert table.schema["embedding"] == polars.Array(polars.Float32, 7)
    np.testing.assert_array_equal(table["embedding"].to_numpy(), VECTORS[DONE])
    datasets = pytest.importorskip("datasets", reason="needs datasets")
    rows = datasets.Dataset.from_parquet(str(path), cache_dir=str(file.parent / "cache"))
    np.testing.assert_array_equal(np.array(rows["embedding"][:], np.float32), VECTORS[DONE])


def test_parquet_holds_lists_of_one_length(file: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs cxrfeat[parquet]")
    kind = parquet.read_table(export(file).path).schema.field("embedding").type
    assert str(kind) == "fixed_size_list<element: float>[7]"


def test_anndata_is_laid_out_by_its_specification(file: Path) -> None:
    done = export(file, to="anndata")
    assert done.path == file.with_suffix(".h5ad")
    with h5py.File(done.path) as made:
        assert dict(made.attrs) == {"encoding-type": "anndata", "encoding-version": "0.1.0"}
        np.testing.assert_array_equal(made["X"][:], VECTORS[DONE])
        obs = made["obs"]
        assert obs.attrs["encoding-type"] == "dataframe"
        assert obs[obs.attrs["_index"]].asstr()[:].tolist() == [IDS[row] for row in DONE]
        assert set(obs.attrs["column-order"]) == set(obs) - {"_index"}
        assert obs["label"].asstr()[:].tolist() == ["a", "b", ""]
        assert json.loads(made["uns/spec"].asstr()[()]) == {"backbone": "vgg16"}


def test_anndata_opens_the_export(file: Path) -> None:
    """Anndata is no dependency of the tests: this skips, and was tried by hand."""
    anndata = pytest.importorskip("anndata", reason="needs anndata")
    read = anndata.read_h5ad(export(file, to="anndata").path)
    np.testing.assert_array_equal(read.X, VECTORS[DONE])
    assert read.obs_names.tolist() == [IDS[row] for row in DONE]
    assert read.obs["group"].tolist() == ["p", "q", ""]
    assert json.loads(read.uns["spec"]) == {"backbone": "vgg16"}


@pytest.mark.parametrize("to", ["parquet", "npz", "csv", "anndata", "tensorboard"])
def test_a_file_without_embeddings_can_be_exported(tmp_path: Path, to: str) -> None:
    path = tmp_path / "empty.h5"
    with open_writer(path, spec={}, dataset=Dataset(ids=["1"], paths=[]), dimension=3):
        pass
    assert export(path, to=to).rows == 0


def test_an_export_never_writes_over_a_file(file: Path) -> None:
    export(file, to="csv")
    with pytest.raises(InputError, match="exists already"):
        export(file, to="csv")
    with pytest.raises(UnknownNameError, match="parquet"):
        export(file, to="parket")
