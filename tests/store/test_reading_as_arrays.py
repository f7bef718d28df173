"""An open file, or a folder of them, as scikit-learn and pandas want it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import cxrfeat
from cxrfeat.errors import InputError
from cxrfeat.store import AlignedEmbeddings, Embeddings
from tests.store.conftest import dataset_of, fill, sha_of, writer_for

IDS = ["a/1.png", "b/2.png", "b/3.png", "c/4.png"]
X = np.arange(12, dtype=np.float32).reshape(4, 3)


def one(path: Path, **options: object) -> Embeddings:
    opened = cxrfeat.load(cxrfeat.write(path, X, IDS, **options))  # type: ignore[arg-type]
    assert isinstance(opened, Embeddings)
    return opened


def test_y_is_the_number_of_each_class(tmp_path: Path) -> None:
    with one(tmp_path / "x.h5", labels=["q", "p", None, "q"]) as e:
        assert e.y.tolist() == [1, 0, -1, 1]
        assert [e.classes[i] for i in e.y[[0, 1]]] == ["q", "p"]
        assert e.shape == e.numpy().shape == (4, 3)


def test_y_of_several_labels_is_their_matrix(tmp_path: Path) -> None:
    labels = np.array([[1, 0], [0, np.nan], [1, 1], [0, 0]])
    with one(tmp_path / "x.h5", labels=labels, classes=["u", "v"]) as e:
        np.testing.assert_array_equal(e.y, labels)
    with one(tmp_path / "bare.h5") as e, pytest.raises(InputError, match="has no labels"):
        _ = e.y


def test_y_and_shape_are_of_the_rows_that_are_done(path: Path) -> None:
    labels = np.eye(2, dtype=np.float32)[[0, 1, 1]]
    dataset = dataset_of(IDS[:3], classes=["p", "q"], labels=labels)
    with writer_for(path, [], dataset=dataset) as writer:
        fill(writer, [IDS[0], IDS[2]])
        writer.fail(IDS[1], "truncated", "ends early", sha_of(IDS[1]))
    with cxrfeat.load(path) as e:
        assert (e.shape, e.y.tolist()) == ((2, 5), [0, 1])
        assert isinstance(e, Embeddings)


def test_pandas_gets_what_a_csv_has(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="needs cxrfeat[pandas]")
    with one(tmp_path / "x.h5", labels=["q", "p", None, "q"], groups=[1, 1, 2, 2]) as e:
        frame = e.to_pandas()
    assert frame.index.tolist() == IDS
    assert frame.index.name == "id"
    assert frame["label"].tolist() == ["q", "p", "", "q"]
    np.testing.assert_array_equal(frame.filter(like="embedding_").to_numpy(), X)
    exported = cxrfeat.export(tmp_path / "x.h5", to="csv").path
    assert pandas.read_csv(exported, index_col="id").columns.tolist() == frame.columns.tolist()


def test_a_folder_is_its_files_aligned_by_id(tmp_path: Path) -> None:
    cxrfeat.write(tmp_path / "a.h5", X, IDS, groups=list("pqrs"))
    order = [3, 1, 0]
    cxrfeat.write(
        tmp_path / "b.h5", 10 * X[order, :2], [IDS[i] for i in order], labels=["u", "v", "w"]
    )
    with cxrfeat.load(tmp_path) as files:
        assert isinstance(files, AlignedEmbeddings)
        assert (list(files), files.ids) == (["a", "b"], [IDS[0], IDS[1], IDS[3]])
        np.testing.assert_array_equal(files["b"], 10 * files["a"][:, :2])
        assert (files.classes, files.y.tolist()) == (["u", "v", "w"], [2, 1, 0])
        assert files.groups is not None
        assert files.groups.tolist() == ["p", "q", "s"]
        if pytest.importorskip("pandas", reason="needs cxrfeat[pandas]"):
            frame = files.to_pandas()
            assert frame["label"].tolist() == ["w", "v", "u"]
            np.testing.assert_array_equal(frame[["b_0", "b_1"]], files["b"])
        with pytest.raises(KeyError):
            files["c"]


def test_files_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    cxrfeat.write(tmp_path / "a.h5", X, IDS, sha256=["1" * 64] * 4)
    cxrfeat.write(tmp_path / "b.h5", X, IDS, sha256=["2" * 64] * 4)
    with pytest.raises(InputError, match="is another image in"):
        cxrfeat.load(tmp_path)
    cxrfeat.write(tmp_path / "other" / "a.h5", X[:2], IDS[:2])
    cxrfeat.write(tmp_path / "other" / "b.h5", X[2:], IDS[2:])
    with pytest.raises(InputError, match="have no finished image in common"):
        cxrfeat.load(tmp_path / "other")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no embedding file"):
        cxrfeat.load(tmp_path / "empty")
