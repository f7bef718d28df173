"""The shared solver finds what scikit-learn's solvers find, run to their end in float64."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from cxrfeat.estimators import raw_scores
from cxrfeat.evaluation.heads import linear
from cxrfeat.evaluation.heads.registry import HEADS
from cxrfeat.evaluation.heads.standardised_fold import SharedFold
from cxrfeat.evaluation.heads.task import Classes
from tests.evaluation.made import blobs, first_rows

TRAIN = 120


def logistic_loss(margin: np.ndarray, y: np.ndarray) -> float:
    """Mean of -log p of the true class; two classes share one margin."""
    scores = np.concatenate([0 * margin, margin], axis=1) if margin.shape[1] == 1 else margin
    top = scores.max(axis=1)
    total = top + np.log(np.exp(scores - top[:, None]).sum(axis=1))
    return float(np.mean(total - scores[np.arange(len(y)), y]))


def squared_hinge(margin: np.ndarray, y: np.ndarray) -> float:
    sign = 2 * np.eye(y.max() + 1)[y][:, -margin.shape[1] :] - 1
    return float(np.sum(np.maximum(0, 1 - sign * margin) ** 2) / len(y))


def objective(name: str, Z: np.ndarray, y: np.ndarray, W: np.ndarray, C: float) -> float:
    """Mean loss plus |W|^2 / (2 C n); liblinear counts the intercept among the weights."""
    loss = {"logreg": logistic_loss, "linear_svm": squared_hinge}[name]
    penalised = W if name == "linear_svm" else W[:-1]
    value = loss(Z.astype(np.float64) @ W[:-1] + W[-1], y)
    return value + float(np.sum(penalised**2)) / (2 * C * len(y))


def minimised(
    name: str, fold: SharedFold, y: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> tuple[np.ndarray, np.ndarray]:
    """Weights and scores of the path, one of each per setting."""
    found = []
    solver = linear.minimise

    def watched(*arguments: object) -> np.ndarray:
        found.append(solver(*arguments))  # type: ignore[arg-type]
        return found[-1]

    monkeypatch.setattr(linear, "minimise", watched)
    head = HEADS[name]
    (scores,) = head.path(fold, Classes(y), [(fold.train, fold.test)], [head.grid], 0)
    return found[0].astype(np.float64), scores


@pytest.mark.parametrize("n_classes", [2, 3], ids=["two classes", "three classes"])
@pytest.mark.parametrize("dimension", [20, 300], ids=["more images", "more dimensions"])
@pytest.mark.parametrize("name", ["logreg", "linear_svm"])
def test_the_solver_comes_to_scikit_learns_objective_and_scores(
    name: str, dimension: int, n_classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y = blobs(TRAIN + 40, dimension, distance=3, n_classes=n_classes)
    fold = first_rows(X, TRAIN)
    W, scores = minimised(name, fold, y[:TRAIN], monkeypatch)
    for number, setting in enumerate(HEADS[name].grid):
        exact = (
            LogisticRegression(C=setting["C"], tol=1e-10, max_iter=100_000)
            if name == "logreg"
            else LinearSVC(C=setting["C"], dual=False, tol=1e-10, max_iter=1_000_000)
        ).fit(fold.X[:TRAIN].astype(np.float64), y[:TRAIN])
        best = objective(
            name, fold.X[:TRAIN], y[:TRAIN], np.vstack([exact.coef_.T, exact.intercept_]),
            setting["C"],
        )  # fmt: skip
        ours = objective(name, fold.rotated[:TRAIN], y[:TRAIN], W[number], setting["C"])
        # Single precision, and steps end at a relative fall of 1e-5: above, never below, the least.
        assert -1e-7 < (ours - best) / best < 1e-4, setting
        theirs = raw_scores(exact, HEADS[name].gives, fold.X[TRAIN:].astype(np.float64))
        np.testing.assert_allclose(scores[number], theirs, atol=0.01, err_msg=str(setting))
