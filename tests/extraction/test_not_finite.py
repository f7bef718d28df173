"""A row with NaN or infinity is a failure of that image: recorded, counted, tried again."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

import cxrfeat
from cxrfeat import features
from cxrfeat.features import Extractor

NAME = "squeezenet1_1"
OPTIONS = {"backbone": [NAME], "weights": ["random"], "image_size": 64, "device": "cpu"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight pictures; 2 and 5 are so bright that `overflowing` networks give infinity for them."""
    (tmp_path / "images").mkdir()
    for number in range(8):
        pixels = np.random.default_rng(number).integers(0, 100, (70, 70), np.uint8)
        pixels[:, ::2] += 150 if number in (2, 5) else 0
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number}.png")
    return tmp_path / "images"


@pytest.fixture
def overflowing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What float16 does to a large activation: infinity, and NaN where it is subtracted."""
    original = Extractor.__call__

    def call(self: Extractor, images: np.ndarray) -> np.ndarray:
        rows = original(self, images)
        rows[images.mean(axis=(1, 2)) > 0.4, :2] = (np.inf, np.nan)
        return rows

    monkeypatch.setattr(Extractor, "__call__", call)


@pytest.mark.parametrize("runtime", ["torch", "ncnn"])
def test_a_row_that_is_not_finite_is_a_failure_and_costs_no_batch_mate(
    folder, tmp_path, overflowing, runtime: str
) -> None:
    seen = []
    result = cxrfeat.extract(
        folder, out=tmp_path / "e", runtime=runtime, progress=seen.append, **OPTIONS
    )
    (file,) = result.files
    assert (file.computed, file.failed) == (6, 2)
    assert seen[-1].failed == 2
    assert {(failure.id, failure.code) for failure in result.failures} == {
        ("2.png", "not-finite"),
        ("5.png", "not-finite"),
    }
    with cxrfeat.load(file.path) as embeddings:
        assert embeddings.status.tolist() == [1, 1, 2, 1, 1, 2, 1, 1]


def test_too_many_rows_that_are_not_finite_stop_the_run(folder, tmp_path, overflowing) -> None:
    result = cxrfeat.extract(
        folder, out=tmp_path / "e", batch_size=1, workers=1, max_failures=0, **OPTIONS
    )
    assert result.stopped_early
    assert result.files[0].failed == 1
    with cxrfeat.load(result.files[0].path) as embeddings:
        assert 0 in embeddings.status.tolist()  # what was not tried is pending


def test_an_image_counts_once_however_many_networks_it_is_too_much_for(
    folder, tmp_path, overflowing
) -> None:
    seen = []
    options = {**OPTIONS, "backbone": [NAME, "squeezenet1_0"]}
    result = cxrfeat.extract(folder, out=tmp_path / "e", progress=seen.append, **options)
    assert [file.failed for file in result.files] == [2, 2]
    assert seen[-1].failed == 2


def test_a_row_that_was_not_finite_is_tried_again_when_asked(folder, tmp_path, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        original = Extractor.__call__
        patch.setattr(
            Extractor, "__call__", lambda self, images: original(self, images) * np.float32(np.nan)
        )
        assert cxrfeat.extract(folder, out=tmp_path / "e", **OPTIONS).files[0].failed == 8
    left = cxrfeat.extract(folder, out=tmp_path / "e", **OPTIONS)
    assert (left.read, left.files[0].failed) == (0, 8)
    again = cxrfeat.extract(folder, out=tmp_path / "e", retry_failed=True, **OPTIONS)
    assert (again.files[0].computed, again.files[0].failed, again.failures) == (8, 0, [])
    with h5py.File(again.files[0].path) as file:
        assert np.isfinite(file["embeddings"][:]).all()


def test_the_reason_names_the_precision_and_the_mend(folder, tmp_path, overflowing) -> None:
    result = cxrfeat.extract(
        folder, out=tmp_path / "e", precision="bf16", runtime="torch", **OPTIONS
    )
    assert "bf16" in result.failures[0].reason
    assert "--precision fp32" in result.failures[0].reason


def test_a_value_beyond_the_stored_type_counts_as_failed_too(folder, tmp_path, monkeypatch) -> None:
    original = Extractor.__call__
    monkeypatch.setattr(
        Extractor, "__call__", lambda self, images: original(self, images) + np.float32(1e5)
    )
    seen = []
    result = cxrfeat.extract(
        folder, out=tmp_path / "e", storage="float16", progress=seen.append, **OPTIONS
    )
    assert (result.files[0].computed, result.files[0].failed, seen[-1].failed) == (0, 8, 8)


def test_predict_lists_an_image_whose_row_is_not_finite(tmp_path, monkeypatch) -> None:
    for label in range(2):
        (tmp_path / "images" / str(label)).mkdir(parents=True)
        for number in range(8):
            pixels = np.random.default_rng(number).integers(0, 100, (70, 70), np.uint8)
            Image.fromarray(pixels + 60 * label).save(
                tmp_path / "images" / str(label) / f"{number}.png"
            )
    cxrfeat.extract(tmp_path / "images", out=tmp_path / "e", **OPTIONS)
    fitted = cxrfeat.fit(
        tmp_path / "e", head=["logreg"], out=tmp_path / "run", report=False, cv=2, jobs=1
    )
    original = features.Extractor.__call__

    def call(self: Extractor, images: np.ndarray) -> np.ndarray:
        rows = original(self, images)
        rows[images.mean(axis=(1, 2)) > 0.25] = np.inf
        return rows

    monkeypatch.setattr(features.Extractor, "__call__", call)
    predicted = cxrfeat.predict(fitted.files["model.skops"], tmp_path / "images")
    assert {one.id.split("/")[0] for one in predicted.predictions} == {"0"}
    assert {(one.id.split("/")[0], one.code) for one in predicted.failures} == {("1", "not-finite")}
