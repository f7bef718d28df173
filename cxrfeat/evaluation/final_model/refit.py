"""The model that is saved: a head tuned and fitted on every image, as scikit-learn knows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from cxrfeat.arrays import Groups, Matrix, Matrix32
from cxrfeat.estimators import PerLabel, RowByRow
from cxrfeat.evaluation.heads.head import Head, fit_estimator
from cxrfeat.evaluation.heads.standardised_fold import SharedFold
from cxrfeat.evaluation.heads.task import Setting
from cxrfeat.evaluation.statistics.calling import fallback
from cxrfeat.evaluation.statistics.metrics import CUT
from cxrfeat.evaluation.validation.problems import Problem, problems
from cxrfeat.evaluation.validation.tuning import Plan, Tuned, tune, unfitted_link

SMALL = 2_000_000


def refit(
    head: Head,
    X: Matrix32,
    labels: Matrix,
    groups: Groups,
    plan: Plan,
    widths: Sequence[int] = (),
) -> tuple[RowByRow, list[Tuned]]:
    """Tune on all rows and fit.

    Parameters
    ----------
    labels : ndarray, shape (n, K)
        1, 0, or NaN where unknown (multi-label).
    widths
        Of the blocks, for several extractors side by side.

    Returns
    -------
    estimator : RowByRow
        ``predict_proba`` gives shape (n, K), the same bits for a row in any company.
    tuned : list of Tuned
        One, or one per label.
    """
    # On small matrices several threads wait for each other longer than they work.
    with threadpool_limits(1 if X.size < SMALL else None):
        return _refit(head, X, labels, groups, plan, widths)


def _refit(
    head: Head,
    X: Matrix32,
    labels: Matrix,
    groups: Groups,
    plan: Plan,
    widths: Sequence[int],
) -> tuple[RowByRow, list[Tuned]]:
    fold = SharedFold(X, np.arange(len(X)), np.arange(0), widths)
    found = problems(labels, groups, plan.exclusive, plan.seed)
    tuned = tune(head, fold, found, plan)
    if head.fit_large is not None and fold.n_train > head.large:
        bare = head.fit_large(fold, found.task, [one.setting for one in tuned], plan.seed)
    else:
        bare = [
            _estimator(head, X, problem, one.setting, plan.seed, widths)
            for problem, one in zip(found.each, tuned, strict=True)
        ]
    fitted = [_calibrated(head, estimator, one) for estimator, one in zip(bare, tuned, strict=True)]
    return RowByRow(fitted[0] if plan.exclusive else PerLabel(fitted)), tuned


def thresholds(tuned: Sequence[Tuned], plan: Plan, n_classes: int) -> list[float]:
    """Per class the probability above which it is called, from held-out training images.

    Multi-class calls the most probable one; what stands here keeps the plan's specificity.
    """
    found = np.full(n_classes, CUT if plan.exclusive else fallback(plan.threshold))
    for k, one in enumerate(tuned):
        if plan.exclusive and one.thresholds.size:
            found = np.where(np.isfinite(one.thresholds), one.thresholds, found)
        elif one.cuts.size:
            (found[k],) = one.cuts
    return [float(value) for value in found]


def probe(estimator: RowByRow, X: Matrix32, labels: Matrix) -> dict[str, Any]:
    """Record what a fitted classifier makes of the mean embedding of each class.

    Means, so that no image's embedding stands in the file for this.
    """
    of_class = [X[column == 1] for column in labels.T]
    means = [rows.mean(axis=0, dtype=np.float64) for rows in of_class if len(rows)]
    embeddings = np.stack(means).astype(np.float32)
    return {"embeddings": embeddings, "probabilities": estimator.predict_proba(embeddings)}


def _estimator(
    head: Head,
    X: Matrix32,
    problem: Problem,
    setting: Setting,
    seed: int,
    widths: Sequence[int],
) -> Any:
    n_classes = int(problem.y.max()) + 1
    estimator = head.estimator(setting, len(problem.rows), seed, widths, n_classes)
    return fit_estimator(head, estimator, X, problem.rows, problem.y)


def _calibrated(head: Head, estimator: Any, found: Tuned) -> Any:
    calibration = found.calibration
    if calibration is None and head.gives == "decisions":
        calibration = unfitted_link(len(estimator.classes_))
    return estimator if calibration is None else calibration.around(estimator)
