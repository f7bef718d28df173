from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from cxrfeat.errors import UnknownNameError
from cxrfeat.evaluation import metrics


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.booleans(), st.integers(2, 5))
def test_scores_equal_scikit_learns_with_ties_and_without(
    seed: int, ties: bool, n_classes: int
) -> None:
    random = np.random.default_rng(seed)
    y = np.concatenate([np.arange(n_classes), random.integers(0, n_classes, 40)])
    p = random.dirichlet(np.ones(n_classes), len(y))
    if ties:
        p = np.round(p, 1)
    predicted = p.argmax(axis=1)
    per_class = [reference.roc_auc_score(y == k, p[:, k]) for k in range(n_classes)]

    np.testing.assert_allclose(metrics.per_class_auroc(y, p), per_class, atol=1e-12)
    assert metrics.auroc(y, p) == pytest.approx(np.mean(per_class), abs=1e-12)
    assert metrics.accuracy(y, p) == pytest.approx(reference.accuracy_score(y, predicted))
    assert metrics.balanced_accuracy(y, p) == pytest.approx(
        reference.balanced_accuracy_score(y, predicted)
    )
    assert metrics.f1(y, p) == pytest.approx(
        reference.f1_score(y, predicted, average="macro", labels=range(n_classes))
    )


def test_a_class_that_is_absent_is_left_out_of_the_mean() -> None:
    y = np.array([0, 0, 1, 1])
    p = np.array([[0.9, 0.1, 0.0], [0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.1, 0.1, 0.8]])
    assert np.isnan(metrics.per_class_auroc(y, p)[2])
    assert metrics.auroc(y, p) == pytest.approx((1.0 + 0.75) / 2)
    assert metrics.balanced_accuracy(y, p) == pytest.approx(0.75)


def test_one_class_alone_has_no_auroc() -> None:
    assert np.isnan(metrics.auroc(np.zeros(3, int), np.full((3, 2), 0.5)))


def test_the_class_report_is_what_is_read_off_the_confusion_matrix() -> None:
    table = metrics.confusion(np.array([0, 0, 0, 1, 2]), np.array([0, 0, 1, 1, 1]), 3)
    assert table.tolist() == [[2, 1, 0], [0, 1, 0], [0, 1, 0]]
    report = metrics.per_class_report(table)
    assert report["precision"].tolist() == [1.0, pytest.approx(1 / 3), 0.0]
    assert report["recall"].tolist() == [pytest.approx(2 / 3), 1.0, 0.0]
    assert report["f1"].tolist() == [pytest.approx(0.8), pytest.approx(0.5), 0.0]
    assert report["support"].tolist() == [3, 1, 1]


def test_an_unknown_metric_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean auroc"):
        metrics.metric("aurocc")
