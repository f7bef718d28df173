"""Images that lie apart within their source are found, at a rate that is known."""

from __future__ import annotations

import numpy as np
import pytest

from cxrfeat.evaluation.audit.outliers import outlier_checks
from cxrfeat.results.audit import Verdict
from tests.evaluation.audit.made_copies import subject


def embeddings(n: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.normal(size=(n, 8)) @ random.normal(size=(8, 64)) + 0.1 * random.normal(
        size=(n, 64)
    )


def test_an_image_of_another_kind_is_found() -> None:
    X = embeddings(300)
    X[7] = 4 * np.random.default_rng(5).normal(size=64)
    (check,) = outlier_checks(subject({"net": X}, np.arange(300) % 2), None, {})
    assert check.verdict is Verdict.FOUND
    assert check.candidates[0].ids == ["0007.png"]
    assert check.tables[0].rows[0][0] == "0007.png"
    assert len(check.tables[0].rows) == 300


@pytest.mark.parametrize("n", [100, 400])
def test_images_of_one_kind_are_seldom_found_to_lie_apart(n: int) -> None:
    draws, alarms = 20, 0
    for seed in range(draws):
        asked = subject({"net": embeddings(n, seed)}, np.arange(n) % 2)
        alarms += outlier_checks(asked, None, {})[0].verdict is Verdict.FOUND
    assert alarms <= 0.1 * draws


def test_an_image_lies_apart_within_its_own_source() -> None:
    """It lies among the images of the other source, where it does not belong."""
    X, source = embeddings(300), np.repeat(["a", "b"], 150)
    X[150:] = embeddings(150, 1) + 3 * np.random.default_rng(2).normal(size=64)
    X[7] = X[200] + 0.3 * np.random.default_rng(3).normal(size=64)
    asked = subject({"net": X}, np.arange(300) % 2, meta={"source": source})
    assert outlier_checks(asked, None, {})[0].verdict is Verdict.NOT_FOUND
    check = outlier_checks(asked, "source", {})[0]
    assert [one.ids[0] for one in check.candidates] == ["0007.png"]
    assert check.candidates[0].facts["source"] == "a"


def test_images_of_the_same_patient_keep_no_outlier_company() -> None:
    X = embeddings(300)
    X[:12] = 4 * np.random.default_rng(5).normal(size=64) + 0.1 * embeddings(12, 4)
    group = np.array([f"p{max(row, 11)}" for row in range(300)])
    asked = subject({"net": X}, np.arange(300) % 2, meta={"group": group})
    assert {one.ids[0] for one in outlier_checks(asked, None, {})[0].candidates} == {
        f"{row:04d}.png" for row in range(12)
    }


def test_too_few_images_are_not_judged() -> None:
    asked = subject({"net": embeddings(40)}, np.arange(40) % 2)
    assert outlier_checks(asked, None, {})[0].verdict is Verdict.UNTESTED


def test_what_pictures_say_is_counted_by_class_and_shown() -> None:
    asked = subject({"net": embeddings(60)}, np.arange(60) % 2)
    blank = np.zeros(60, dtype=bool)
    blank[[3, 5, 8]] = True
    _, found, nothing = outlier_checks(asked, None, {"blank": blank, "rotated": ~blank & blank})
    assert (found.code, found.verdict) == ("marked:blank", Verdict.FOUND)
    assert "3 of 60" in found.answer
    assert "1 class 0, 2 class 1" in found.answer
    assert [one.ids[0] for one in found.candidates] == ["0003.png", "0005.png", "0008.png"]
    assert nothing.verdict is Verdict.NOT_FOUND
