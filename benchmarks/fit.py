"""How much time the shared work of `cxrfeat fit` saves, against plain scikit-learn.

Three extractors (512, 512 and 2,048 numbers) x six heads x five folds, tuned over five settings in
three inner folds, on simulated embeddings of 6,432 images in three classes. Plain means
`GridSearchCV` over the pipeline of the same estimator, with the same folds and grids, both sides
with the same number of threads. The plain side of all folds would take hours: it runs the outer
folds named by --plain-folds of one extractor per dimension, and its time is multiplied up, openly.

    python benchmarks/fit.py                   # about a quarter of an hour on 2 cores
    python benchmarks/fit.py --images 1000     # a minute
    python benchmarks/fit.py --large heads     # the size of collections: see `fit_large.py`

Processor seconds are given beside wall seconds, because they do not depend on what else runs. AUROC
is compared with the setting that plain grid search chose, on the test rows of the outer fold. Ours
scales a fold once, plain each inner fold anew, so that of two settings that tune alike they may
choose one each; what that makes is given in brackets.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from fit_large import PARTS, large
from joblib import parallel_config
from sklearn.model_selection import GridSearchCV
from threadpoolctl import threadpool_limits

from cxrfeat.cores import available_cores
from cxrfeat.estimators import raw_scores
from cxrfeat.evaluation.heads.head import Head
from cxrfeat.evaluation.heads.registry import HEADS
from cxrfeat.evaluation.heads.standardised_fold import SharedFold
from cxrfeat.evaluation.heads.task import Classes
from cxrfeat.evaluation.statistics.metrics import METRICS
from cxrfeat.evaluation.study.folds import Fold, cross_validation, inner_folds
from cxrfeat.evaluation.study.study import Extractor
from cxrfeat.evaluation.validation.cross_validation import cross_validate
from cxrfeat.evaluation.validation.tuning import Plan

CLASSES = ["a", "b", "c"]
AUROC = METRICS["auroc"]
PARAMETER = {
    "logreg": ("logisticregression__C", "C"),
    "linear_svm": ("linearsvc__C", "C"),
    "lda": ("lineardiscriminantanalysis__shrinkage", "shrinkage"),
    "knn": ("kneighborsclassifier__n_neighbors", "n_neighbors"),
    "svm_rbf": ("svc__C", "C"),
    "xgboost": ("n_estimators", "n_estimators"),
}


def embeddings(images: int, dimension: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rectified mixtures of 64 latent causes, of which three know the class."""
    random = np.random.default_rng(seed)
    y = np.arange(images) % 3
    causes = np.random.default_rng(0).normal(size=(images, 64))
    causes[:, :3] += 1.2 * np.eye(3)[y]
    mixed = causes @ random.normal(size=(64, dimension)) / 8
    X = np.maximum(0, mixed + 0.5 * random.normal(size=(images, dimension)))
    return X.astype(np.float32), y


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """Do the work; return its result, wall seconds and processor seconds of all threads."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - wall, time.process_time() - cpu


class Clock:
    """Adds up the processor seconds that each head's own work takes, over all threads."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def around(self, head: Head) -> Head:
        """Return the head with its path under the clock."""

        def path(*arguments: Any) -> Any:
            started = time.thread_time()
            scores = head.path(*arguments)
            spent = time.thread_time() - started
            self.seconds[head.name] = self.seconds.get(head.name, 0.0) + spent
            return scores

        return replace(head, path=path)


def plain(X: np.ndarray, y: np.ndarray, fold: Fold, head: Head) -> tuple[float, dict[str, Any]]:
    """AUROC of one outer fold by plain grid search, and the setting that it chose."""
    name, key = PARAMETER[head.name]

    def scorer(estimator: Any, rows: np.ndarray, truth: np.ndarray) -> float:
        return AUROC(np.eye(3)[truth], raw_scores(estimator, head.gives, rows), True)

    search = GridSearchCV(
        head.estimator(head.grid[0], len(fold.train), 0),
        {name: [setting[key] for setting in head.grid]},
        scoring=scorer,
        cv=inner_folds(y[fold.train], None, 0),
        n_jobs=available_cores(),
    )
    with parallel_config("threading"), threadpool_limits(1):
        search.fit(X[fold.train], y[fold.train])
    score = scorer(search.best_estimator_, X[fold.test], y[fold.test])
    return score, {key: search.best_params_[name]}


def _raw(head: Head, X: np.ndarray, y: np.ndarray, fold: Fold, setting: dict[str, Any]) -> float:
    """AUROC of our path with a setting, before decision scores are calibrated.

    Plain grid search has no calibration, and a softmax over classes changes their AUROC.
    """
    shared = SharedFold(X, fold.train, fold.test)
    pair = (shared.train, shared.test)
    (scores,) = head.path(shared, Classes(y[fold.train]), [pair], [[setting]], 0)
    return AUROC(np.eye(3)[y[fold.test]], scores[0], True)


def main() -> None:
    """Run both sides and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int)
    parser.add_argument("--dimensions", type=int, nargs="+")
    parser.add_argument("--plain-folds", type=int, default=1)
    parser.add_argument("--head", nargs="+")
    parser.add_argument("--large", choices=PARTS)
    parser.add_argument("--seeds", type=int, default=1, help="of heads that draw, in --large heads")
    parser.add_argument("--folder", help="where --large puts its files; some GB for 'full'")
    options = parser.parse_args()
    if options.large:
        large(options)
        return
    options.images = options.images or 6432
    options.dimensions = options.dimensions or [512, 512, 2048]
    options.head = options.head or list(PARAMETER)
    warnings.simplefilter("ignore")  # convergence of liblinear is not what is measured

    extractors, y = [], np.zeros(0, int)
    for number, dimension in enumerate(options.dimensions):
        X, y = embeddings(options.images, dimension, number + 1)
        extractors.append(Extractor(f"{number + 1}: {dimension}", X, False, {}, str(number)))
    folds = cross_validation(y, None, cv=5, repeats=1, seed=0, classes=CLASSES)
    print(f"{options.images} images, dimensions {options.dimensions}, {available_cores()} cores")
    print(f"plain: {options.plain_folds} of 5 folds, multiplied up")
    clock = Clock()
    plan = Plan([clock.around(HEADS[name]) for name in options.head], AUROC)
    validated, wall, cpu = timed(
        lambda: cross_validate(extractors, np.eye(3)[y], None, folds, plan)
    )
    print(f"{'processor seconds':20}{'ours':>10}{'plain':>10}{'times':>8}   AUROC ours - plain")
    plain_wall = plain_cpu = 0.0
    for name in options.head:
        head, spent, gaps = HEADS[name], 0.0, []
        for dimension in sorted(set(options.dimensions)):
            first = options.dimensions.index(dimension)
            times = options.dimensions.count(dimension) * 5 / options.plain_folds
            for number, fold in enumerate(folds[: options.plain_folds]):
                X = extractors[first].X
                (score, setting), w, c = timed(
                    lambda X=X, fold=fold, head=head: plain(X, y, fold, head)
                )
                plain_wall, spent = plain_wall + w * times, spent + c * times
                gap = f"{_raw(head, X, y, fold, setting) - score:+.4f}"
                ours = validated.outcomes[extractors[first].name, name][number].tuned[0].setting
                if ours != setting:
                    gap += f" ({ours}: {_raw(head, X, y, fold, ours) - score:+.4f})"
                gaps.append(gap)
        plain_cpu += spent
        own = clock.seconds[name]
        shown = f"{spent / own:7.1f}x   {', '.join(gaps)}"
        print(f"{name:20}{own:10.1f}{spent:10.0f}{shown}", flush=True)
    print(f"{'shared by all heads':20}{cpu - sum(clock.seconds.values()):10.1f}")
    print(f"{'all':20}{cpu:10.1f}{plain_cpu:10.0f}{plain_cpu / cpu:7.1f}x")
    print(f"{'all, wall seconds':20}{wall:10.1f}{plain_wall:10.0f}{plain_wall / wall:7.1f}x")


if __name__ == "__main__":
    main()
