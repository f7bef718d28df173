"""Would more patients help? The best head of each extractor, trained on fewer of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from cxrfeat.arrays import Groups, RowNumbers
from cxrfeat.evaluation.heads.registry import Head
from cxrfeat.evaluation.heads.standardised_fold import SharedFold
from cxrfeat.evaluation.statistics.paired_tests import corrected_t, size_ratio
from cxrfeat.evaluation.study.alignment import Extractor, Study
from cxrfeat.evaluation.study.folds import Fold
from cxrfeat.evaluation.validation.cross_validation import in_threads
from cxrfeat.evaluation.validation.tuning import Plan, score_fold
from cxrfeat.results import LearningCurve

SHARES = (0.2, 0.4, 0.6, 0.8, 1.0)
ENOUGH = 0.005
"""A rise over the last two fifths of the patients that is not worth collecting more for."""


def learning_curves(
    study: Study,
    groups: Groups,
    folds: Sequence[Fold],
    best: Mapping[str, Head],
    plan: Plan,
    jobs: int | None,
) -> list[LearningCurve]:
    """Train on a growing share of the training patients of each fold; test on the whole fold.

    The patients of a smaller share are among those of a larger one.

    Parameters
    ----------
    best
        Per extractor the head to draw the curve of.
    """
    tasks = [
        (extractor, share, fold)
        for extractor in study.extractors
        for share in SHARES
        for fold in folds
    ]
    labels = study.labels.astype(np.float64)
    unit = "images" if groups is None else "patients"

    def one(extractor: Extractor, share: float, fold: Fold) -> tuple[int, float]:
        train = _fewer(fold.train, labels, groups, share, plan.seed + fold.repeat)
        head = best[extractor.name]
        shared = SharedFold(extractor.X[train], extractor.X[fold.test], extractor.widths)
        known = None if groups is None else groups[train]
        outcome = score_fold(shared, labels[train], known, replace(plan, heads=[head]))[head.name]
        truth, p = labels[fold.test], outcome.probability
        return len(train), plan.metric(truth, p, plan.exclusive, outcome.cuts)

    sign = 1.0 if plan.metric.larger_is_better else -1.0
    done = iter(in_threads(one, tasks, jobs))
    curves = []
    for extractor in study.extractors:
        points, of_share = [], []
        for share in SHARES:
            of_folds = [next(done) for _ in folds]
            of_share.append(np.array([score for _, score in of_folds]))
            scores = of_share[-1][np.isfinite(of_share[-1])]
            points.append(
                {
                    "share": share,
                    "images": float(np.mean([n for n, _ in of_folds])),
                    "mean": float(scores.mean()) if len(scores) else float("nan"),
                    "sd": float(scores.std(ddof=1)) if len(scores) > 1 else float("nan"),
                }
            )
        curves.append(
            LearningCurve(
                extractor.name,
                best[extractor.name].name,
                points,
                _sentence(
                    points, sign * (of_share[-1] - of_share[2]), folds, plan.metric.title, unit
                ),
            )
        )
    return curves


def _fewer(
    train: RowNumbers, labels: npt.NDArray[np.float64], groups: Groups, share: float, seed: int
) -> RowNumbers:
    """Take the first share of the training patients in an order that alternates the classes."""
    if share >= 1:
        return train
    random = np.random.default_rng(seed)
    unit = train if groups is None else np.unique(groups[train], return_inverse=True)[1]
    units, first = np.unique(unit, return_index=True)
    classes = np.nan_to_num(labels[train[first]]).argmax(axis=1)
    rank = np.empty(len(units))
    for k in np.unique(classes):
        members = random.permutation(np.flatnonzero(classes == k))
        rank[members] = (np.arange(len(members)) + 0.5) / len(members)
    kept = units[rank <= share]
    return train[np.isin(unit, kept)]


def _sentence(
    points: Sequence[Mapping[str, float]],
    gains: npt.NDArray[np.float64],
    folds: Sequence[Fold],
    title: str,
    unit: str,
) -> str:
    """Judge the rise over the last two fifths by the corrected test over the folds."""
    rise = float(np.nanmean(gains))
    said = (
        f"from {points[2]['images']:.0f} to {points[-1]['images']:.0f} training images {title}"
        f" gained {rise:+.3f}"
    )
    known = gains[np.isfinite(gains)]
    if len(known) < 2:
        return f"{said} on the one test set there is: too little to tell"
    ratio = size_ratio([len(fold.train) for fold in folds], [len(fold.test) for fold in folds])
    test = corrected_t(known, ratio)
    if test.low > 0 and rise > ENOUGH:
        return f"{said}: more {unit} would probably help"
    if test.high < 2 * ENOUGH:
        return f"{said}: more {unit} of this kind would probably help little"
    return f"{said} (95 % interval {test.low:.3f} to {test.high:.3f}): too uncertain to tell"
