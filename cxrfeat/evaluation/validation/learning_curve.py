"""Would more patients help? The best head of each extractor, trained on fewer of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt

from cxrfeat.arrays import Groups, Matrix, RowNumbers
from cxrfeat.evaluation.heads.head import Head
from cxrfeat.evaluation.heads.standardised_fold import SharedFold
from cxrfeat.evaluation.statistics.paired_tests import corrected_t, size_ratio
from cxrfeat.evaluation.study.folds import Fold
from cxrfeat.evaluation.study.study import Extractor, Study
from cxrfeat.evaluation.validation.cross_validation import Common
from cxrfeat.evaluation.validation.side_by_side import Run, in_order, naming
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
    run: Run | None = None,
) -> list[LearningCurve]:
    """Train on a growing share of the training patients of each fold; test on the whole fold.

    The patients of a smaller share are among those of a larger one.

    Parameters
    ----------
    best
        Per extractor the head to draw the curve of.
    run : Run or None
        Where the folds are worked on; in threads, one per core, when left out.

    Raises
    ------
    ClusterError
        A task ends its process elsewhere each time; it is named.
    """
    common = Common(study.labels.astype(np.float64), groups, folds, plan)
    tasks = [
        (extractor, best[extractor.name], share, number)
        for extractor in study.extractors
        for share in SHARES
        for number in range(len(folds))
    ]

    def in_words(place: int) -> str:
        extractor, head, share, number = tasks[place]
        return f"{head.name} on {share:.0%} of {extractor.name}, {folds[number].name},"

    with naming(in_words):
        done = iter(in_order(run, partial(score_share, common), tasks))
    unit = "images" if groups is None else "patients"
    sign = 1.0 if plan.metric.larger_is_better else -1.0
    curves = []
    for extractor in study.extractors:
        points, of_share = [], []
        for share in SHARES:
            of_folds = [next(done) for _ in folds]
            of_share.append(np.array([score for _, score in of_folds]))
            points.append(_point(share, [n for n, _ in of_folds], of_share[-1]))
        gains = sign * (of_share[-1] - of_share[2])
        sentence = _sentence(points, gains, folds, plan.metric.title, unit)
        curves.append(LearningCurve(extractor.name, best[extractor.name].name, points, sentence))
    return curves


def score_share(
    common: Common, extractor: Extractor, head: Head, share: float, number: int
) -> tuple[int, float]:
    """Train one head on a share of a fold's training patients.

    It depends on its arguments alone, and they and the result can be pickled: it runs anywhere.

    Returns
    -------
    images : int
        Trained on.
    score : float
        Of the fold's test rows, in the primary metric.
    """
    fold, labels, groups, plan = common.folds[number], common.labels, common.groups, common.plan
    train = _fewer(fold.train, labels, groups, share, plan.seed + fold.repeat)
    shared = SharedFold(extractor.X, train, fold.test, extractor.widths)
    known = None if groups is None else groups[train]
    outcome = score_fold(shared, labels[train], known, replace(plan, heads=[head]))[head.name]
    truth, p = labels[fold.test], outcome.probability
    return len(train), plan.metric(truth, p, plan.exclusive, outcome.cuts)


def _point(share: float, images: Sequence[int], scores: Matrix) -> dict[str, float]:
    known = scores[np.isfinite(scores)]
    return {
        "share": share,
        "images": float(np.mean(images)),
        "mean": float(known.mean()) if len(known) else float("nan"),
        "sd": float(known.std(ddof=1)) if len(known) > 1 else float("nan"),
    }


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
