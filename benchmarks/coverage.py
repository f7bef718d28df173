"""How often 95 % intervals of a cross-validated score hold the truth, on simulated patients.

    python benchmarks/coverage.py                  a quarter of an hour
    python benchmarks/coverage.py --draws 200 --patients 100

Two classes, patients of one image or of one to three whose disturbances are half shared, 5 folds
that keep patients together, logistic regression with a fixed L2 penalty (C = 1). The truth of a row
is the expected score of this head when it learns from the training part of a fold, over data sets
and folds: the mean of the exact scores (two normals) of all models of the row. ``old`` is the
percentile interval of 400 draws of the patients with the models as they are, ``tested`` the new
interval without the training patients' part, ``new`` what `cxrfeat fit` gives.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from cxrfeat.evaluation.statistics.intervals import Variance, limits, over_patients, over_training
from cxrfeat.evaluation.statistics.metrics import METRICS, Metric
from cxrfeat.evaluation.statistics.patient_bootstrap import PatientResamples, interval
from cxrfeat.evaluation.statistics.patient_influence import TestPatients
from cxrfeat.evaluation.study.folds import Fold

CV = 5
AT_ONCE = 50
SHOWN = ("auroc", "accuracy")


@dataclass(frozen=True)
class Scene:
    """What is simulated: `apart` is the distance of the classes in standard deviations."""

    patients: int
    most_images: int
    dimension: int
    apart: float

    @property
    def images(self) -> np.ndarray:
        """Images of each patient."""
        return 1 + np.arange(self.patients) // 2 % self.most_images


def logistic(X: np.ndarray, y: np.ndarray, start: np.ndarray | None = None) -> np.ndarray:
    """Weights of many logistic regressions at once, by Newton's steps; the first is the intercept.

    `X` is of shape (B, n, d), `y` of shape (n,), `start` are weights to begin with.
    """
    weights = np.zeros((len(X), X.shape[2])) if start is None else start.copy()
    ridge = np.diag([1e-6] + [1.0] * (X.shape[2] - 1))
    for _ in range(8 if start is None else 4):
        p = special.expit(np.matmul(X, weights[:, :, None])[:, :, 0])
        slope = np.matmul((y - p)[:, None, :], X)[:, 0] - weights @ ridge
        curve = np.matmul((X * (p * (1 - p))[:, :, None]).transpose(0, 2, 1), X) + ridge
        weights += np.linalg.solve(curve, slope[:, :, None])[:, :, 0]
    return weights


def exact(weights: np.ndarray, apart: float) -> dict[str, np.ndarray]:
    """AUROC and accuracy of each model on the population."""
    length = np.linalg.norm(weights[:, 1:], axis=1)
    right = (
        special.ndtr(-weights[:, 0] / length),
        special.ndtr((weights[:, 0] + apart * weights[:, 1]) / length),
    )
    return {
        "auroc": special.ndtr(apart * weights[:, 1] / length / np.sqrt(2)),
        "accuracy": (right[0] + right[1]) / 2,
    }


def probabilities(X: np.ndarray, weights: np.ndarray) -> np.ndarray:
    p = special.expit(np.matmul(X, weights[:, :, None])[:, :, 0])
    return np.stack([1 - p, p], axis=2)


def divided(scene: Scene, random: np.random.Generator) -> list[Fold]:
    """Folds that keep patients together and classes balanced."""
    of_patient = np.empty(scene.patients, dtype=np.intp)
    for side in (0, 1):
        order = random.permutation(np.arange(side, scene.patients, 2))
        of_patient[order] = np.arange(len(order)) % CV
    of_image = np.repeat(of_patient, scene.images)
    return [
        Fold(str(k), 0, np.flatnonzero(of_image != k), np.flatnonzero(of_image == k))
        for k in range(CV)
    ]


def simulated(scene: Scene, draws: int) -> Iterator[tuple[dict[str, np.ndarray], list[dict]]]:
    """Chunks of data sets: the exact scores of their models, and what was found in each."""
    random = np.random.default_rng(scene.patients * 10 + scene.most_images)
    patient = np.repeat(np.arange(scene.patients), scene.images)
    y = patient % 2
    truth, groups = np.eye(2)[y], patient.astype(str)
    for _ in range(draws // AT_ONCE):
        shape = (AT_ONCE, scene.dimension)
        X = np.sqrt(0.5) * random.normal(size=(shape[0], scene.patients, shape[1]))[:, patient]
        X += np.sqrt(0.5) * random.normal(size=X.shape)
        X[:, :, 0] += scene.apart * y
        X = np.concatenate([np.ones((*X.shape[:2], 1)), X], axis=2)
        folds = divided(scene, random)
        tested = TestPatients(folds, groups)
        resamples = PatientResamples(len(y), groups, resamples=400, seed=1)

        alone = [logistic(X[:, fold.train], y[fold.train]) for fold in folds]
        pairs = {}
        for j, k in itertools.combinations(range(CV), 2):
            rows = np.intersect1d(folds[j].train, folds[k].train)
            pairs[j, k] = logistic(X[:, rows], y[rows], alone[j])
        p = [probabilities(X[:, fold.test], w) for fold, w in zip(folds, alone, strict=True)]
        without = {
            (j, k): probabilities(X[:, folds[j].test], pairs[min(j, k), max(j, k)])
            for j, k in itertools.permutations(range(CV), 2)
        }
        share = np.array([[np.isin(a.train, b.test).mean() for b in folds] for a in folds])
        of_models = [exact(weights, scene.apart) for weights in alone]
        yield (
            {name: np.mean([one[name] for one in of_models], axis=0) for name in SHOWN},
            [
                {
                    name: judged(
                        METRICS[name], truth, folds, tested, resamples, share,
                        [one[b] for one in p], {pair: one[b] for pair, one in without.items()},
                    )
                    for name in SHOWN
                }
                for b in range(AT_ONCE)
            ],
        )  # fmt: skip


def judged(
    metric: Metric,
    truth: np.ndarray,
    folds: list[Fold],
    tested: TestPatients,
    resamples: PatientResamples,
    share: np.ndarray,
    p: list[np.ndarray],
    without: dict[tuple[int, int], np.ndarray],
) -> dict[str, tuple[float, float]]:
    """Intervals of one data set, and its score as an interval of no width."""
    scores = np.array([metric(truth[f.test], q, True) for f, q in zip(folds, p, strict=True)])
    again = np.full((CV, CV), np.nan)
    for (j, k), q in without.items():
        again[j, k] = metric(truth[folds[j].test], q, True)
    value, rarer = float(scores.mean()), tested.of_rarer_side(truth[:, 1])
    over_tested = over_patients(tested.contributions(metric, truth, p, True))
    training = over_training(scores, again, share) or Variance(0.0, 1.0)
    return {
        "score": (value, value),
        "old": interval(resamples.scores(metric, truth, folds, p, True)),
        "tested": limits(value, over_tested, metric.name, rarer),
        "new": limits(value, over_tested + training, metric.name, rarer),
    }


def row(scene: Scene, draws: int) -> list[str]:
    """Simulate one row per metric of the table."""
    started = time.monotonic()
    exacts: dict[str, list[np.ndarray]] = {name: [] for name in SHOWN}
    found: list[dict] = []
    for of_models, of_sets in simulated(scene, draws):
        for name in SHOWN:
            exacts[name].append(of_models[name])
        found += of_sets
    images = "1" if scene.most_images == 1 else f"1 to {scene.most_images}"
    lines = []
    for name in SHOWN:
        truth = float(np.mean(np.concatenate(exacts[name])))
        cells = []
        for method in ("old", "tested", "new"):
            low, high = np.array([one[name][method] for one in found]).T
            cells.append(f"{100 * np.mean((low <= truth) & (truth <= high)):.1f}")
        width = np.mean([one[name]["new"][1] - one[name]["new"][0] for one in found])
        lines.append(
            f"| {scene.patients} | {images} | {scene.dimension} | {METRICS[name].title}"
            f" | {truth:.3f} | {' | '.join(cells)} | {width:.3f} |"
        )
    lines.append(f"<!-- {time.monotonic() - started:.0f} s -->")
    return lines


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=1000, help="data sets per row")
    parser.add_argument("--patients", type=int, nargs="*", default=[100, 300, 1000])
    parser.add_argument("--dimension", type=int, nargs="*", default=[16])
    parser.add_argument("--auroc", type=float, nargs="*", default=[0.85], help="of the best rule")
    options = parser.parse_args()
    error = 100 * np.sqrt(0.95 * 0.05 / options.draws)
    print(f"{options.draws} data sets a row: a coverage of 95 is known to {error:.1f} (one sd)")
    print("| patients | images each | dimensions | metric | truth | old | tested | new | width |")
    print("|---:|---:|---:|---|---:|---:|---:|---:|---:|", flush=True)
    for patients, most, dimension, area in itertools.product(
        options.patients, (1, 3), options.dimension, options.auroc
    ):
        apart = float(np.sqrt(2) * stats.norm.ppf(area))
        print("\n".join(row(Scene(patients, most, dimension, apart), options.draws)), flush=True)


if __name__ == "__main__":
    main()
