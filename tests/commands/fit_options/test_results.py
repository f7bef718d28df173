"""The comparison of extractors, and what is written of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator, ValidationError

from cxrfeat.results import latex_table, markdown_table
from tests.commands.fit_options.made import N, fit, made, multilabel
from tests.evaluation.made import blobs, write_file


def test_every_pair_has_a_sentence() -> None:
    X, y = blobs(N, 12, distance=4)
    noise = np.random.default_rng(0).normal(size=X.shape).astype(np.float32)
    write_file(Path("good.h5"), X, y)
    write_file(Path("twin.h5"), X.copy(), y)
    write_file(Path("poor.h5"), 100 * noise, y)
    result = fit(["good.h5", "twin.h5", "poor.h5"], head=["logreg"], repeats=3)
    by_pair = {(c.first, c.second): c for c in result.comparisons}
    assert by_pair["good", "twin"].verdict == "same"
    assert (
        "practically the same (within 0.01), probability 1.00" in by_pair["good", "twin"].sentence
    )
    worse = by_pair["good", "poor"]
    assert worse.verdict == "better"
    assert worse.sentence.startswith(
        f"good over poor by {worse.difference:.3f} AUROC (95 % interval"
    )
    assert worse.sentence.endswith(f"better, probability {worse.better:.2f}")
    assert worse.p_holm >= worse.p


def test_extractors_are_compared_with_heads_that_the_training_rows_chose() -> None:
    result = fit(made(), head=["logreg", "lda", "knn", "dummy"])
    (score,) = result.extractors
    by_head = {row.head: row for row in result.ranking}
    for number, head in enumerate(score.heads):
        assert head != "dummy"
        gains = {name: row.folds[number]["gain"] for name, row in by_head.items()}
        assert gains[head] == max(value for name, value in gains.items() if name != "dummy")
        expected = by_head[head].folds[number]["metrics"]["auroc"]
        assert score.values[number] == expected
    low, high = score.interval
    assert low <= score.mean <= high


def test_the_learning_curve_grows_to_all_training_images() -> None:
    result = fit(made(), head=["lda"], cv=3, learning_curve=True)
    (curve,) = result.curves
    assert [point["share"] for point in curve.points] == [0.2, 0.4, 0.6, 0.8, 1.0]
    assert curve.points[-1]["images"] == 60
    assert curve.points[-1]["mean"] == pytest.approx(result.ranking[0].mean["auroc"], abs=1e-9)
    images = [point["images"] for point in curve.points]
    assert images == sorted(images)
    assert "more images of this kind would probably help little" in curve.sentence


def test_tables_are_drawn_from_the_saved_results_without_fitting_again() -> None:
    result = fit(made(), head=["logreg", "linear_svm"])
    saved = json.loads((result.run / "results.json").read_text())
    assert markdown_table(saved) == (result.run / "table.md").read_text()
    assert latex_table(saved) == (result.run / "table.tex").read_text()
    assert r"good & linear\_svm & $" in latex_table(saved)
    assert markdown_table(saved).count("\n") == 4


def test_sensitivity_is_also_given_at_the_specificity_that_was_asked_for() -> None:
    X, y = blobs(300, 12, distance=1.5)
    path = write_file(Path("hard.h5"), X, y)
    report = fit(path, head=["logreg"], specificity=0.8).reports[0]
    for entry in report.classes:
        assert entry.specificity_at == pytest.approx(0.8, abs=0.1)
        assert 0.2 < entry.sensitivity_at < 1


def test_results_follow_the_published_schema() -> None:
    schema = json.loads((Path(__file__).parents[3] / "docs/results.schema.json").read_text())
    validator = Draft202012Validator(schema)
    X, y = blobs(N, 12, distance=4)
    write_file(Path("good.h5"), X, y)
    write_file(Path("other.h5"), X[:, :6], y, weights="random")
    several = fit(["good.h5", "other.h5"], head=["logreg", "dummy"], learning_curve=True)
    split = ["val" if i % 3 == 0 else "train" for i in range(N)]
    single = fit(made("single.h5", meta={"split": split}), head=["dummy"], split=True)
    labelled = fit(multilabel()[0], head=["lda"])
    for result in (several, single, labelled):
        document = json.loads((result.run / "results.json").read_text())
        assert [error.message for error in validator.iter_errors(document)] == []
        with pytest.raises(ValidationError):
            validator.validate(document | {"metric": 7})
