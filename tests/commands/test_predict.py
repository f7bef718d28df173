"""`predict`: a saved model on new images, the same bits however they are asked for."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cxrfeat
from cxrfeat import model
from cxrfeat.errors import (
    CxrfeatError,
    FileFormatError,
    InputError,
    SpecMismatchError,
    UnknownNameError,
    WeightsError,
)
from cxrfeat.images import READING_VERSION
from cxrfeat.prediction.result import PredictResult
from cxrfeat.spec import fingerprint
from tests.evaluation.made import blobs, write_file
from tests.test_cli import run

# Random weights, and called so: quick, and need no file.
SMALL = {"weights": ["random"], "image_size": 64, "device": "cpu"}
STEM = "squeezenet1_1-random-64"


def draw(folder: Path, count: int = 15) -> None:
    """Synthetic pictures of two kinds, stripes along and across."""
    rng = np.random.default_rng(0)
    wave = 60 * np.sin(np.arange(80) / 3)
    for number, label in enumerate(("across", "along")):
        (folder / label).mkdir(parents=True)
        for image in range(count):
            stripes = wave[:, None] if number else wave[None, :]
            pixels = 120 + stripes + rng.normal(0, 15, (80, 80))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(
                folder / label / f"{image:02d}.png"
            )


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images, embeddings of two extractors, and fitted models."""
    place = tmp_path_factory.mktemp("study")
    draw(place / "images")
    cxrfeat.extract(
        place / "images", backbone=["squeezenet1_1", "squeezenet1_0"], out=place / "e", **SMALL
    )
    one, other = place / "e" / f"{STEM}.h5", place / "e" / "squeezenet1_0-random-64.h5"
    cxrfeat.fit(one, head=["logreg"], cv=3, out=place / "one")
    # All of them tell the stripes apart: have the combination saved, whoever comes first.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "cxrfeat.evaluation.outcome.compared_study.winner",
            lambda _, heads: next(one for one in heads.items() if "+" in one[0]),
        )
        both = [f"{one.stem}+{other.stem}"]
        cxrfeat.fit([one, other], head=["logreg"], cv=3, combine=both, out=place / "both")
    return place


@pytest.fixture
def saved(study: Path) -> Path:
    return study / "one" / "model.skops"


def bits(result: PredictResult) -> dict[str, tuple[object, ...]]:
    return {
        one.id: (tuple(one.probabilities.values()), one.distance, one.quantile)
        for one in result.predictions
    }


def test_the_training_images_get_the_models_own_probabilities_to_the_bit(
    study: Path, saved: Path
) -> None:
    file = study / "e" / f"{STEM}.h5"
    from_images = cxrfeat.predict(saved, study / "images", device="cpu", batch_size=7)
    from_file = cxrfeat.predict(saved, file)
    assert bits(from_images) == bits(from_file)
    loaded = model.load(saved)
    with cxrfeat.load(file) as embeddings:
        X, ids = embeddings.numpy(), embeddings.ids
    assert [one.id for one in from_images.predictions] == ids
    np.testing.assert_array_equal(from_images.numpy(), loaded.predict_proba(X))
    np.testing.assert_array_equal(from_images.numpy(), loaded.estimator.predict_proba(X))
    right = [one.labels == [one.id.split("/")[0]] for one in from_images.predictions]
    assert np.mean(right) > 0.9


def test_an_image_gets_the_same_bits_alone_in_a_subset_and_in_any_order(
    study: Path, saved: Path
) -> None:
    paths = sorted((study / "images" / "along").glob("*.png"))
    whole = bits(cxrfeat.predict(saved, paths, device="cpu"))
    assert bits(cxrfeat.predict(saved, paths[::-1], device="cpu", batch_size=4)) == whole
    for path in (paths[0], paths[7], paths[-1]):
        alone = cxrfeat.predict(saved, path, device="cpu")
        assert bits(alone) == {path.name: whole[path.name]}
    some = bits(cxrfeat.predict(saved, [paths[9], paths[2]], device="cpu", workers=1))
    assert some == {path.name: whole[path.name] for path in (paths[2], paths[9])}


def test_every_prediction_holds_what_the_model_says(saved: Path, study: Path) -> None:
    result = cxrfeat.predict(saved, study / "images" / "across" / "00.png")
    (one,) = result.predictions
    assert sum(one.probabilities.values()) == pytest.approx(1)
    assert one.labels == [max(one.probabilities, key=one.probabilities.__getitem__)]
    assert one.distance is not None
    assert one.distance > 0
    assert 0 <= (one.quantile or 0) < 1
    assert result.use == "For research only, not for diagnosis."


def test_an_image_unlike_the_training_images_is_warned_of(saved: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    Image.fromarray(rng.integers(0, 2, (90, 90), np.uint8) * 255).save(tmp_path / "noise.png")
    result = cxrfeat.predict(saved, tmp_path / "noise.png")
    assert result.predictions[0].unlike_training
    assert any("1 image(s) are unlike the training images" in note for note in result.notes)


def test_a_broken_image_is_listed_and_costs_no_other(
    study: Path, saved: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "new"
    shutil.copytree(study / "images" / "along", folder)
    (folder / "03.png").write_bytes((folder / "03.png").read_bytes()[:200])
    (folder / "empty.png").write_bytes(b"")
    result = cxrfeat.predict(saved, folder, out=tmp_path / "p.csv")
    assert len(result.predictions) == 14
    assert {failure.id for failure in result.failures} == {"03.png", "empty.png"}
    with (tmp_path / "p.csv").open(newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert len(rows) == 16
    assert rows["empty.png"]["error"].startswith("empty: ")
    assert rows["empty.png"]["predicted"] == rows["empty.png"]["p_along"] == ""
    done = run("predict", str(saved), str(folder), "--json")
    assert done.returncode == 1, done.stderr
    assert len(json.loads(done.stdout)["failures"]) == 2


def test_failed_and_pending_rows_of_an_embedding_file_are_said(
    study: Path, saved: Path, tmp_path: Path
) -> None:
    draw(tmp_path / "images", count=3)
    (tmp_path / "images" / "along" / "01.png").write_bytes(b"no image")
    cxrfeat.extract(tmp_path / "images", backbone=["squeezenet1_1"], out=tmp_path / "e", **SMALL)
    result = cxrfeat.predict(saved, tmp_path / "e" / f"{STEM}.h5")
    assert len(result.predictions) == 5
    assert [failure.id for failure in result.failures] == ["along/01.png"]


@pytest.mark.parametrize("kind", ["csv", "parquet", "json"])
def test_written_predictions_read_back_to_the_same_bits(
    study: Path, saved: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = study / "e" / f"{STEM}.h5"
    result = cxrfeat.predict(saved, file, to=kind)
    assert result.path == Path(f"predictions.{kind}")
    if kind == "json":
        document = json.loads(result.path.read_text())
        read = [list(one["probabilities"].values()) for one in document["predictions"]]
        about = document
    elif kind == "csv":
        with result.path.open(newline="") as table:
            rows = list(csv.DictReader(table))
        read = [[float(row["p_across"]), float(row["p_along"])] for row in rows]
        about = json.loads(Path("predictions.csv.json").read_text())
    else:
        parquet = pytest.importorskip("pyarrow.parquet")
        table = parquet.read_table(result.path)
        read = np.stack([table["p_across"], table["p_along"]], axis=1)
        about = json.loads(table.schema.metadata[b"cxrfeat"])
    np.testing.assert_array_equal(read, result.numpy())
    assert about["fingerprint"] == result.fingerprint
    assert about["model_sha256"] == result.model_sha256
    assert "not for diagnosis" in about["use"]
    with pytest.raises(InputError, match="exists already"):
        cxrfeat.predict(saved, file, to=kind)


def test_without_to_and_out_nothing_is_written(
    study: Path, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cxrfeat.predict(saved, study / "e" / f"{STEM}.h5").path is None
    assert list(tmp_path.iterdir()) == []


def test_several_extractors_side_by_side_predict_from_images_too(study: Path) -> None:
    saved, e = study / "both" / "model.skops", study / "e"
    assert "+" in model.load(saved).extractor
    from_images = cxrfeat.predict(saved, study / "images", device="cpu")
    files = sorted(e.glob("*.h5"))
    assert bits(cxrfeat.predict(saved, files)) == bits(from_images)
    assert bits(cxrfeat.predict(saved, files[::-1])) == bits(from_images)
    with pytest.raises(InputError, match=r"give 2 embedding file\(s\), not 1"):
        cxrfeat.predict(saved, files[:1])


def test_embeddings_of_another_extractor_are_refused_with_the_difference(
    study: Path, saved: Path
) -> None:
    other = study / "e" / "squeezenet1_0-random-64.h5"
    with pytest.raises(SpecMismatchError, match="made in another way") as caught:
        cxrfeat.predict(saved, other)
    assert "backbone: squeezenet1_0 here, squeezenet1_1 there" in caught.value.difference
    done = run("predict", str(saved), str(other))
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "  backbone: squeezenet1_0 here, squeezenet1_1 there\n" in done.stderr


def changed(saved: Path, to: Path, **changes: object) -> Path:
    """Save the model again with another spec and the fingerprint that belongs to it."""
    loaded = model.load(saved)
    spec = {**loaded.spec, **changes}
    values = {name: getattr(loaded, name) for name in loaded.__dataclass_fields__}
    model.save(to, model.Model(**{**values, "spec": spec, "fingerprint": fingerprint(spec)}))
    return to


WRONG_TENSORS = {"name": "random-seed-0", "sha256": "0" * 64}


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"backbone": "squeezenet9"}, UnknownNameError, "unknown backbone 'squeezenet9'"),
        ({"weights": WRONG_TENSORS}, SpecMismatchError, "is not the extractor of the model"),
        ({"weights": {"name": "mine", "sha256": ""}}, WeightsError, "weights 'mine' of"),
        ({"pooling": "mean"}, UnknownNameError, "pooling"),
        ({"image": {"version": 1}}, FileFormatError, "does not say which extractor"),
        ({"image": {"size": [10**6, 10**6]}}, FileFormatError, "asks for images of 1000000"),
        ({"layer": "classifier"}, SpecMismatchError, "is not the extractor of the model"),
    ],
)
def test_a_model_of_an_extractor_that_cannot_be_opened_again_is_refused(
    study: Path, saved: Path, tmp_path: Path, changes: dict[str, object],
    error: type[CxrfeatError], words: str,
) -> None:  # fmt: skip
    other = changed(saved, tmp_path / "m.skops", **changes)
    with pytest.raises(error, match=words) as caught:
        cxrfeat.predict(other, study / "images", device="cpu")
    assert "\n" not in str(caught.value)


def test_another_version_of_image_reading_is_refused_with_the_difference(
    study: Path, saved: Path, tmp_path: Path
) -> None:
    image = {**model.load(saved).spec["image"], "version": 0}
    with pytest.raises(SpecMismatchError) as caught:
        cxrfeat.predict(changed(saved, tmp_path / "m.skops", image=image), study / "images")
    assert caught.value.difference == [f"image.version: {READING_VERSION} here, 0 there"]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"to": "xlsx"}, UnknownNameError, "csv"),
        ({"out": "p.h5"}, UnknownNameError, "csv"),
        ({"images": "nowhere"}, InputError, "nowhere"),
        ({"images": []}, InputError, "no images"),
        ({"images": ["a.h5", "b.png"]}, InputError, "cannot be mixed"),
        ({"images": "a.h5"}, FileFormatError, r"a\.h5"),
        ({"batch_size": 0}, InputError, "batch size 0"),
        ({"model": "nowhere.skops"}, InputError, "cannot be read"),
    ],
)
def test_wrong_use_is_one_line(
    saved: Path, options: dict[str, object], error: type[CxrfeatError], words: str,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=words) as caught:
        cxrfeat.predict(**({"model": saved, "images": "."} | options))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_a_truncated_model_ends_the_command_with_one_line_and_exit_code_2(
    saved: Path, tmp_path: Path
) -> None:
    content = saved.read_bytes()
    (tmp_path / "m.skops").write_bytes(content[: len(content) // 2])
    for command in (("predict", "m.skops", "."), ("model", "info", "m.skops")):
        done = run(*command, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.count("\n") == 1


def test_several_labels_are_called_above_thresholds_from_held_out_training_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    X, y = blobs(120, 10, distance=3)
    labels = np.stack([y == 0, y != 1, y == 2], axis=1).astype(np.float32)
    file = write_file(tmp_path / "e.h5", X, labels, kind="multilabel")
    cxrfeat.fit(file, head=["logreg"], out="run", specificity=0.8, threshold="specificity")
    result = cxrfeat.predict("run/model.skops", file)
    assert result.thresholds.keys() == {"clear", "opaque", "streaked"}
    assert all(value not in (0.5, 0.0, 1.0) for value in result.thresholds.values())
    for one in result.predictions:
        above = [name for name, p in one.probabilities.items() if p > result.thresholds[name]]
        assert one.labels == above
    called = np.array([["opaque" in one.labels] for one in result.predictions])[:, 0]
    negatives = labels[:, 1] == 0
    assert 0.6 < np.mean(~called[negatives]) <= 1.0


def test_explain_names_the_labels_that_predict_names(study: Path, tmp_path: Path) -> None:
    loaded = model.load(study / "one" / "model.skops")
    low = dict.fromkeys(loaded.classes, 1e-9)
    model.save(tmp_path / "m.skops", replace(loaded, kind="multilabel", thresholds=low))
    some = sorted((study / "images" / "along").iterdir())[:2]
    predicted = cxrfeat.predict(tmp_path / "m.skops", some).predictions
    explained = cxrfeat.explain(tmp_path / "m.skops", some, out=tmp_path / "explained").images
    assert [one.labels for one in predicted] == [loaded.classes] * 2
    assert [one.predicted for one in explained] == ["|".join(loaded.classes)] * 2


def test_model_info_says_what_the_model_is_and_what_it_is_not_for(study: Path) -> None:
    saved = study / "one" / "model.skops"
    info = cxrfeat.model_info(saved)
    loaded = model.load(saved)
    assert (info.head, info.fingerprint, info.spec) == ("logreg", loaded.fingerprint, loaded.spec)
    assert info.training["images"] == 30
    assert info.versions["cxrfeat"] == cxrfeat.__version__
    assert info.distances is not None
    assert info.distances["images"] == 30
    done = run("model", "info", str(saved))
    assert done.returncode == 0, done.stderr
    for words in (loaded.fingerprint, "squeezenet1_1", "logreg", "across, along", "scikit-learn"):
        assert words in done.stdout
    assert "For research only, not for diagnosis." in done.stdout


def test_the_help_of_predict_says_what_it_is_not_for() -> None:
    assert "not for diagnosis" in " ".join(run("predict", "--help").stdout.split())


def test_real_weights_and_radiographs_alone_and_among_others(
    radiographs: Path, vgg16_weights: Path, tmp_path: Path
) -> None:
    """VGG16 over twelve images of each class; one of them alone has the same bits."""
    for label in ("Covid", "Normal"):
        (tmp_path / "images" / label).mkdir(parents=True)
        for path in sorted((radiographs / "val" / label).iterdir())[:12]:
            shutil.copy(path, tmp_path / "images" / label / path.name)
    weights = [str(vgg16_weights)]
    e = tmp_path / "e"
    cxrfeat.extract(tmp_path / "images", backbone=["vgg16"], weights=weights, out=e)
    cxrfeat.fit(e, head=["logreg"], cv=3, out=tmp_path / "run")
    saved = tmp_path / "run" / "model.skops"
    whole = bits(cxrfeat.predict(saved, e / "vgg16.h5"))
    path = sorted((tmp_path / "images" / "Normal").iterdir())[3]
    alone = bits(cxrfeat.predict(saved, path, weights=weights))
    assert alone[path.name] == whole[f"Normal/{path.name}"]
    from_folder = bits(cxrfeat.predict(saved, path, weights=[str(vgg16_weights.parent)]))
    assert from_folder == alone
    with pytest.raises(WeightsError, match="vgg16-imagenet-features"):
        cxrfeat.predict(saved, path)
