"""Flipped labels are found, right ones are not, and how many would be by chance is said."""

from __future__ import annotations

import numpy as np
import pytest

from cxrfeat.evaluation.audit.contradicted_labels import flipped, suggestions
from cxrfeat.evaluation.audit.label_errors import label_checks
from cxrfeat.results.audit import Verdict
from tests.evaluation.audit.made_copies import subject

N = 240


def classes(seed: int = 0, distance: float = 4.0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    y = np.arange(N) % 3
    centres = random.normal(size=(3, 12))
    centres *= distance / np.linalg.norm(centres, axis=1, keepdims=True)
    return centres[y] + random.normal(size=(N, 12)), y


def test_an_image_is_contradicted_by_a_class_that_it_belongs_to_as_its_own_images_do() -> None:
    p = np.array([[0.9, 0.1], [0.7, 0.3], [0.1, 0.9], [0.95, 0.05], [0.3, 0.7]])
    given = np.array([0, 0, 1, 1, 1])
    found, limits = suggestions(p, given)
    assert limits == pytest.approx([0.8, 0.55])
    assert found.tolist() == [-1, -1, -1, 0, -1]


def test_flipped_labels_are_found_and_named() -> None:
    X, y = classes()
    wrong = np.random.default_rng(1).permutation(N)[:12]
    given = y.copy()
    given[wrong] = (given[wrong] + 1) % 3
    (check,) = label_checks(subject({"net": X, "other": X @ np.diag(np.linspace(1, 2, 12))}, given))
    assert check.verdict is Verdict.FOUND
    candidates = {candidate.ids[0]: candidate for candidate in check.candidates}
    found = [row for row in wrong if f"{row:04d}.png" in candidates]
    assert len(found) >= 10
    one = candidates[f"{found[0]:04d}.png"]
    assert one.facts["suggested"] == f"class {y[found[0]]}"
    assert one.facts["label"] == f"class {given[found[0]]}"
    scores = [candidate.score for candidate in check.candidates]
    assert scores == sorted(scores, reverse=True)
    (proof,) = check.proofs
    assert proof.recall > 0.7
    assert 0 < check.figures[1].value < 6
    assert {table.name for table in check.tables} == {"label-errors", "label-errors-by-class"}
    assert all(len(row) == len(table.columns) for table in check.tables for row in table.rows)


@pytest.mark.parametrize("distance", [1.0, 2.5, 5.0])
def test_right_labels_are_not_found_to_be_wrong(distance: float) -> None:
    X, y = classes(4, distance)
    (check,) = label_checks(subject({"net": X}, y))
    assert check.verdict is Verdict.NOT_FOUND
    bound = next(one.value for one in check.figures if one.name == "share of wrong labels at most")
    assert 0 < bound <= 1


@pytest.mark.parametrize("wrong", [0, 12])
def test_labels_are_asked_about_where_the_head_tells_shares_of_a_few_neighbours(wrong: int) -> None:
    """Most of these shares are 0: their spread says nothing of what lies beyond a limit."""
    X, y = classes(4, 5.0)
    y[:wrong] = (y[:wrong] + 1) % 3
    (check,) = label_checks(subject({"net": X}, y, head="knn"))
    assert check.verdict is (Verdict.FOUND if wrong else Verdict.NOT_FOUND)
    assert {one.name: one.value for one in check.figures}["expected by chance"] < 6
    assert "Asked by logreg: knn" in check.answer


def test_controls_are_not_asked_where_there_is_a_pretrained_extractor() -> None:
    X, y = classes()
    noise = np.random.default_rng(0).normal(size=X.shape)
    (check,) = label_checks(subject({"net": X, "net-random": noise}, y))
    assert "net-random" not in check.answer


def test_each_label_is_asked_by_itself_and_what_is_unknown_is_not() -> None:
    random = np.random.default_rng(0)
    many = random.integers(0, 2, (N, 2)).astype(float)
    X = 5 * many @ random.normal(size=(2, 12)) + random.normal(size=(N, 12))
    given = many.copy()
    wrong = np.flatnonzero(many[:, 1] == 1)[:8]
    given[wrong, 1] = 0
    given[wrong[0], 0] = np.nan
    (check,) = label_checks(subject({"net": X}, given))
    assert check.verdict is Verdict.FOUND
    named = {(one.ids[0], one.facts["suggested"]) for one in check.candidates}
    assert sum((f"{row:04d}.png", "class 1") in named for row in wrong) >= 6
    assert (f"{wrong[0]:04d}.png", "class 0") not in named


def test_small_classes_are_not_judged() -> None:
    random = np.random.default_rng(0)
    (check,) = label_checks(subject({"net": random.normal(size=(36, 4))}, np.arange(36) % 2))
    assert check.verdict is Verdict.UNTESTED


def test_flips_are_as_many_as_asked_and_keep_what_is_unknown() -> None:
    random = np.random.default_rng(0)
    labels = np.eye(3, dtype=np.float32)[np.arange(200) % 3]
    new = flipped(labels, True, 0.05, random)
    assert (new != labels).any(axis=1).sum() == 10
    assert (new.sum(axis=1) == 1).all()
    many = (random.uniform(size=(200, 2)) < [0.1, 0.5]).astype(np.float32)
    many[:5] = np.nan
    new = flipped(many, False, 0.1, random)
    assert np.isnan(new[:5]).all()
    gained, lost = ((new - many)[5:] == step for step in (1, -1))
    np.testing.assert_array_equal(gained.sum(axis=0), lost.sum(axis=0))
    assert (lost.sum(axis=0) == np.round(0.1 * np.nansum(many, axis=0))).all()
