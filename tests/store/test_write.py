"""`cxrfeat.write`: an embedding file out of arrays, without knowing format 1."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cxrfeat
from cxrfeat.errors import InputError, SpecMismatchError
from cxrfeat.store import load, verify

IDS = ["a/1.png", "b/2.png", "b/3.png", "c/4.png"]
X = np.arange(12, dtype=np.float64).reshape(4, 3) / 7


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "own.h5"


def test_arrays_become_a_file(path: Path) -> None:
    made = cxrfeat.write(
        path, X, IDS, labels=["a", "b", None, "a"], groups=[1, 1.0, None, "x"],
        columns={"view": ["PA", "AP", "", "PA"]}, sha256=["A" * 64, "", "b" * 64, None],
        spec={"name": "own"},
    )  # fmt: skip
    assert made == path
    assert verify(path).sound
    with load(path) as e:
        np.testing.assert_array_equal(e.numpy(), X.astype(np.float32))
        assert (e.ids, e.classes, e.kind) == (IDS, ["a", "b"], "multiclass")
        np.testing.assert_array_equal(e.labels, [[1, 0], [0, 1], [np.nan] * 2, [1, 0]])
        assert e.meta["group"].tolist() == ["1", "1", "", "x"]
        assert e.meta["view"].tolist() == ["PA", "AP", "", "PA"]
        assert e.sha256 == ["a" * 64, "", "b" * 64, ""]
        assert e.spec == {"encoder": {"name": "own"}, "origin": "outside"}


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([[1, 0], [0, 1], [np.nan, 1], [0, 0]], ["x", "y"]),
        ("frame", None),
    ],
)
def test_a_label_matrix_is_several_labels(path: Path, labels: Any, classes: Any) -> None:
    if labels == "frame":
        pandas = pytest.importorskip("pandas")
        labels = pandas.DataFrame({"x": [1, 0, None, 0], "y": [0, 1, 1, 0]})
    cxrfeat.write(path, X, IDS, labels=labels, classes=classes)
    with load(path) as e:
        assert (e.kind, e.classes) == ("multilabel", ["x", "y"])
        np.testing.assert_array_equal(e.labels, [[1, 0], [0, 1], [np.nan, 1], [0, 0]])


def test_a_frame_brings_its_ids(path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, index=IDS, columns=["p", "q", "r"])
    cxrfeat.write(path, frame, labels=pandas.Series(["a", "b", pandas.NA, "b"]))
    with load(path) as e:
        assert e.ids == IDS
        np.testing.assert_array_equal(e.numpy(), X.astype(np.float32))
        assert np.isnan(e.labels[2]).all()
    with pytest.raises(InputError, match="column 'r' of X holds no numbers"):
        cxrfeat.write(path, frame.assign(r="text"))


def test_whole_numbers_count_classes(path: Path) -> None:
    cxrfeat.write(path, X, IDS, labels=np.array([2, 0, -1, 2]), classes=["a", "b", "c"])
    with load(path) as e:
        assert e.classes == ["a", "b", "c"]
        np.testing.assert_array_equal(e.labels.argmax(axis=1)[[0, 1, 3]], [2, 0, 2])
        assert np.isnan(e.labels[2]).all()


def with_nan() -> np.ndarray:
    broken = X.copy()
    broken[[1, 3], 0] = np.nan, 1e300
    return broken


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"X": with_nan()}, r"2 of 4 rows have NaN or infinity \('b/2.png', 'c/4.png'\)"),
        ({"X": X[0]}, "one row per image"),
        ({"X": X[:0], "ids": []}, "no embedding"),
        ({"X": [["a"]]}, "no matrix of numbers"),
        ({"ids": IDS[:3]}, "X has 4 rows and there are 3 ids"),
        ({"ids": [*IDS[:3], IDS[0]]}, "the id 'a/1.png' is empty or stands twice"),
        ({"ids": None}, "ids are needed"),
        ({"labels": ["a"]}, "labels has 1 values for 4 ids"),
        ({"labels": np.eye(4)[:, :2]}, "needs names: give `classes`"),
        ({"labels": np.full((4, 1), 2), "classes": ["x"]}, "holds 0, 1, or NaN"),
        ({"labels": [3, 0, 0, 0], "classes": ["a"]}, "count 1 classes"),
        ({"labels": ["a", "b", "b", "c"], "classes": ["a", "b"]}, "'c' is a label and not one of"),
        ({"groups": "abcd"}, "groups has 4 values"),
        ({"sha256": ["1"] * 4}, "'1' is no sha256"),
        ({"sha256": ["é" * 64] * 4}, "'ééé.*' is no sha256"),
        ({"spec": {"x": X}}, "no plain JSON"),
    ],
)
def test_what_cannot_be_written_is_refused(path: Path, arguments: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        cxrfeat.write(path, **{"X": X, "ids": IDS, **arguments})
    assert not path.exists()


def test_a_file_keeps_its_numbers(path: Path) -> None:
    cxrfeat.write(path, X, IDS, labels=["a", "b", "a", "b"])
    first = load(path).fingerprint
    cxrfeat.write(path, X, IDS, labels=["b", "b", "a", "b"])  # labels may change
    with load(path) as e:
        assert (e.labels.argmax(axis=1).tolist(), e.fingerprint) == ([1, 1, 0, 1], first)
    with pytest.raises(SpecMismatchError, match=r"source.sha256"):
        cxrfeat.write(path, X + 1, IDS)
    stated = path.with_name("stated.h5")
    cxrfeat.write(stated, X[:3], IDS[:3], spec={"name": "own"})
    with pytest.raises(InputError, match=r"holds other numbers of 2 images .* say in the spec"):
        cxrfeat.write(stated, np.vstack([X[:1], X[1:3] + 1]), IDS[:3], spec={"name": "own"})
    cxrfeat.write(stated, X[1:], IDS[1:], spec={"name": "own"})
    with load(stated) as e:
        assert (e.ids, e.gone.tolist()) == ([*IDS[1:], IDS[0]], [False, False, False, True])
        np.testing.assert_array_equal(e.numpy(IDS), X.astype(np.float32))
    assert verify(stated).sound


DOCUMENT = Path(__file__).parents[2] / "docs" / "import.md"


@pytest.mark.skipif(not DOCUMENT.is_file(), reason="the documents are not part of the package")
def test_the_example_of_the_document_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    example = re.search(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.S)
    assert example
    exec(example[1], {})
    with load("embeddings/own.h5") as e:
        assert (e.classes, len(e), e.dimension) == (["covid", "normal"], 4, 8)
        assert e.meta["group"].tolist() == ["p1", "p1", "p2", "p3"]
        assert e.spec["encoder"]["name"] == "my network"
