"""Python as people type it: one text or several, arrays and pictures, steps of a pipeline."""

from __future__ import annotations

import inspect
import pickle
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import cxrfeat
from cxrfeat import RadiographEmbedder, store
from cxrfeat.errors import CxrfeatError, ImageError, InputError, SpecMismatchError
from cxrfeat.paths import several
from tests.evaluation.made import blobs, write_file

NET = {"weights": "random", "image_size": 64, "runtime": "torch", "device": "cpu"}
NAME = "squeezenet1_1"


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> tuple[list[str], list[str]]:
    """Twenty pictures of two classes that differ in brightness, and their classes."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    paths, labels = [], []
    for number in range(20):
        label = ("dark", "light")[number % 2]
        low = 0 if label == "dark" else 60
        path = folder / label / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(random.integers(low, low + 180, (70, 60), np.uint8)).save(path)
        paths.append(str(path))
        labels.append(label)
    return paths, labels


@pytest.fixture(scope="module")
def embed():
    return cxrfeat.open_extractor(NAME, **NET)


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each later call of a network computes."""
    from cxrfeat.features import Extractor

    calls: list[int] = []
    original = Extractor.__call__

    def counting(self: Extractor, images: np.ndarray) -> np.ndarray:
        calls.append(len(images))
        return original(self, images)

    monkeypatch.setattr(Extractor, "__call__", counting)
    return calls


# One text or several


def takes_several() -> list[tuple[str, str]]:
    """Every parameter of a public function that can be several texts."""
    found = []
    for name in sorted(set(cxrfeat.__all__) - {"RadiographEmbedder", "Encoder", "Embeddings"}):
        function = getattr(cxrfeat, name)
        if not inspect.isfunction(function):
            continue
        for parameter in inspect.signature(function, eval_str=True).parameters.values():
            members = typing.get_args(parameter.annotation) or (parameter.annotation,)
            if any(
                (typing.get_origin(one) is Sequence and str in (typing.get_args(one) or ()))
                or (typing.get_origin(one) is Sequence and "str" in str(typing.get_args(one)))
                for one in members
            ):
                found.append((name, parameter.name))
    return found


OTHERS: dict[str, dict[str, Any]] = {
    "predict": {"model": "none.skops", "images": "none"},
    "explain": {"model": "none.skops", "images": "none"},
    "weights_add": {"file": "none.pth", "backbone": "vgg16"},
    "open_extractor": {"backbone": "vgg16"},
    "merge": {"files": "none.h5", "out": "out.h5"},
    "export": {"file": "none.h5"},
    "shards_script": {"arguments": "images"},
    "report": {"run": "none"},
    "write": {"path": "out.h5", "X": [[1.0, 2.0]], "ids": "one.png"},
}
"""What a function needs besides."""


def said(function: str, **given: Any) -> str:
    """What a function says of names that there are not."""
    try:
        result = getattr(cxrfeat, function)(**{**OTHERS.get(function, {}), **given})
    except (CxrfeatError, OSError) as error:
        return f"{type(error).__name__}: {error}"
    return repr(result)


@pytest.mark.parametrize(("function", "parameter"), takes_several())
def test_one_text_is_not_taken_apart_into_letters(
    function: str, parameter: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    X, y = blobs(40, 6, distance=3, n_classes=2)
    write_file(Path("embeddings") / "one.h5", X, y, classes=["no", "yes"])
    annotation = str(inspect.signature(getattr(cxrfeat, function)).parameters[parameter])
    assert "str |" in annotation or "PathLike" in annotation
    # With embeddings a comparison would be made, whatever the folder of its images.
    more = {"embeddings": "none"} if (function, parameter) == ("fit", "images") else {}
    alone = said(function, **more, **{parameter: "vgg1x"})
    assert alone == said(function, **more, **{parameter: ["vgg1x"]})
    assert "'v'" not in alone


def test_the_parameters_that_failed_are_among_them() -> None:
    assert {("fit", "head"), ("extract", "weights"), ("predict", "weights")} <= {*takes_several()}


def test_one_rule_says_what_one_is() -> None:
    forest = ExtraTreesClassifier()
    for one in ("logreg", Path("a"), b"x", forest, 3):
        assert several(one) == [one]
    assert several(("a", "b")) == several(iter("ab")) == ["a", "b"]
    assert several(None) == several(()) == []


# Heads


def test_a_classifier_is_a_head_as_it_is(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    X, y = blobs(90, 6, distance=3, n_classes=2)
    path = write_file(Path("one.h5"), X, y, classes=["no", "yes"])
    heads = [LogisticRegression(C=0.01), LogisticRegression(C=1.0), "logreg"]
    result = cxrfeat.fit(path, head=heads, report=False)
    names = {score.head for score in result.ranking}
    assert names == {
        "logreg",
        "sklearn.linear_model._logistic:LogisticRegression(C=0.01)",
        "sklearn.linear_model._logistic:LogisticRegression()",
    }
    assert result.options["head"] == [
        "sklearn.linear_model._logistic:LogisticRegression(C=0.01)",
        "sklearn.linear_model._logistic:LogisticRegression()",
        "logreg",
    ]
    alone = cxrfeat.fit(path, head=LogisticRegression(C=0.01), report=False)
    (of_all,) = [one for one in result.ranking if "0.01" in one.head]
    assert alone.ranking[0].mean["auroc"] == of_all.mean["auroc"]


@pytest.mark.parametrize("head", [3, LogisticRegression, StandardScaler()])
def test_what_is_no_classifier_is_told_in_one_line(head: Any, tmp_path: Path) -> None:
    X, y = blobs(20, 6, distance=3, n_classes=2)
    path = write_file(tmp_path / "one.h5", X, y, classes=["no", "yes"])
    with pytest.raises(InputError, match="classifier"):
        cxrfeat.fit(path, head=head)


# Radiographs in memory


def test_an_open_extractor_gives_the_rows_of_extract(files, embed, tmp_path: Path) -> None:
    paths, _ = files
    result = cxrfeat.extract(Path(paths[0]).parents[1], backbone=NAME, out=tmp_path, **NET)
    with cxrfeat.load(result.files[0].path) as file:
        expected = dict(zip(file.ids, file.numpy(), strict=True))
        assert file.spec == embed.spec
    rows = embed(paths)
    for path, row in zip(paths, rows, strict=True):
        np.testing.assert_array_equal(row, expected[f"{Path(path).parent.name}/{Path(path).name}"])


def test_arrays_and_pictures_are_embedded_as_their_files(files, embed) -> None:
    paths = files[0][:3]
    expected = embed(paths)
    pictures = [Image.open(path) for path in paths]
    arrays = [np.asarray(picture) for picture in pictures]
    np.testing.assert_array_equal(embed(pictures), expected)
    np.testing.assert_array_equal(embed(arrays), expected)
    np.testing.assert_array_equal(embed(np.stack(arrays)), expected)
    np.testing.assert_array_equal(embed(arrays[0]), expected[:1])
    np.testing.assert_array_equal(embed([paths[0], arrays[1], pictures[2]]), expected)
    floats = [array.astype(np.float64) / 255 for array in arrays]
    np.testing.assert_allclose(embed(floats), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (3, InputError, "a int is no image"),
        (np.zeros(5), InputError, r"shape \(5,\) is no image"),
        (np.full((8, 8), 255.0), ImageError, r"range: image 0: floats.*\[0, 1\]"),
        (np.full((8, 8), np.nan), ImageError, "range"),
        ([np.zeros((8, 8), complex)], ImageError, "unrecognised: image 0"),
        (["none.png"], ImageError, "missing: none.png"),
    ],
)
def test_what_is_no_radiograph_is_told_in_one_line(embed, given, error, message) -> None:
    with pytest.raises(error, match=message) as caught:
        embed(given)
    assert "\n" not in str(caught.value)


def test_no_radiographs_have_no_rows(embed) -> None:
    assert embed([]).shape == (0, embed.dimension)


@pytest.fixture(scope="module")
def model(files, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    images = Path(files[0][0]).parents[1]
    cxrfeat.extract(images, backbone=NAME, out=folder / "embeddings", **NET)
    run = cxrfeat.fit(folder / "embeddings", head="logreg", out=folder / "run", cv=2, report=False)
    return run.run / "model.skops"


def test_predict_takes_arrays_and_pictures(files, model: Path) -> None:
    paths = files[0][:4]
    expected = cxrfeat.predict(model, paths).predictions
    by_name = {Path(one.id).name: one.probabilities for one in expected}
    pictures = [Image.open(path) for path in paths]
    for given in (pictures, [np.asarray(one) for one in pictures]):
        found = cxrfeat.predict(model, given)
        assert [one.id for one in found.predictions] == [f"image-{n}" for n in range(4)]
        for path, one in zip(paths, found.predictions, strict=True):
            assert one.probabilities == by_name[Path(path).name]
    (alone,) = cxrfeat.predict(model, np.asarray(pictures[0])).predictions
    assert alone.probabilities == by_name[Path(paths[0]).name]
    broken = cxrfeat.predict(model, [pictures[0], np.full((9, 9), 7.0)])
    assert len(broken.predictions) == 1
    assert [failure.code for failure in broken.failures] == ["range"]


def test_predict_of_what_is_no_image_is_one_line(model: Path) -> None:
    with pytest.raises(InputError, match="a dict is no image"):
        cxrfeat.predict(model, [{}])


# A step of a pipeline


def embedder(**more: Any) -> RadiographEmbedder:
    return RadiographEmbedder(NAME, **NET, **more)


def test_three_lines_cross_validate_a_pipeline(files, tmp_path: Path, monkeypatch) -> None:
    paths, labels = files
    calls = counted(monkeypatch)
    steps = make_pipeline(embedder(cache=tmp_path / "c.h5"), StandardScaler(), LogisticRegression())
    scores = cross_val_score(steps, paths, labels, cv=4)
    assert scores.mean() > 0.9
    assert sum(calls) == len(paths)  # each radiograph once, whatever the folds
    with store.load(tmp_path / "c.h5") as file:
        assert len(file) == len(paths)


def test_a_cache_gives_the_same_rows_and_refuses_another_network(files, tmp_path: Path) -> None:
    paths = files[0][:4]
    plain = embedder().fit_transform(paths)
    cached = embedder(cache=tmp_path / "c.h5").fit(paths)
    np.testing.assert_array_equal(cached.transform(paths[:2]), plain[:2])
    np.testing.assert_array_equal(
        cached.transform([*paths[::-1], paths[0]]), plain[[3, 2, 1, 0, 0]]
    )
    other = embedder(cache=tmp_path / "c.h5").set_params(pool="max").fit(paths)
    with pytest.raises(SpecMismatchError, match="another cache"):
        other.transform(paths)


def test_a_file_of_extract_is_a_cache_that_stays_as_it_is(
    files, tmp_path: Path, monkeypatch
) -> None:
    paths, _ = files
    images = Path(paths[0]).parents[1]
    path = cxrfeat.extract(images, backbone=NAME, out=tmp_path, **NET).files[0].path
    before = path.read_bytes()
    calls = counted(monkeypatch)
    rows = embedder(cache=path).fit_transform([*paths, np.zeros((70, 60), np.uint8)])
    assert rows.shape == (len(paths) + 1, 512)
    assert sum(calls) == 1
    assert path.read_bytes() == before


def test_a_cache_whose_filling_was_broken_off_is_filled_further(
    files, tmp_path: Path, monkeypatch
) -> None:
    paths, cache = files[0][:3], tmp_path / "c.h5"
    embedder(cache=cache).fit_transform(paths[:1])

    def broken_off(*given: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as stopped:
        stopped.setattr("cxrfeat.store.writer.StoreWriter.write", broken_off)
        with pytest.raises(KeyboardInterrupt):
            embedder(cache=cache).fit_transform(paths[:2])
    calls = counted(monkeypatch)
    rows = embedder(cache=cache).fit_transform(paths)
    assert sum(calls) == 2
    np.testing.assert_array_equal(embedder(cache=cache).fit_transform(paths), rows)
    assert sum(calls) == 2


def test_what_another_process_kept_in_the_meantime_is_kept_once(
    files, tmp_path: Path, monkeypatch
) -> None:
    paths, cache = files[0][:3], tmp_path / "c.h5"
    embedder(cache=cache).fit_transform(paths[:1])
    others = [lambda: embedder(cache=cache).fit_transform(paths[1:2])]

    class Lock(store.FileLock):
        def __init__(self, path: Path) -> None:
            while others:
                others.pop()()
            super().__init__(path)

    monkeypatch.setattr("cxrfeat.commands.radiograph_embedder.store.FileLock", Lock)
    rows = embedder(cache=cache).fit_transform(paths)
    with store.load(cache) as file:
        assert len(file) == 3
    np.testing.assert_array_equal(rows, embedder().fit_transform(paths))


def test_it_is_cloned_by_its_parameters_and_names_its_columns(files) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas output needs pandas")
    fitted = clone(embedder(pool="max")).fit(files[0])
    assert fitted.get_params()["pool"] == "max"
    assert not hasattr(clone(fitted), "extractor_")
    frame = fitted.set_output(transform="pandas").transform(files[0][:3])
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame.columns) == list(fitted.get_feature_names_out())
    assert frame.columns[0] == f"{NAME}_0"
    column = pandas.Series(files[0][:3], name="path")
    np.testing.assert_array_equal(fitted.transform(column), frame)
    np.testing.assert_array_equal(fitted.transform(column.to_frame()), frame)


def test_one_path_alone_is_told_apart_from_a_list() -> None:
    with pytest.raises(InputError, match="give a list"):
        embedder().fit("one.png")


def test_a_fitted_pipeline_is_kept_and_goes_on(files) -> None:
    """Without its network, which is opened again where it is needed."""
    fitted = embedder().fit(files[0])
    kept = pickle.loads(pickle.dumps(fitted))
    assert "extractor_" not in vars(kept)
    rows = kept.transform(files[0][:2])
    np.testing.assert_array_equal(rows, fitted.transform(files[0][:2]))


@pytest.mark.parametrize("given", [np.zeros((4, 9)), np.zeros(4), []])
def test_what_are_no_radiographs_is_told_in_one_line(given: Any) -> None:
    with pytest.raises(InputError, match="radiographs"):
        embedder().fit(given)


TABLES = "draws a table of numbers, which are no radiographs"
EXCEPTIONS = dict.fromkeys(
    (
        *("check_fit_score_takes_y", "check_estimators_overwrite_params"),
        *("check_dont_overwrite_parameters", "check_estimators_fit_returns_self"),
        *("check_readonly_memmap_input", "check_n_features_in_after_fitting"),
        *("check_positive_only_tag_during_fit", "check_estimators_dtypes", "check_dtype_object"),
        *("check_pipeline_consistency", "check_estimators_nan_inf", "check_estimators_pickle"),
        *("check_f_contiguous_array_estimator", "check_transformer_data_not_an_array"),
        *("check_transformer_general", "check_transformer_preserve_dtypes"),
        *("check_methods_sample_order_invariance", "check_methods_subset_invariance"),
        *("check_fit2d_1sample", "check_fit2d_1feature", "check_fit2d_predict1d"),
        *("check_dict_unchanged", "check_fit_idempotent", "check_fit_check_is_fitted"),
        *("check_n_features_in", "check_estimators_empty_data_messages"),
    ),
    TABLES,
)
"""The checks of scikit-learn that this step cannot pass."""


@parametrize_with_checks([embedder()], expected_failed_checks=lambda estimator: EXCEPTIONS)
def test_it_passes_the_checks_of_scikit_learn(estimator, check) -> None:
    if getattr(check, "func", check).__name__ == "check_array_api_input":
        pytest.skip("scikit-learn skips it without SCIPY_ARRAY_API")
    check(estimator)
