"""Labels that are learned side by side: what each would be alone, for the work of one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from cxrfeat.errors import InputError
from cxrfeat.evaluation.heads import linear, linear_solver, standardised_fold
from cxrfeat.evaluation.heads.cells import blocks, cells_of
from cxrfeat.evaluation.heads.registry import HEADS, find_heads, weighted
from cxrfeat.evaluation.heads.standardised_fold import SharedFold
from cxrfeat.evaluation.heads.task import Classes, Labels
from tests.evaluation.made import blobs, first_rows

LINEAR = ["logreg", "linear_svm", "lda"]
TRAIN = 150


def findings(unknown: bool) -> tuple[np.ndarray, np.ndarray]:
    """200 rows with a common label, a rare one, and one that many rows do not know."""
    X, y = blobs(200, 30, distance=2, n_classes=4)
    labels = np.stack([y < 2, y == 3, y % 2 == 0], axis=1).astype(np.float32)
    labels[(y == 3) & (np.arange(200) % 8 > 3), 1] = 0
    if unknown:
        labels[::9, 0] = np.nan
        labels[np.arange(200) % 5 > 1, 2] = np.nan
    return X, labels


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("class_weight", [None, "balanced"])
@pytest.mark.parametrize("unknown", [False, True], ids=["all known", "some unknown"])
@pytest.mark.parametrize("n_train", [TRAIN, 25], ids=["more images", "more dimensions"])
def test_a_label_is_learned_as_if_it_were_alone(
    name: str, class_weight: str | None, unknown: bool, n_train: int
) -> None:
    X, labels = findings(unknown)
    (head,), _ = weighted(find_heads([name]), class_weight)
    fold = first_rows(X, n_train)
    task = Labels(labels[:n_train])
    pairs = [(np.flatnonzero(fold.train % 3 != k), fold.test) for k in range(3)]
    together = head.path(fold, task, pairs, [head.grid] * 3, 0)
    for number, column in enumerate(task.values.T):
        known = np.isfinite(column)
        alone = [(fit[known[fit]], val) for fit, val in pairs]
        # Of classes, both sides: the second speaks for the label.
        scores = head.path(fold, Classes((column == 1).astype(int)), alone, [head.grid], 0)
        for found, expected in zip(together, scores, strict=True):
            np.testing.assert_allclose(found[..., number], expected[..., 1], atol=0.003)


@pytest.mark.parametrize("name", LINEAR)
def test_a_label_that_is_not_taught_is_unknown_and_leaves_the_others_as_they_are(
    name: str,
) -> None:
    X, labels = findings(unknown=False)
    labels[:100, 1] = 0
    fold, head = first_rows(X, TRAIN), HEADS[name]
    pairs = [(np.arange(100), fold.test), (np.arange(50, TRAIN), fold.test)]
    first, second = head.path(fold, Labels(labels[:TRAIN]), pairs, [head.grid] * 3, 0)
    assert np.isnan(first[..., 1]).all()
    assert np.isfinite(first[..., [0, 2]]).all()
    assert np.isfinite(second).all()


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note the columns of every pass over the rows."""
    passes: list[int] = []
    evaluate = linear_solver._Objective.__call__

    def noted(self: object, W: np.ndarray, columns: np.ndarray) -> object:
        passes.append(len(columns))
        return evaluate(self, W, columns)  # type: ignore[arg-type]

    monkeypatch.setattr(linear_solver._Objective, "__call__", noted)
    return passes


@pytest.mark.parametrize("name", ["logreg", "linear_svm"])
def test_more_labels_take_no_more_passes_over_the_rows(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, labels = findings(unknown=False)
    fold, head, passes = first_rows(X, TRAIN), HEADS[name], counted(monkeypatch)
    pairs = [(fold.train, fold.test)]
    one = Labels(labels[:TRAIN, :1])
    head.path(fold, one, pairs, [head.grid], 0)
    of_one = len(passes)
    head.path(fold, Labels(np.tile(one.values, 8)), pairs, [head.grid] * 8, 0)
    # Rounding may turn a step; one after the other they would take 8 times as many.
    assert len(passes) - of_one < 3 * of_one


def test_covariances_of_many_labels_multiply_the_rows_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    X, labels = findings(unknown=False)
    fold, head, multiplied = first_rows(X, TRAIN), HEADS["lda"], []
    multiply: Callable[[linear.Moments, np.ndarray], np.ndarray] = linear.Moments._multiplied

    def noted(self: linear.Moments, rows: np.ndarray) -> np.ndarray:
        multiplied.append(rows)
        return multiply(self, rows)

    monkeypatch.setattr(linear.Moments, "_multiplied", noted)
    pairs = [(np.flatnonzero(fold.train % 3 != k), fold.test) for k in range(3)]
    head.path(fold, Labels(labels[:TRAIN]), pairs, [head.grid] * 3, 0)
    np.testing.assert_array_equal(np.sort(np.concatenate(multiplied)), fold.train)


@pytest.mark.parametrize("name", ["logreg", "linear_svm"])
@pytest.mark.parametrize("labelled", ["classes", "labels"])
def test_without_all_principal_directions_the_same_is_found(
    name: str, labelled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where both images and channels are too many for a decomposition."""
    X, y = blobs(200, 300, distance=3)
    task = Classes(y[:TRAIN])
    if labelled == "labels":
        task = Labels(np.eye(3, dtype=np.float32)[y[:TRAIN]])
    settings = [HEADS[name].grid] * (3 if labelled == "labels" else 1)

    def scores() -> np.ndarray:
        fold = first_rows(X, TRAIN)
        (found,) = HEADS[name].path(fold, task, [(fold.train, fold.test)], settings, 0)
        return found

    turned = scores()
    monkeypatch.setattr(standardised_fold, "TURNED", 0)
    monkeypatch.setattr(standardised_fold, "WIDE", 0)
    monkeypatch.setattr(standardised_fold, "SAMPLE", 60)
    np.testing.assert_allclose(scores(), turned, atol=0.01)


def test_discriminant_analysis_of_too_many_numbers_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(linear, "MOST", 29)
    X, labels = findings(unknown=False)
    fold = first_rows(X, TRAIN)
    with pytest.raises(InputError, match=r"'lda' cannot learn from 150 images of 30 numbers"):
        HEADS["lda"].path(
            fold, Labels(labels[:TRAIN]), [(fold.train, fold.test)], [HEADS["lda"].grid] * 3, 0
        )


def test_every_row_is_in_one_cell_of_those_that_learn_from_it() -> None:
    fits = [np.array([0, 1, 2, 5]), np.array([2, 3, 5, 9])]
    cells = cells_of(fits)
    rows = np.sort(np.concatenate([cell.rows for cell in cells]))
    np.testing.assert_array_equal(rows, [0, 1, 2, 3, 5, 9])
    for number, fit in enumerate(fits):
        own = [cell.rows for cell in cells if number in cell.fits]
        np.testing.assert_array_equal(np.sort(np.concatenate(own)), fit)
    assert list(blocks(np.arange(3, 7))) == [slice(3, 7)]
    (scattered,) = blocks(np.array([3, 5]))
    np.testing.assert_array_equal(scattered, [3, 5])


def test_blocks_of_rows_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where rows are in many blocks the result is that of one, but for rounding."""
    from cxrfeat.evaluation.heads import cells

    X, labels = findings(unknown=True)
    fold = SharedFold(X, np.arange(TRAIN), np.arange(TRAIN, 200))
    pairs, task = [(fold.train, fold.test)], Labels(labels[:TRAIN])
    for name in LINEAR:
        monkeypatch.setattr(cells, "ROWS", 2048)
        settings = [HEADS[name].grid] * 3
        (whole,) = HEADS[name].path(fold, task, pairs, settings, 0)
        monkeypatch.setattr(cells, "ROWS", 7)
        (cut,) = HEADS[name].path(fold, task, pairs, settings, 0)
        np.testing.assert_allclose(cut, whole, atol=0.003)
