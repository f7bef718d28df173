"""Embeddings of an outside set: fitted on the first, scored on these."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from cxrfeat import model
from cxrfeat.commands.fit import fit as fit_with_page
from cxrfeat.errors import InputError, SpecMismatchError
from tests.commands.fit_options.made import N, fit, made
from tests.evaluation.made import blobs, write_file


def test_an_outside_set_is_scored_by_what_was_fitted_on_the_first() -> None:
    inside, outside = made(), made("outside.h5", n=30, seed=0)
    with pytest.raises(SpecMismatchError, match="made in another way"):
        fit(inside, test=outside, head=["logreg"])
    Path("outside").mkdir()
    outside = made("outside/good.h5", n=30, seed=0)
    result = fit(inside, test=outside, head=["logreg", "dummy"])
    assert "fitted on 90 images, scored on 30" in result.folds
    rows = (result.run / "predictions.csv").read_text().splitlines()
    assert len(rows) == 1 + 2 * 30
    assert all(row.startswith("test:") for row in rows[1:])
    assert model.load(result.run / "model.skops").training["images"] == 90


def test_an_outside_set_of_other_classes_is_refused() -> None:
    Path("outside").mkdir()
    outside = made("outside/good.h5", classes=["x", "y", "z"])
    with pytest.raises(InputError, match="--test has other classes"):
        fit(made(), test=outside, head=["dummy"])


def two_extractors(folder: str, n: int, seed: int, patients: int) -> None:
    Path(folder).mkdir()
    X, y = blobs(n, 12, distance=3, seed=seed)
    noise = np.random.default_rng(seed).normal(size=X.shape)
    groups = {"group": [f"{folder}{i % patients}" for i in range(n)]}
    write_file(Path(folder) / "good.h5", X, y, meta=groups)
    write_file(Path(folder) / "worse.h5", (X + 6 * noise).astype(np.float32), y, meta=groups)


def two_classes_of_two_extractors(folder: str, keep: Sequence[int]) -> Path:
    """Write the images of some classes, as two extractors see them, less well the second."""
    Path(folder).mkdir()
    X, y = blobs(N, 12, distance=3)
    rows = np.isin(y, keep)
    noise = np.random.default_rng(0).normal(size=X.shape)
    write_file(Path(folder) / "good.h5", X[rows], y[rows])
    write_file(Path(folder) / "worse.h5", (X + noise)[rows].astype(np.float32), y[rows])
    return Path(folder)


def test_an_outside_set_of_one_class_has_no_auroc_and_this_is_said_before_the_work() -> None:
    inside = two_classes_of_two_extractors("inside", [0, 1, 2])
    outside = two_classes_of_two_extractors("outside", [1])
    worked = []
    with pytest.raises(
        InputError, match="macro AUROC is not defined: the 30 test images are all"
    ) as e:
        fit(inside, test=outside, head=["logreg"], progress=worked.append)
    assert "('opaque'); add images of another class, or give --metric accuracy" in str(e.value)
    assert not worked
    assert not Path("runs").exists()


def test_on_an_outside_set_of_one_class_the_accuracy_is_scored_and_the_rest_is_said() -> None:
    inside = two_classes_of_two_extractors("inside", [0, 1, 2])
    outside = two_classes_of_two_extractors("outside", [1])
    result = fit_with_page(inside, test=outside, head=["logreg", "dummy"], metric="accuracy")
    best = result.ranking[0]
    assert best.mean["accuracy"] == best.mean["sensitivity"] > 0.8
    assert np.isnan(best.mean["auroc"])
    assert "not defined on the test images of test: auroc, auprc" in result.notes
    assert result.comparisons[0].difference > 0
    assert (result.run / "report.html").exists()


def test_training_images_of_one_class_are_refused_before_the_work() -> None:
    inside = two_classes_of_two_extractors("inside", [0])
    outside = two_classes_of_two_extractors("outside", [0, 1])
    with pytest.raises(
        InputError, match=r"training images of 'test' are all of one class \('clear'"
    ):
        fit(inside, test=outside, head=["logreg"])


def test_delong_and_mcnemar_only_on_a_fixed_set_with_one_image_per_patient() -> None:
    two_extractors("inside", 90, seed=0, patients=90)
    two_extractors("single", 60, seed=0, patients=60)
    two_extractors("several", 60, seed=0, patients=20)
    single = fit("inside", test="single", head=["logreg"]).comparisons[0]
    assert [test["class"] for test in single.delong] == ["clear", "opaque", "streaked"]
    assert single.mcnemar is not None
    assert single.difference > 0
    several = fit("inside", test="several", head=["logreg"]).comparisons[0]
    assert several.delong == []
    assert several.mcnemar is None
    assert fit("inside", head=["logreg"]).comparisons[0].delong == []


def test_delong_is_adjusted_over_all_classes_and_pairs() -> None:
    two_extractors("inside", 90, seed=0, patients=90)
    two_extractors("single", 60, seed=0, patients=60)
    for folder, n in (("inside", 90), ("single", 60)):
        X, y = blobs(n, 12, distance=4)
        patients = {"group": [f"{folder}{i}" for i in range(n)]}
        write_file(Path(folder) / "third.h5", X[:, :3], y, meta=patients)
    result = fit("inside", test="single", head=["logreg"])
    tests = [test for pair in result.comparisons for test in pair.delong]
    assert len(tests) == 9  # three classes, three pairs
    order = sorted(tests, key=lambda test: test["p"])
    running = 0.0
    for place, test in enumerate(order):
        running = max(running, min(1.0, (9 - place) * test["p"]))
        assert test["p_holm"] == pytest.approx(running)
