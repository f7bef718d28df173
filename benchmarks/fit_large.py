"""What `cxrfeat fit` costs at the size of a collection: the parts of ``benchmarks/fit.py --large``.

The embeddings are simulated (`benchmarks/large_study.py`). Every measurement runs in a process of
its own, whose time, processor seconds and peak memory are those that the system counted for it.

    python benchmarks/fit.py --large heads     # 20,000 x 512 x 14, each head; against scikit-learn
    python benchmarks/fit.py --large full      # 112,120 x (512, 512, 2,048) x 14: cxrfeat fit
    python benchmarks/fit.py --large heads --head xgboost --seeds 6     # its gap, seed by seed
    python benchmarks/fit.py --large growth    # 5,000 to 80,000 images, the exponent of each head
    python benchmarks/fit.py --large added     # a third extractor added to a finished run of two

`--images`, `--dimensions` and `--head` make each of them smaller.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from large_study import NIH_IMAGES, simulated_collection
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from cxrfeat.comparison.loaded_study import load_study
from cxrfeat.cores import available_cores
from cxrfeat.estimators import BoostedTrees, raw_scores
from cxrfeat.evaluation.heads.registry import APPROXIMATE, FLOOR, HEADS, find_heads
from cxrfeat.evaluation.statistics.metrics import METRICS
from cxrfeat.evaluation.study.design import Asked, Design, plan_comparison
from cxrfeat.evaluation.study.study import Study
from cxrfeat.evaluation.validation.cost import seconds, share_out, size_of
from cxrfeat.evaluation.validation.cross_validation import CrossValidated, cross_validate
from cxrfeat.evaluation.validation.side_by_side import in_threads
from cxrfeat.evaluation.validation.tuning import Plan

LEARNING = [name for name in HEADS if name not in (FLOOR, "svm_rbf")]
"""Every head that learns, the kernel machine as it is at this size."""
SIZES = (16, 8, 4, 2, 1)
"""What part of the largest number of images is measured."""
REFERENCE: dict[str, Callable[[Mapping[str, Any], int], Any]] = {
    "logreg": lambda s, _: LogisticRegression(C=s["C"], max_iter=5000, tol=1e-8),
    "linear_svm": lambda s, _: LinearSVC(C=s["C"], dual="auto", max_iter=20_000, random_state=0),
    "lda": lambda s, _: LinearDiscriminantAnalysis(solver="lsqr", shrinkage=s["shrinkage"]),
    "knn": lambda s, _: KNeighborsClassifier(s["n_neighbors"], metric="cosine", algorithm="brute"),
    APPROXIMATE: lambda s, seed: make_pipeline(
        Nystroem(n_components=1024, random_state=seed), REFERENCE["linear_svm"](s, seed)
    ),
    "xgboost": lambda s, seed: BoostedTrees(s["n_estimators"], seed),
}
"""The estimators of scikit-learn, converged, and XGBoost label by label on all channels."""
DRAWN = ("xgboost", APPROXIMATE)
"""Heads that draw: two seeds differ on rare labels, so that all folds are compared, with the same
seed on both sides, and with `--seeds` more seeds than one."""


@dataclass(frozen=True)
class Measured:
    """One process: wall seconds, processor seconds, and peak memory in GB."""

    wall: float
    cpu: float
    peak: float
    found: dict[str, Any]


def in_a_process(work: Sequence[str], shown: bool = False) -> Measured:
    """Run a command to its end."""
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(list(work), stdout=out, stderr=None if shown else out)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        text = out.read()
    if process.returncode:
        raise SystemExit(f"{' '.join(work)} ended with {process.returncode}:\n{text[-3000:]}")
    last = text.strip().splitlines()[-1] if text.strip() else ""
    found = json.loads(last) if last.startswith("{") else {}
    wall = time.perf_counter() - started
    return Measured(wall, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e9, found)


def study_of(embeddings: Path) -> tuple[Study, Design]:
    """Load what is compared, with the folds of a run without options."""
    return plan_comparison(load_study(embeddings), Asked())


def validate(study: Study, design: Design, heads: Sequence[str], seed: int = 0) -> CrossValidated:
    """Work on all folds as `cxrfeat fit` does, without the control on shuffled labels."""
    plan = Plan(find_heads(heads), METRICS["auroc"], exclusive=False, threshold="f1", seed=seed)
    share = share_out(study.extractors, design.folds, len(study.classes), plan)
    return cross_validate(
        study.extractors,
        study.labels.astype(np.float64),
        design.groups,
        design.folds,
        plan,
        run=in_threads(share.at_once, share.threads),
        share=share,
        patients=np.array(study.ids),  # one for each image: nothing can be shuffled
    )


def measured(embeddings: Path, head: str, seed: int = 0) -> Measured:
    """Measure the folds of one head."""
    return in_a_process([sys.executable, __file__, str(embeddings), head, str(seed)])


def _measure_here(embeddings: Path, head: str, seed: int) -> None:
    """Do what `measured` measures, in its process; print what it found as JSON."""
    study, design = study_of(embeddings)
    started, cpu = time.perf_counter(), time.process_time()
    found = validate(study, design, [head], seed)
    took = {"wall": time.perf_counter() - started, "cpu": time.process_time() - cpu}
    rows = {}
    for extractor in study.extractors:
        rows[extractor.name] = [
            {
                "settings": [one.setting for one in outcome.tuned],
                "auroc": [
                    _auroc(study.labels[fold.test, k], outcome.probability[:, k])
                    for k in range(len(study.classes))
                ],
            }
            for fold, outcome in zip(
                design.folds, found.outcomes[extractor.name, head], strict=True
            )
        ]
    print(json.dumps({**took, "folds": rows}))


def _auroc(truth: np.ndarray, score: np.ndarray) -> float:
    known = np.isfinite(truth) & np.isfinite(score)
    return float(roc_auc_score(truth[known], score[known]))


def heads(options: Namespace, folder: Path) -> None:
    """Measure each head at 20,000 images, and compare its AUROC with scikit-learn's."""
    images, dimension = options.images or 20_000, (options.dimensions or [512])[0]
    simulated_collection(images, [dimension], 14, 0, folder)
    study, design = study_of(folder)
    (extractor,) = study.extractors
    frequent = np.argsort(-study.labels.sum(axis=0))
    labels = [int(frequent[place]) for place in (0, len(frequent) // 2, -1)]
    print(f"{images} images x {dimension} x {len(study.classes)} labels, {available_cores()} cores")
    named = ", ".join(study.classes[k] for k in labels)
    print(f"gap: AUROC less that of scikit-learn with the same setting, {named}")
    print(f"on fold 1; of {' and '.join(DRAWN)} the mean over all folds")
    if options.seeds > 1:
        print(f"and over {options.seeds} seeds, with the standard error of that mean over seeds")
    print(f"{'head':18}{'s':>8}{'cpu s':>8}{'GB':>6}{'expected':>10}   gap")
    for head in options.head or LEARNING:
        one = measured(folder, head)
        took = one.found
        expected = sum(
            seconds(head, size_of(extractor, fold, design.folds, len(study.classes), HEADS[head]))
            for fold in design.folds
        )
        figures = f"{took['wall']:8.1f}{took['cpu']:8.1f}{one.peak:6.2f}{expected:10.1f}"
        gaps: list[list[float]] = []
        for seed in range(options.seeds if head in DRAWN else 1) if options.plain_folds else ():
            folds = (measured(folder, head, seed) if seed else one).found["folds"][extractor.name]
            gaps.append([_gap(study, design, head, folds, label, seed) for label in labels])
            if options.seeds > 1 and head in DRAWN:
                said = ", ".join(f"{gap:+.4f}" for gap in gaps[-1])
                print(f"{head}, seed {seed}: {said}", flush=True)
        means = np.mean(gaps, axis=0) if gaps else []
        shown = [f"{gap:+.4f}" for gap in means]
        if len(gaps) > 1:
            errors = np.std(gaps, axis=0, ddof=1) / np.sqrt(len(gaps))
            shown = [f"{gap} ± {error:.4f}" for gap, error in zip(shown, errors, strict=True)]
        print(f"{head:18}{figures}   {', '.join(shown)}", flush=True)


def _gap(
    study: Study,
    design: Design,
    head: str,
    folds: Sequence[Mapping[str, Any]],
    label: int,
    seed: int,
) -> float:
    """AUROC of a label less that of scikit-learn; the mean over folds of a head that draws."""
    return float(
        np.mean(
            [
                fold["auroc"][label]
                - _reference(study, design, head, fold["settings"][label], label, number, seed)
                for number, fold in enumerate(folds[: None if head in DRAWN else 1])
            ]
        )
    )


def _reference(
    study: Study,
    design: Design,
    head: str,
    setting: Mapping[str, Any],
    label: int,
    number: int,
    seed: int,
) -> float:
    """AUROC of scikit-learn's own estimator on the fold of a number."""
    X, y, fold = study.extractors[0].X, study.labels[:, label], design.folds[number]
    estimator = make_pipeline(StandardScaler(), REFERENCE[head](setting, seed))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # convergence of liblinear is not what is measured
        estimator.fit(X[fold.train], y[fold.train].astype(int))
    gives = "probabilities" if hasattr(estimator, "predict_proba") else "decisions"
    return _auroc(y[fold.test], raw_scores(estimator, gives, X[fold.test])[:, 1])


def growth(options: Namespace, folder: Path) -> None:
    """Measure each head on more and more images; the exponents between neighbours and of all."""
    dimension = (options.dimensions or [512])[0]
    sizes = [(options.images or 80_000) // part for part in SIZES]
    for n in sizes:
        simulated_collection(n, [dimension], 14, 0, folder / str(n))
    print(f"{dimension} numbers x 14 labels, {available_cores()} cores")
    print("seconds / processor seconds (GB) per size; exponents of the three")
    print(f"{'head':18}" + "".join(f"{n:>24,}" for n in sizes) + "   exponents")
    for head in options.head or LEARNING:
        of_sizes = [measured(folder / str(n), head) for n in sizes]
        measures = [
            [one.found["wall"] for one in of_sizes],
            [one.found["cpu"] for one in of_sizes],
            [one.peak for one in of_sizes],
        ]
        figures = [
            f"{wall:.1f} / {cpu:.1f} ({peak:.2f})"
            for wall, cpu, peak in zip(*measures, strict=True)
        ]
        shown = "".join(f"{figure:>24}" for figure in figures)
        exponents = [np.polyfit(np.log(sizes), np.log(values), 1)[0] for values in measures]
        said = ", ".join(f"{exponent:.2f}" for exponent in exponents)
        print(f"{head:18}{shown}   {said}", flush=True)


def full(options: Namespace, folder: Path) -> None:
    """Run the whole command at the size of NIH ChestX-ray14: with `logreg` alone, then with all."""
    images, dimensions = options.images or NIH_IMAGES, options.dimensions or [512, 512, 2048]
    simulated_collection(images, dimensions, 14, 0, folder / "embeddings")
    print(f"{images} images x {dimensions} x 14 labels, {available_cores()} cores")
    for name, heads in {
        "logreg": ["logreg"],
        "all": options.head or [head.name for head in find_heads(None)],
    }.items():
        _fit(folder, f"{name}/run", heads, folder / "embeddings")


def added(options: Namespace, folder: Path) -> None:
    """Add a third extractor to a finished run of two; against that one alone."""
    images, dimensions = options.images or 20_000, options.dimensions or [512, 512, 512]
    paths = simulated_collection(images, dimensions, 14, 0, folder / "embeddings")
    heads = options.head or [head.name for head in find_heads(None)]
    print(f"{images} images x {dimensions} x 14 labels, {available_cores()} cores")
    alone = _fit(folder, "alone/third", heads, paths[2])
    _fit(folder, "runs/two", heads, *paths[:2])
    three = _fit(folder, "runs/three", heads, *paths)
    print(f"the third added: {three.wall / alone.wall:.2f} times that of it alone")


def _fit(folder: Path, name: str, heads: Sequence[str], *embeddings: Path) -> Measured:
    command = [sys.executable, "-m", "cxrfeat", "fit", *map(str, embeddings)]
    for head in heads:
        command += ["--head", head]
    one = in_a_process([*command, "--out", str(folder / name)], shown=True)
    page = folder / name / "report.html"
    size = f", page {page.stat().st_size / 1e6:.1f} MB" if page.exists() else ""
    kept = sum(path.stat().st_size for path in (folder / name / "folds").iterdir())
    print(
        f"{name}: {one.wall:.0f} s, {one.cpu:.0f} processor seconds, {one.peak:.2f} GB at most"
        f"{size}, folds {kept / 1e6:.0f} MB",
        flush=True,
    )
    return one


PARTS: dict[str, Callable[[Namespace, Path], None]] = {
    "heads": heads,
    "full": full,
    "growth": growth,
    "added": added,
}


def large(options: Namespace) -> None:
    """Run one part, in a folder of its own."""
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        PARTS[options.large](options, Path(folder))


if __name__ == "__main__":
    _measure_here(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
