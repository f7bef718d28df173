"""Maps say where a score comes from: exactly for linear heads, and where a square was planted."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.decomposition import PCA
from typer.testing import CliRunner

import cxrfeat
from cxrfeat import features, model
from cxrfeat.cli import app
from cxrfeat.errors import InputError, UnknownNameError, WeightsError
from cxrfeat.evaluation.final_model.linear_form import collapse, score_of
from cxrfeat.evaluation.final_model.refit import refit
from cxrfeat.evaluation.heads.registry import HEADS
from cxrfeat.evaluation.statistics.metrics import metric
from cxrfeat.evaluation.validation.tuning import Plan
from cxrfeat.evidence import OUTSIDE_AREA
from cxrfeat.images import reading_spec
from cxrfeat.images.drawing.phantom import CLASSES, Anatomy, draw_phantom
from cxrfeat.prediction.evidence_maps import open_mapper
from cxrfeat.results import FitResult
from tests.commands.planted import SIDE, SIZE, plant
from tests.test_cli import run

RANDOM = ["random"]
SMALL = {"backbone": ["squeezenet1_1"], "weights": RANDOM, "image_size": 64}


def phantoms(n: int, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    drawn = []
    for number in range(n):
        rng = np.random.default_rng((seed, number))
        drawn.append(draw_phantom(Anatomy.random(rng), CLASSES[number % 3], rng, 224))
    return drawn, np.arange(n) % 3


# --- Exact maps -----------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def embedded(request: pytest.FixtureRequest) -> tuple[features.Extractor, list[str], np.ndarray]:
    """A network at its own size, where its weights come from, and 18 embedded phantoms."""
    name, weights = request.param, RANDOM
    if name == "vgg16":
        weights = [str(request.getfixturevalue("vgg16_weights"))]
    choice = features.assign_weights([name], weights)[name]
    extractor = features.open_extractor(name, weights=choice, device="cpu")
    return extractor, weights, extractor(np.stack(phantoms(18)[0]))


def fitted(extractor: features.Extractor, X: np.ndarray, head: str, pca: bool) -> model.Model:
    y = np.arange(len(X)) % 3
    plan = Plan([HEADS[head]], metric("auroc"), True, 0, None, 0.9)
    estimator, _ = refit(HEADS[head], X, np.eye(3)[y], None, plan)
    if pca:
        inner = pipeline(estimator)
        inner.steps.insert(1, ("pca", PCA(9, random_state=0)))
        inner.fit(X, y)
    return model.Model(
        estimator=estimator, head=head, classes=list(CLASSES), kind="multiclass",
        extractor=extractor.backbone, fingerprint="f" * 64, dimension=extractor.dimension,
        spec={**extractor.spec, "image": reading_spec(extractor.framing)},
    )  # fmt: skip


def pipeline(estimator: Any) -> Any:
    """What decides, below what makes rows independent and what calibrates."""
    bare = estimator.estimator
    return getattr(bare, "estimator", bare)


@pytest.mark.parametrize("embedded", ["vgg16", "vgg19", "resnet50"], indirect=True)
def test_a_map_and_the_intercept_sum_to_the_decision(embedded: Any) -> None:
    extractor, weights, X = embedded
    new, _ = phantoms(3, seed=1)
    apart = extractor(np.stack(new)).astype(np.float64)
    opened = None
    for head, pca in product(("logreg", "linear_svm", "lda"), (False, True)):
        one = fitted(extractor, X, head, pca)
        if opened is None:
            opened = open_mapper(one, budget=100, weights=weights, device="cpu")
        score, linear = score_of(one.estimator), collapse(one.estimator, one.dimension)
        mapper = replace(opened, model=one, score=score, linear=linear)
        assert mapper.method == "class activation map"
        decisions = pipeline(one.estimator).decision_function(apart)
        wanted = 2 if pca else 0
        for row, why in enumerate(mapper.explain(new, wanted)):
            (found,) = why.maps
            assert found.values.shape == (7, 7)
            total = found.values.sum() + why.intercept
            assert abs(total - decisions[row, wanted]) < 1e-4, (head, pca)
            # What is spread evenly makes up for the rounding of float32, no more.
            assert why.residual is not None
            assert why.residual < 1e-6 * max(100.0, float(np.abs(decisions).max()))


# --- A planted patch ------------------------------------------------------------------------------


def hits(folder: Path, weights: Path, train: int, test: int) -> int:
    """Fit on synthetic radiographs with and without a square; count peaks within it on others."""
    plant(folder / "train" / "plain", train, seed=1, planted=False)
    plant(folder / "train" / "square", train, seed=2, planted=True)
    corners = plant(folder / "test", test, seed=3, planted=True)
    source = [str(weights)]
    cxrfeat.extract(folder / "train", backbone=["vgg16"], weights=source, out=folder / "embeddings")
    cxrfeat.fit(folder / "embeddings", head=["logreg"], out=folder / "run")
    result = cxrfeat.explain(
        folder / "run" / "model.skops", folder / "test", class_="square", weights=source,
        out=folder / "explained",
    )  # fmt: skip
    assert len(result.images) == test
    assert (result.images[0].width, result.images[0].height) == (SIZE, SIZE)
    found = 0
    for image in result.images:
        x, y = corners[image.id]
        found += image.peak_x in range(x, x + SIDE) and image.peak_y in range(y, y + SIDE)
    return found


@pytest.mark.slow
def test_the_peak_lies_in_the_planted_square(tmp_path: Path, vgg16_weights: Path) -> None:
    assert hits(tmp_path, vgg16_weights, train=100, test=100) >= 95


def test_the_peak_lies_in_the_planted_square_for_a_few(tmp_path: Path, vgg16_weights: Path) -> None:
    assert hits(tmp_path, vgg16_weights, train=20, test=8) >= 7


# --- What is written ------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def radiograph_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 phantoms in class folders, taller than wide."""
    folder = tmp_path_factory.mktemp("synthetic")
    drawn, y = phantoms(30)
    for number, (pixels, label) in enumerate(zip(drawn, y, strict=True)):
        path = folder / "images" / CLASSES[label] / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.round(pixels * 255).astype(np.uint8)).resize((120, 160)).save(path)
    return folder


def fit_on(folder: Path, name: str, extraction: dict[str, Any], **options: Any) -> FitResult:
    embeddings = folder / "embeddings" / name
    cxrfeat.extract(folder / "images", out=embeddings, **(SMALL | extraction))
    return cxrfeat.fit(embeddings, out=folder / "runs" / name, cv=3, jobs=1, **options)


@pytest.fixture(scope="session")
def saved(radiograph_folder: Path) -> Path:
    fit_on(radiograph_folder, "logreg", {}, head=["logreg"])
    return radiograph_folder / "runs" / "logreg" / "model.skops"


def one_of_each(folder: Path) -> list[Path]:
    return [sorted((folder / "images" / label).iterdir())[0] for label in CLASSES]


def test_everything_is_written_and_says_what_it_is_for(
    saved: Path, radiograph_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "explained"
    result = cxrfeat.explain(saved, one_of_each(radiograph_folder), out=out)
    assert result.control
    assert result.failures == []
    document = json.loads((out / "evidence.json").read_text())
    assert document["images"][0]["score"] == result.images[0].score
    assert "not for diagnosis" in document["use"]
    assert "not a segmentation" in " ".join(document["notes"])
    assert "no proof" in " ".join(document["notes"])
    with (out / "evidence.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for image, row in zip(result.images, rows, strict=True):
        assert row["class"] == image.class_name == image.predicted
        with Image.open(out / image.overlay) as overlay:
            assert overlay.size == (120, 160)
            assert "not for diagnosis" in overlay.text["Description"]  # type: ignore[attr-defined]
        values = np.load(out / image.map)
        assert image.intercept is not None
        assert values.sum() + image.intercept == pytest.approx(image.score, abs=1e-4)
        assert image.peak_x in range(120)
        assert image.peak_y in range(160)
        assert image.share_outside is not None
        assert 0 <= image.share_outside <= 1
    with Image.open(out / result.sheet) as sheet:
        assert sheet.width > 3 * 224 or sheet.height > 2 * 224
    assert result.outside_area == pytest.approx(OUTSIDE_AREA)


def test_the_class_can_be_chosen(saved: Path, radiograph_folder: Path, tmp_path: Path) -> None:
    images = one_of_each(radiograph_folder)
    chosen = [
        cxrfeat.explain(saved, images, class_=name, out=tmp_path / name).images for name in CLASSES
    ]
    for of_one in zip(*chosen, strict=True):
        assert [image.class_name for image in of_one] == list(CLASSES)
        assert sum(image.probability for image in of_one) == pytest.approx(1.0)
        assert len({image.predicted for image in of_one}) == 1
        best = max(of_one, key=lambda image: image.probability)
        assert best.class_name == best.predicted
    with pytest.raises(UnknownNameError, match="did you mean clear"):
        cxrfeat.explain(saved, images, class_="clera", out=tmp_path / "none")
    assert not (tmp_path / "none").exists()


MODELS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "calibrated": ({}, {"head": ["logreg"], "calibrate": "isotonic"}),
    "svm": ({}, {"head": ["linear_svm"]}),
    "stages": ({"backbone": ["resnet18"], "pool": "multi"}, {"head": ["lda"]}),
    "side by side": (
        {"backbone": ["squeezenet1_1", "resnet18"]},
        {"head": ["logreg"], "combine": ["resnet18-random-64+squeezenet1_1-random-64"]},
    ),
    "pca": ({}, {"head": ["heads_of_mine:pca_logreg"]}),
}


@pytest.mark.parametrize("name", MODELS)
def test_other_linear_models_are_explained_exactly(
    name: str, radiograph_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = (
        "from sklearn.decomposition import PCA\n"
        "from sklearn.linear_model import LogisticRegression\n"
        "from sklearn.pipeline import make_pipeline\n"
        "pca_logreg = make_pipeline(PCA(6), LogisticRegression(max_iter=1000))\n"
    )
    (tmp_path / "heads_of_mine.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    extraction, options = MODELS[name]
    fit = fit_on(radiograph_folder, name, extraction, **options)
    path = fit.run / "model.skops"
    if name == "side by side":
        path = refitted_side_by_side(fit, radiograph_folder, tmp_path)
    loaded = model.load(path)
    result = cxrfeat.explain(path, one_of_each(radiograph_folder), out=tmp_path / "out")
    assert result.method == "class activation map"
    assert ("below the calibration" in result.explains) == (name in ("calibrated", "svm"))
    for image in result.images:
        assert image.residual is not None
        assert image.residual < 1e-4
        total = np.load(tmp_path / "out" / image.map).sum() + image.intercept
        assert total == pytest.approx(image.score, abs=1e-4)
    if name == "pca":
        assert any(
            isinstance(step, PCA) for _, step in loaded.estimator.estimator.steps[-1][1].steps
        )


def refitted_side_by_side(fit: FitResult, folder: Path, out: Path) -> Path:
    """Save a model of both extractors, whichever one of the three won the comparison."""
    from cxrfeat.evaluation.study.alignment import align
    from cxrfeat.evaluation.study.enlarging import combined
    from cxrfeat.store import load

    files = [load(path) for path in sorted((folder / "embeddings" / "side by side").glob("*.h5"))]
    study = align(files)
    for file in files:
        file.close()
    both = combined(study, "resnet18-random-64+squeezenet1_1-random-64")
    plan = Plan([HEADS["logreg"]], metric("auroc"), True, 0, None, 0.9)
    labels = study.labels.astype(np.float64)
    estimator, _ = refit(HEADS["logreg"], both.X, labels, None, plan, both.widths)
    one = model.Model(
        estimator, "logreg", study.classes, "multiclass", both.name, both.spec, both.fingerprint,
        both.X.shape[1],
    )  # fmt: skip
    model.save(out / "both.skops", one)
    return out / "both.skops"


def test_labels_that_may_hold_together_are_explained_each_on_its_own(
    radiograph_folder: Path, tmp_path: Path
) -> None:
    names = [f"{label}/{path.name}" for label in CLASSES
             for path in sorted((radiograph_folder / "images" / label).iterdir())]  # fmt: skip
    with (tmp_path / "labels.csv").open("w") as file:
        file.write("path,opaque,focal\n")
        for name in names:
            file.write(f"{name},{int('opacity' in name)},{int('focal' in name)}\n")
    cxrfeat.extract(
        radiograph_folder / "images", labels=tmp_path / "labels.csv", path_column="path",
        label_column="opaque,focal", out=tmp_path / "embeddings", **SMALL,
    )  # fmt: skip
    cxrfeat.fit(tmp_path / "embeddings", head=["linear_svm"], out=tmp_path / "run", cv=3, jobs=1)
    path = tmp_path / "run" / "model.skops"
    assert model.load(path).kind == "multilabel"
    images = one_of_each(radiograph_folder)
    for name in ("opaque", "focal"):
        result = cxrfeat.explain(path, images, class_=name, out=tmp_path / name)
        assert "below the calibration" in result.explains
        assert all(image.residual is not None and image.residual < 1e-4 for image in result.images)


# --- Occlusion ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "extraction", "head", "why", "explains"),
    [
        ("trees", {}, "xgboost", "head 'xgboost' is not linear", "probability"),
        ("rbf", {}, "svm_rbf", "head 'svm_rbf' is not linear", "decision function"),
        ("max", {"pool": "max"}, "logreg", "pooling 'max'", "decision function"),
    ],
)
def test_other_heads_and_poolings_are_occluded_within_the_budget(
    name: str, extraction: dict[str, Any], head: str, why: str, explains: str,
    radiograph_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    fit = fit_on(radiograph_folder, name, extraction, head=[head])
    counted: list[int] = []
    original = features.Extractor.__call__
    monkeypatch.setattr(
        features.Extractor,
        "__call__",
        lambda self, images: counted.append(len(images)) or original(self, images),
    )
    image = one_of_each(radiograph_folder)[0]
    result = cxrfeat.explain(fit.run / "model.skops", image, budget=30, out=tmp_path / "out")
    assert result.method == "occlusion"
    assert result.explains.startswith(explains)
    assert result.occlusions == 25
    assert max(counted) == 25
    assert result.patch == pytest.approx(1 / 3)
    assert "mean grey" in result.baseline
    assert any(why in note and "25 places" in note for note in result.notes)
    assert np.load(tmp_path / "out" / result.images[0].map).shape == (5, 5)


def test_occlusion_finds_the_only_place_that_counts() -> None:
    """A head that looks at one channel, of which one place of the picture is the only source."""
    extractor = features.open_extractor(
        "squeezenet1_1", weights=features.WeightsChoice("random"), pooling="max", image_size=64
    )
    picture = np.zeros((64, 64), dtype=np.float32)
    picture[8:16, 40:48] = 1.0
    blank = extractor(np.full((2, 64, 64), picture.mean(), dtype=np.float32))[0]
    seen = extractor(np.stack([picture, picture]))[0]

    class Similar:
        """Nearness to the embedding of the picture, and away from that of an empty one."""

        def decision_function(self, X: np.ndarray) -> np.ndarray:
            away, near = np.linalg.norm(X - blank, axis=1), np.linalg.norm(X - seen, axis=1)
            return np.asarray(away - near)

        def predict_proba(self, X: np.ndarray) -> np.ndarray:
            p = 1 / (1 + np.exp(-self.decision_function(X)))
            return np.stack([1 - p, p], axis=1)

    one = model.Model(
        Similar(), "similar", ["empty", "square"], "multiclass", "x",
        {**extractor.spec, "image": reading_spec(extractor.framing)}, "f" * 64, extractor.dimension,
    )  # fmt: skip
    (why,) = open_mapper(one, budget=100).explain([picture], 1)
    values = why.maps[0].values
    row, column = np.unravel_index(values.argmax(), values.shape)
    centre = why.maps[0].grid.centres
    assert centre[row] == pytest.approx(12 / 64, abs=0.1)
    assert centre[column] == pytest.approx(44 / 64, abs=0.1)


# --- Wrong input, broken images -------------------------------------------------------------------


def test_the_command_lists_failures_with_exit_code_1(
    saved: Path, radiograph_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    (tmp_path / "images" / "good.png").write_bytes(one_of_each(radiograph_folder)[0].read_bytes())
    done = run("explain", str(saved), "images", "--out", "out", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "broken.png" in done.stdout
    assert "good.png" in done.stdout
    assert "control" in done.stdout
    assert "not for diagnosis" in done.stdout
    assert "broken.png" in (tmp_path / "out" / "failures.csv").read_text()
    arguments = ["explain", str(saved), str(tmp_path / "images"), "--out", str(tmp_path / "out2")]
    again = CliRunner().invoke(app, [*arguments, "--json"])
    assert again.exit_code == 1
    document = json.loads(again.stdout)
    assert [image["id"] for image in document["images"]] == ["good.png"]
    assert document["failures"][0]["id"] == "broken.png"
    full = run("explain", str(saved), "images", "--out", "out", cwd=tmp_path)
    assert full.returncode == 2
    assert "exists already" in full.stderr
    assert full.stderr.count("\n") == 1


def test_wrong_input_leaves_nothing_behind(
    saved: Path, radiograph_folder: Path, tmp_path: Path
) -> None:
    image, out = one_of_each(radiograph_folder)[0], tmp_path / "out"
    with pytest.raises(InputError, match="--budget 3"):
        cxrfeat.explain(saved, image, budget=3, out=out)
    with pytest.raises(InputError, match="cannot be read"):
        cxrfeat.explain(tmp_path / "none.skops", image, out=out)
    with pytest.raises(InputError, match="none"):
        cxrfeat.explain(saved, tmp_path / "none", out=out)
    with pytest.raises(WeightsError, match=r"none\.pth"):
        cxrfeat.explain(saved, image, weights=["none.pth"], out=out)
    fit = fit_on(radiograph_folder, "dummy", {}, head=["dummy"])
    with pytest.raises(InputError, match="nothing to explain"):
        cxrfeat.explain(fit.run / "model.skops", image, out=out)
    assert not any(out.parent.glob("*out*"))


def test_an_interruption_leaves_no_half_result(
    saved: Path, radiograph_folder: Path, tmp_path: Path
) -> None:
    def interrupt(event: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cxrfeat.explain(
            saved, one_of_each(radiograph_folder), out=tmp_path / "out", progress=interrupt
        )
    assert list(tmp_path.iterdir()) == []
