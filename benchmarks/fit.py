"""How much time the shared work of `cxrfeat fit` saves, against plain scikit-learn.

Three extractors (512, 512 and 2,048 numbers) x six heads x five folds, tuned over five settings in
three inner folds, on simulated embeddings of 6,432 images in three classes. Plain means
`GridSearchCV` over the pipeline of the same estimator, with the same folds and grids, both sides
with the same number of threads. The plain side of all folds would take hours: it runs the outer
folds named by --plain-folds of one extractor per dimension, and its time is multiplied up, openly.

    python benchmarks/fit.py                   # about a quarter of an hour on 2 cores
    python benchmarks/fit.py --images 1000     # a minute

Processor seconds are given beside wall seconds, because they do not depend on what else runs.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from joblib import parallel_config
from sklearn.model_selection import GridSearchCV
from threadpoolctl import threadpool_limits

from cxrfeat.evaluation.align import Extractor
from cxrfeat.evaluation.calibration import raw_scores
from cxrfeat.evaluation.crossvalidate import available_cores, cross_validate
from cxrfeat.evaluation.folds import Fold, cross_validation, inner_folds
from cxrfeat.evaluation.heads import FLOOR, HEADS, Head
from cxrfeat.evaluation.metrics import METRICS
from cxrfeat.evaluation.tuning import Outcome, Plan

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


def ours(
    extractors: list[Extractor], y: np.ndarray, folds: list[Fold], head: Head
) -> dict[tuple[str, str], list[Outcome]]:
    """One head over everything, as `cxrfeat fit` does it."""
    plan = Plan([head], AUROC)
    return cross_validate(extractors, np.eye(3)[y], None, folds, plan).outcomes


def plain(X: np.ndarray, y: np.ndarray, fold: Fold, head: Head) -> float:
    """AUROC of one outer fold by plain grid search."""
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
    return scorer(search.best_estimator_, X[fold.test], y[fold.test])


def main() -> None:
    """Run both sides and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=6432)
    parser.add_argument("--dimensions", type=int, nargs="+", default=[512, 512, 2048])
    parser.add_argument("--plain-folds", type=int, default=1)
    parser.add_argument("--head", nargs="+", default=[name for name in HEADS if name != FLOOR])
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # convergence of liblinear is not what is measured

    extractors, y = [], np.zeros(0, int)
    for number, dimension in enumerate(options.dimensions):
        X, y = embeddings(options.images, dimension, number + 1)
        extractors.append(Extractor(f"{number + 1}: {dimension}", X, False, {}, str(number)))
    folds = cross_validation(y, None, cv=5, repeats=1, seed=0, classes=CLASSES)
    print(f"{options.images} images, dimensions {options.dimensions}, {available_cores()} cores")
    print(f"plain: {options.plain_folds} of 5 folds, multiplied up")
    print(f"{'head':12}{'ours':>18}{'plain':>20}{'times':>8}   AUROC ours - plain")
    total = np.zeros(4)
    for name in options.head:
        head = HEADS[name]
        outcomes, wall, cpu = timed(lambda head=head: ours(extractors, y, folds, head))
        plain_wall = plain_cpu = 0.0
        gaps = []
        for dimension in sorted(set(options.dimensions)):
            first = options.dimensions.index(dimension)
            times = options.dimensions.count(dimension) * 5 / options.plain_folds
            for number, fold in enumerate(folds[: options.plain_folds]):
                X = extractors[first].X
                score, w, c = timed(lambda X=X, fold=fold, head=head: plain(X, y, fold, head))
                plain_wall, plain_cpu = plain_wall + w * times, plain_cpu + c * times
                outcome = outcomes[extractors[first].name, name][number]
                gaps.append(AUROC(np.eye(3)[y[fold.test]], outcome.probability, True) - score)
        total += [wall, cpu, plain_wall, plain_cpu]
        shown = ", ".join(f"{gap:+.4f}" for gap in gaps)
        print(_line(name, wall, cpu, plain_wall, plain_cpu) + f"   {shown}", flush=True)
    print(_line("all", *total))


def _line(name: str, wall: float, cpu: float, plain_wall: float, plain_cpu: float) -> str:
    return (
        f"{name:12}{wall:8.1f} s ({cpu:5.0f})"
        f"{plain_wall:10.0f} s ({plain_cpu:5.0f}){plain_cpu / cpu:7.1f}x"
    )


if __name__ == "__main__":
    main()
