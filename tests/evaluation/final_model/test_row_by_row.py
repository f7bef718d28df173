"""A row gets the same bits alone, in a subset, and in any order."""

from __future__ import annotations

import numpy as np
import pytest

from cxrfeat.evaluation.final_model.refit import refit
from cxrfeat.evaluation.heads import registry
from cxrfeat.evaluation.statistics.metrics import metric
from cxrfeat.evaluation.validation.tuning import Plan
from tests.evaluation.made import blobs

# Of the imported ones, the network's products depend on where a row stands among the others.
NAMES = [*registry.HEADS, "sklearn.neural_network:MLPClassifier"]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
@pytest.mark.parametrize("name", NAMES)
def test_every_head_gives_a_row_the_same_bits_in_any_company(name: str, kind: str) -> None:
    X, y = blobs(90, 129, distance=2)
    plan = Plan(registry.find_heads([name]), metric("auroc"), exclusive=kind == "multiclass")
    estimator, _ = refit(plan.heads[0], X, np.eye(3)[y], None, plan)
    whole = estimator.predict_proba(X)
    random = np.random.default_rng(0)
    for size in (1, 2, 63, 64, 65):
        rows = random.permutation(len(X))[:size]
        np.testing.assert_array_equal(estimator.predict_proba(X[rows]), whole[rows])
    assert estimator.predict_proba(X[:0]).shape == (0, 3)
    np.testing.assert_array_equal(estimator.predict_proba(np.asfortranarray(X)), whole)
