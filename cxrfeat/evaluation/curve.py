"""Would more patients help? The best head of each extractor, trained on fewer of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from cxrfeat.evaluation.align import Extractor, Study
from cxrfeat.evaluation.crossvalidate import in_threads
from cxrfeat.evaluation.folds import Fold, Groups, Rows
from cxrfeat.evaluation.heads import Head
from cxrfeat.evaluation.shared import SharedFold
from cxrfeat.evaluation.tuning import Plan, score_fold
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

    def one(extractor: Extractor, share: float, fold: Fold) -> tuple[int, float]:
        train = _fewer(fold.train, labels, groups, share, plan.seed + fold.repeat)
        head = best[extractor.name]
        shared = SharedFold(extractor.X[train], extractor.X[fold.test], extractor.widths)
        known = None if groups is None else groups[train]
        outcome = score_fold(shared, labels[train], known, replace(plan, heads=[head]))[head.name]
        return len(train), plan.metric(labels[fold.test], outcome.probability, plan.exclusive)

    done = iter(in_threads(one, tasks, jobs))
    curves = []
    for extractor in study.extractors:
        points = []
        for share in SHARES:
            of_folds = [next(done) for _ in folds]
            scores = np.array([score for _, score in of_folds])
            scores = scores[np.isfinite(scores)]
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
                extractor.name, best[extractor.name].name, points, _sentence(points, plan)
            )
        )
    return curves


def _fewer(
    train: Rows, labels: npt.NDArray[np.float64], groups: Groups, share: float, seed: int
) -> Rows:
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


def _sentence(points: Sequence[Mapping[str, float]], plan: Plan) -> str:
    sign = 1.0 if plan.metric.larger_is_better else -1.0
    earlier, last = points[2], points[-1]
    rise = sign * (last["mean"] - earlier["mean"])
    title = plan.metric.title
    said = (
        f"from {earlier['images']:.0f} to {last['images']:.0f} training images {title} changed by"
        f" {rise:+.3f}"
    )
    if rise > ENOUGH:
        return f"{said}: more patients would probably help"
    return f"{said}: more patients of this kind would probably help little"
