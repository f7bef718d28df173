"""The control on shuffled labels: the same in any block of rows, and as scikit-learn's ridge."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score

from cxrfeat.evaluation.heads.standardised_fold import SharedFold
from cxrfeat.evaluation.study.folds import Fold
from cxrfeat.evaluation.validation import label_shuffling
from cxrfeat.evaluation.validation.label_shuffling import permuted_auroc, shuffled_labels


def test_the_control_is_ridge_regression_in_any_block_of_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    random = np.random.default_rng(0)
    X = random.normal(size=(90, 8)).astype(np.float32)
    labels = (random.random((90, 2)) < 0.4).astype(float)
    labels[random.random((90, 2)) < 0.1] = np.nan
    patients = np.array([f"p{number}" for number in np.arange(90) // 2])
    fold = Fold("1", 0, np.arange(60), np.arange(60, 90))
    shared = SharedFold(X, fold.train, fold.test)
    shuffled = shuffled_labels(labels, patients, seed=0)
    whole = permuted_auroc(shared, fold, shuffled)
    monkeypatch.setattr(label_shuffling, "BLOCK", 7)
    np.testing.assert_allclose(permuted_auroc(shared, fold, shuffled), whole, atol=1e-12)
    for number in range(3):
        areas = []
        for k in range(2):
            of = shuffled[:, number, k]
            target = np.nan_to_num(of[fold.train])
            ridge = Ridge(alpha=label_shuffling.RIDGE * 60, fit_intercept=False)
            ridge.fit(shared.X[:60].astype(float), target - target.mean())
            known = np.isfinite(of[fold.test])
            score = ridge.predict(shared.X[60:].astype(float))
            areas.append(roc_auc_score(of[fold.test][known], score[known]))
        assert whole[number] == pytest.approx(np.mean(areas), abs=0.005)
