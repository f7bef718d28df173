"""Files are joined by image id, whatever the order and the gaps of each."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrfeat.errors import InputError
from cxrfeat.evaluation.study import mapping
from cxrfeat.evaluation.study.alignment import align
from cxrfeat.inputs import LabelKind


@dataclass(eq=False)
class File:
    """An embedding file in memory."""

    name: str
    ids: list[str]
    X: np.ndarray
    status: np.ndarray
    gone: np.ndarray
    sha256: list[str]
    labels: np.ndarray | None
    meta: dict[str, np.ndarray]
    classes: list[str] = field(default_factory=lambda: ["Mass", "Effusion"])
    kind: LabelKind = "multilabel"
    patient_key: str = ""
    spec: dict[str, Any] = field(default_factory=dict)
    fingerprint: str = ""

    @property
    def path(self) -> Path:
        return Path(self.name)

    @property
    def dimension(self) -> int:
        return self.X.shape[1]

    def numpy(self, ids: Sequence[str] | None = None) -> np.ndarray:
        return self.X[[self.ids.index(id_) for id_ in ids or self.ids]]


def drawn(name: str, n: int, random: np.random.Generator, *, labelled: bool = True) -> File:
    """Some of the images 0 to 29, in any order; what is known of an image follows from its id."""
    numbers = random.permutation(30)[:n]
    labels = np.stack([numbers % 2, numbers % 3 == 0], axis=1).astype(np.float32)
    labels[numbers % 5 == 0] = np.nan
    return File(
        name=name,
        ids=[f"{i}.png" for i in numbers],
        X=np.stack([numbers, numbers**2], axis=1).astype(np.float32),
        status=random.choice([0, 1, 1, 1, 2], n).astype(np.uint8),
        gone=random.random(n) < 0.1,
        sha256=["" if random.random() < 0.2 else f"sha of {i}" for i in numbers],
        labels=labels if labelled else None,
        meta={"group": np.array([f"p{i // 3}" if i % 4 else "" for i in numbers])},
    )


@given(
    seed=st.integers(0, 10_000),
    sizes=st.lists(st.integers(20, 30), min_size=1, max_size=3),
    labelled=st.lists(st.booleans(), min_size=3, max_size=3),
    include_gone=st.booleans(),
)
def test_joined_are_the_images_that_every_file_has(
    seed: int, sizes: list[int], labelled: list[bool], include_gone: bool
) -> None:
    random = np.random.default_rng(seed)
    files = [drawn(f"f{k}", n, random, labelled=labelled[k]) for k, n in enumerate(sizes)]
    usable = [
        {
            id_
            for id_, status, gone in zip(file.ids, file.status, file.gone, strict=True)
            if status == 1 and (include_gone or not gone)
        }
        for file in files
    ]
    wanted = [id_ for id_ in files[0].ids if all(id_ in of for of in usable)]
    wanted = [id_ for id_ in wanted if int(id_[:-4]) % 5]
    if not any(labelled[: len(files)]) or not wanted:
        with pytest.raises(InputError):
            align(files, include_gone=include_gone)
        return
    study = align(files, include_gone=include_gone)
    numbers = np.array([int(id_[:-4]) for id_ in wanted])
    assert study.ids == wanted
    np.testing.assert_array_equal(study.labels[:, 0], numbers % 2)
    np.testing.assert_array_equal(study.labels[:, 1], numbers % 3 == 0)
    assert all(sha in ("", f"sha of {i}") for sha, i in zip(study.sha256, numbers, strict=True))
    assert study.meta["group"].tolist() == [f"p{i // 3}" if i % 4 else "" for i in numbers]
    for extractor in study.extractors:
        np.testing.assert_array_equal(extractor.X[:, 0], numbers)
        np.testing.assert_array_equal(extractor.X[:, 1], numbers**2)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("sha256", "'7.png' is another image in f0 than in f1"),
        ("labels", "1 images have another label in f1 than in f0, e.g. '7.png'"),
        ("group", "column 'group' differs between files, e.g. for '7.png' in f1"),
    ],
)
def test_what_does_not_agree_is_named_by_its_image(column: str, message: str) -> None:
    random = np.random.default_rng(0)
    files = [drawn(f"f{k}", 30, random) for k in range(2)]
    for file in files:
        file.status[:], file.gone[:] = 1, False
        file.sha256 = [f"sha of {id_}" for id_ in file.ids]
    row = files[1].ids.index("7.png")
    assert align(files).ids
    if column == "sha256":
        files[1].sha256[row] = "sha of another"
    elif column == "labels":
        files[1].labels[row, 0] = 0  # type: ignore[index]
    else:
        files[1].meta["group"][row] = "px"
    with pytest.raises(InputError, match=message):
        align(files)


def test_embeddings_are_read_and_looked_through_in_blocks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mapping, "BLOCK_BYTES", 1 << 20)
    n, dimension = 400, 25_088
    file = drawn("large", 30, np.random.default_rng(0))
    file.ids = [f"{i}.png" for i in range(n)]
    file.X = np.zeros((n, dimension), np.float32)
    file.status, file.gone = np.ones(n, np.uint8), np.zeros(n, bool)
    file.sha256, file.meta = [""] * n, {}
    file.labels = np.zeros((n, 2), np.float32)
    file.numpy = lambda ids: file.X[: len(ids)].copy()  # type: ignore[method-assign]
    tracemalloc.start()
    align([file])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.1 * 4 * n * dimension  # the matrix itself, and little beside it
    file.numpy = lambda ids: np.array(  # type: ignore[method-assign]
        [[np.inf if id_ == "7.png" else 0.0] * dimension for id_ in ids], np.float32
    )
    with pytest.raises(InputError, match=r"1 rows of large are not finite.*'7\.png'"):
        align([file])


def test_the_bytes_of_an_image_are_those_of_any_file_that_knows_them() -> None:
    """Imported files may come first, and as a rule do not know them."""
    first, second = (
        drawn("a", 30, np.random.default_rng(0)),
        drawn("b", 30, np.random.default_rng(1)),
    )
    known = dict(zip(second.ids, second.sha256, strict=True))
    first.sha256 = [""] * 30
    study = align([first, second])
    assert study.sha256 == [known[id_] for id_ in study.ids]
