"""What a reader of the scores has to know."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cxrfeat import display, model
from cxrfeat.evaluation.outcome import findings
from cxrfeat.evaluation.study import scorable_labels
from cxrfeat.pages import words
from tests.commands.fit_options.made import N, codes_of, fit, made
from tests.evaluation.made import blobs, write_file


def test_equal_images_on_both_sides_of_a_fold_and_of_the_split_are_found() -> None:
    split = ["val" if i % 2 else "train" for i in range(N)]
    path = made(sha={"0001.png": "a" * 64, "0004.png": "a" * 64}, meta={"split": split})
    result = fit(path, head=["dummy"], split=True)
    found = {f.code: f for f in result.findings}
    assert found[findings.DUPLICATES_ACROSS].detail["copies"] == [["0001.png", "0004.png"]]
    assert found[findings.DUPLICATES_SPLIT].detail["images"] == 1


def test_a_class_smaller_than_the_folds_is_found() -> None:
    X, y = blobs(N, 12, distance=4)
    y[np.flatnonzero(y == 2)[2:]] = 0
    sources = [f"s{i % 5}" for i in range(N)]
    path = write_file(Path("few.h5"), X, y, meta={"source": sources})
    assert findings.SMALL_CLASS in codes_of(fit(path, head=["logreg"], leave_out="source"))


def test_the_best_of_many_is_said_to_be_flattered_and_a_single_one_is_not() -> None:
    X, y = blobs(N, 12, distance=0.5)
    path = write_file(Path("weak.h5"), X, y)
    several, single = fit(path, head=["logreg", "lda", "knn"]), fit(path, head=["logreg"])
    assert findings.FLATTERED in codes_of(several)
    assert findings.FLATTERED not in codes_of(single)


def test_the_model_records_what_choosing_its_head_scored_and_not_the_flattered_best() -> None:
    X, y = blobs(N, 12, distance=0.5)
    heads = ["logreg", "lda", "knn", "svm_rbf", "linear_svm"]
    result = fit(write_file(Path("weak.h5"), X, y), head=heads)
    training = model.load(result.run / "model.skops").training
    (honest,) = result.extractors
    assert training["scores"]["auroc"] == pytest.approx(honest.mean, abs=1e-6)
    own = next(score for score in result.ranking if score.head == result.winner["head"])
    assert training["scores_as_ranked"]["auroc"] == pytest.approx(own.mean["auroc"], abs=1e-6)
    assert training["scores"]["auroc"] < result.ranking[0].mean["auroc"]


def test_the_end_line_the_saved_model_and_the_page_say_the_same_and_why(capsys) -> None:
    """Though the ranking begins with another extractor."""
    X, y = blobs(N, 12, distance=1, seed=4)
    write_file(Path("whole.h5"), X, y)
    write_file(Path("half.h5"), X[:, :9], y)
    result = fit(["whole.h5", "half.h5"], head=["lda", "knn", "logreg"], cv=3)
    best = result.extractors[0].extractor
    assert result.ranking[0].extractor != best
    saved = model.load(result.run / "model.skops")
    name = f"{best} with {saved.head}"
    display.comparison(result)
    shown = " ".join(capsys.readouterr().out.split())
    assert f"Best by auroc: {name};" in shown
    assert " ".join(saved.training["why"].split()) in shown
    assert saved.training["why"] == result.winner["why"]
    assert f"{name} comes first" in words.answer(result.as_json())[0]
    assert (saved.extractor, saved.head) == (best, result.reports[0].head)


@pytest.mark.parametrize(
    ("share", "heads", "reason"),
    [
        (0.5, ["lda", "dummy"], "it is not shown to be better than guessing"),
        (0.5, ["lda"], "its AUROC may be chance"),
        (0.08, ["logreg"], "it says 'clear' of every image"),
    ],
)
def test_a_best_that_is_of_no_use_is_found_with_the_mend(
    share: float, heads: list[str], reason: str
) -> None:
    random = np.random.default_rng(1)
    X = random.normal(size=(N, 12)).astype(np.float32)
    y = (np.arange(N) >= N * (1 - share)).astype(int)
    path = write_file(Path("noise.h5"), X, y, classes=["clear", "opaque"])
    result = fit(path, head=heads, cv=3)
    (finding,) = (one for one in result.findings if one.code == findings.USELESS)
    assert reason in finding.message
    assert "--class-weight balanced" in finding.message


def test_a_best_that_calls_no_label_is_of_no_use() -> None:
    X, y = blobs(N, 12, distance=4)
    labels = np.eye(3, dtype=np.float32)[y][:, :2]
    path = write_file(Path("two.h5"), X, labels, classes=["a", "b"], kind="multilabel")
    of_no_use = fit(path, head=["lda"], cv=3, threshold=0.9999999999)
    assert of_no_use.reports[0].classes[0].f1 == 0
    (finding,) = (one for one in of_no_use.findings if one.code == findings.USELESS)
    assert "macro F1 0.000" in finding.message
    assert "it says 'nothing' of every image" in finding.message
    assert findings.USELESS not in codes_of(fit(path, head=["lda"], cv=3))


def test_a_control_that_does_as_well_is_found() -> None:
    X, y = blobs(N, 12, distance=4)
    write_file(Path("real.h5"), X, y)
    better, _ = blobs(N, 12, distance=9)
    write_file(Path("control.h5"), better, y, weights="random")
    result = fit(["real.h5", "control.h5"], head=["logreg"])
    assert findings.CONTROL_WINS in codes_of(result)


@pytest.mark.parametrize("options", [{}, {"split": True}], ids=["folds", "one test set"])
def test_a_control_is_beaten_by_a_test_and_not_by_a_hair(options: dict[str, bool]) -> None:
    """Twins but for a little noise: whichever is ahead, neither is shown to be better."""
    X, y = blobs(N, 12, distance=2)
    noise = X.std(axis=0) * np.random.default_rng(0).normal(size=X.shape).astype(np.float32)
    hardly = X + 0.2 * noise
    meta = {"split": ["test" if i % 3 else "train" for i in range(N)]}
    controls = []
    for first, second in ((X, hardly), (hardly, X)):
        real = write_file(Path("real.h5"), first, y, meta=meta)
        control = write_file(Path("control.h5"), second, y, weights="random:0", meta=meta)
        result = fit([real, control], head=["logreg"], **options)  # type: ignore[arg-type]
        means = {score.extractor: score.mean for score in result.extractors}
        controls.append(means["real"] > means["control"])
        (finding,) = (f for f in result.findings if f.code == findings.CONTROL_WINS)
        words = "is not shown to be better than" if controls[-1] else "random weights do as well"
        assert words in finding.message
    assert sorted(controls) == [False, True]
    control = write_file(Path("control.h5"), X + 30 * noise, y, weights="random:0", meta=meta)
    result = fit([real, control], head=["logreg"], **options)  # type: ignore[arg-type]
    assert findings.CONTROL_WINS not in codes_of(result)
    assert result.winner["extractor"] == "real"


def test_every_code_is_described_in_the_docs() -> None:
    text = (Path(__file__).parents[3] / "docs" / "results.md").read_text()
    codes = [v for k, v in vars(findings).items() if k.isupper() and isinstance(v, str)]
    assert len(codes) >= 8
    for code in [*codes, scorable_labels.TOO_RARE]:
        assert f"`{code}`" in text
