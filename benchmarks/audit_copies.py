"""Copies, flipped labels and outliers where the truth is known; parts of `audit.py`.

    python benchmarks/audit.py flips outliers

- ``copies``: 200 drawn radiographs and 4 copies of each kind, embedded by fixed random filters:
  recall of each kind, precision of all.
- ``flips``: classes that overlap more or less; no label wrong, and 5 % of them.
- ``outliers``: images of one kind, and 2 % of another.
- ``duplicates``: 100,000 images in 2,048 dimensions: seconds and memory; takes minutes.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from cxrfeat.evaluation.audit.contradicted_labels import flipped
from cxrfeat.evaluation.audit.copies import find_copies
from cxrfeat.evaluation.audit.label_errors import label_checks
from cxrfeat.evaluation.audit.outliers import outlier_checks
from cxrfeat.evaluation.audit.prints import Prints
from cxrfeat.evaluation.audit.subject import Subject
from cxrfeat.evaluation.heads.registry import HEADS
from cxrfeat.evaluation.statistics.metrics import METRICS
from cxrfeat.evaluation.study.design import Asked, make_folds
from cxrfeat.evaluation.study.study import Extractor, Study
from cxrfeat.images.altered_copies import KINDS, altered_copy
from cxrfeat.images.drawing.phantom import CLASSES, Anatomy, draw_phantom
from cxrfeat.images.fingerprints import fingerprint
from cxrfeat.images.resizing import resize
from cxrfeat.results.audit import Verdict

IMAGES, SIDE, EACH, RATE = 200, 96, 4, 0.05
SEARCHED, DIMENSION = 100_000, 2048


def subject_of(X: np.ndarray, y: np.ndarray, seed: int) -> Subject:
    study = Study(
        ids=[f"{row}" for row in range(len(X))],
        classes=[f"class {k}" for k in range(int(y.max()) + 1)],
        kind="multiclass",
        labels=np.eye(int(y.max()) + 1, dtype=np.float32)[y],
        sha256=[f"{row}" for row in range(len(X))],
        meta={},
        extractors=[Extractor("net", X.astype(np.float32), False, {}, "net")],
        notes=[],
    )
    design = make_folds(study, Asked(seed=seed))
    return Subject(study, design, HEADS["lda"], METRICS["auroc"], seed, jobs=1)


def prints_of(pictures: list[np.ndarray]) -> Prints:
    taken = [fingerprint(picture) for picture in pictures]
    return Prints(
        np.array([one.pixels for one in taken]),
        np.array([one.hash for one in taken], dtype=np.uint64),
        np.ones(len(taken), dtype=bool),
        np.stack([one.small for one in taken]),
    )


def embedded(pictures: list[np.ndarray]) -> np.ndarray:
    """Embed by two layers of fixed random filters, averaged over the picture.

    The filters hardly tell left from right, as those of networks that were trained on mirrored
    pictures.
    """
    random = np.random.default_rng(0)
    maps = np.stack([resize(picture, 48) for picture in pictures])[:, None]
    means = []
    for filters in (24, 96):
        maps = maps - maps.mean(axis=(2, 3), keepdims=True)
        maps = maps / maps.std(axis=(1, 2, 3), keepdims=True)
        of = random.normal(size=(filters, maps.shape[1], 5, 5)).astype(np.float32)
        of = of + 0.8 * of[..., ::-1]
        windows = np.lib.stride_tricks.sliding_window_view(maps, (5, 5), axis=(2, 3))
        maps = np.stack(
            [np.maximum(np.tensordot(of, one, axes=([1, 2, 3], [0, 3, 4])), 0) for one in windows]
        )
        means.append(maps.mean(axis=(2, 3)))
        side = maps.shape[2] // 2
        maps = maps[:, :, : 2 * side, : 2 * side]
        maps = maps.reshape(*maps.shape[:2], side, 2, side, 2).max(axis=(3, 5))
    return np.hstack(means).astype(np.float32)


def copies(draws: int) -> None:
    hit, made, right, alarms = dict.fromkeys(KINDS, 0), dict.fromkeys(KINDS, 0), [], 0
    classes = np.arange(IMAGES) % len(CLASSES)
    for draw in range(draws):
        random = np.random.default_rng(draw)
        pictures = [draw_phantom(Anatomy.random(random), CLASSES[k], random, SIDE) for k in classes]
        rows = random.permutation(IMAGES)[: EACH * len(KINDS)]
        kinds = [kind for kind in KINDS for _ in range(EACH)]
        altered = [
            altered_copy(pictures[row], kind, draw * IMAGES + row)
            for row, kind in zip(rows, kinds, strict=True)
        ]
        alone, both = prints_of(pictures), prints_of(pictures + altered)
        X = embedded(pictures + altered)
        before = find_copies(X[:IMAGES], alone, classes, None, jobs=1)
        alarms += bool(len(before.pairs))
        of_both = np.concatenate([classes, classes[rows]])
        found = find_copies(X, both, of_both, None, jobs=1, ordinary=before.ordinary)
        shows = np.concatenate([np.arange(IMAGES), rows])
        ends = shows[found.pairs]
        right += (ends[:, 0] == ends[:, 1]).tolist()
        there = set(ends[ends[:, 0] == ends[:, 1], 0].tolist())
        for row, kind in zip(rows.tolist(), kinds, strict=True):
            hit[kind] += row in there
            made[kind] += 1
    print(
        f"copies, {draws} draws of {IMAGES} drawn radiographs: without copies some found in"
        f" {alarms}; {EACH} of each kind planted,"
        f" recall {sum(hit.values()) / sum(made.values()):.3f}, precision {np.mean(right):.3f}"
    )
    for kind in KINDS:
        print(f"  {kind:24} recall {hit[kind] / made[kind]:.3f} of {made[kind]}")


def flips(draws: int) -> None:
    n, dimension = 400, 20
    for distance in (2.0, 3.0, 4.0):
        for tails in ("normal", "heavy"):
            alarms, seen, recall, precision, claimed, bound = 0, 0, [], [], [], []
            for draw in range(draws):
                random = np.random.default_rng(draw)
                y = np.arange(n) % 3
                centres = random.normal(size=(3, dimension))
                centres *= distance / np.linalg.norm(centres, axis=1, keepdims=True)
                noise = (
                    random.normal(size=(n, dimension))
                    if tails == "normal"
                    else random.standard_t(5, size=(n, dimension)) / np.sqrt(5 / 3)
                )
                right = subject_of(centres[y] + noise, y, draw)
                (check,) = label_checks(right)
                alarms += check.verdict is Verdict.FOUND
                claimed.append(check.proofs[0].recall)
                labels = flipped(right.study.labels, True, RATE, random)
                wrong = labels.argmax(axis=1) != y
                (check,) = label_checks(replace(right, study=replace(right.study, labels=labels)))
                seen += check.verdict is Verdict.FOUND
                listed = np.array([int(one.ids[0]) for one in check.candidates], dtype=int)
                recall.append(wrong[listed].sum() / wrong.sum())
                precision.append(wrong[listed].mean() if len(listed) else np.nan)
                at_most = next(one.value for one in check.figures if "at most" in one.name)
                bound.append(at_most >= RATE)
            print(
                f"flips, {tails} tails, distance {distance:.0f}: right labels found wrong in"
                f" {alarms} of {draws}; 5 % wrong found in {seen}, recall {np.mean(recall):.2f}"
                f" (planted: {np.mean(claimed):.2f}), precision {np.nanmean(precision):.2f};"
                f" the bound held in {sum(bound)}",
                flush=True,
            )


def outliers(draws: int) -> None:
    for n in (100, 300, 1000):
        alarms, recall, precision = 0, [], []
        for draw in range(draws):
            random = np.random.default_rng(draw)
            X = random.normal(size=(n, 10)) @ random.normal(size=(10, 128))
            X += 0.3 * random.normal(size=X.shape)
            y = np.arange(n) % 2
            alarms += outlier_checks(subject_of(X, y, draw), None, {})[0].verdict is Verdict.FOUND
            odd = random.permutation(n)[: n // 50]
            X[odd] = 3 * random.normal(size=(len(odd), 128))
            (check,) = outlier_checks(subject_of(X, y, draw), None, {})
            listed = [int(one.ids[0]) for one in check.candidates]
            recall.append(np.isin(odd, listed).mean())
            precision.append(np.isin(listed, odd).mean() if listed else np.nan)
        print(
            f"outliers among {n}: none there, found in {alarms} of {draws}; 2 % there, recall"
            f" {np.mean(recall):.2f}, precision {np.nanmean(precision):.2f}",
            flush=True,
        )


def duplicates(draws: int) -> None:
    """One search, whatever the draws: 2 % of the images are near copies of others."""
    n, dimension, copied = SEARCHED, DIMENSION, SEARCHED // 50
    random = np.random.default_rng(0)
    basis = random.normal(size=(30, dimension)).astype(np.float32)
    X = random.normal(size=(n, 30)).astype(np.float32) @ basis
    X += 0.5 * random.standard_normal((n, dimension), dtype=np.float32)
    X[:copied] = X[copied : 2 * copied] + 0.3 * random.standard_normal(
        (copied, dimension), dtype=np.float32
    )
    np.maximum(X, 0, out=X)
    waves = random.normal(size=(n, 12)) @ random.normal(size=(12, 64)) + random.normal(size=(n, 64))
    waves[:copied] = waves[copied : 2 * copied] + 0.1 * random.normal(size=(copied, 64))
    hashes = np.packbits(waves > 0, axis=1).view(">u8")[:, 0].astype(np.uint64)
    small = np.stack(
        [np.kron(random.integers(0, 255, (8, 8)), np.ones((4, 4))) for _ in range(n)]
    ).astype(np.uint8)
    small[:copied] = small[copied : 2 * copied]
    of = Prints(np.arange(n).astype(np.str_), hashes, np.ones(n, dtype=bool), small)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started, worked = time.perf_counter(), time.process_time()
    found = find_copies(X, of, np.zeros(n, dtype=np.intp), None, jobs=2)
    seconds, worked = time.perf_counter() - started, time.process_time() - worked
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    right = found.pairs[:, 0] + copied == found.pairs[:, 1]
    print(
        f"duplicates, {n:,} x {dimension:,}: {seconds:.0f} s, {worked:.0f} s of processor,"
        f" {len(found.pairs)} pairs, recall"
        f" {right.sum() / copied:.3f}, precision {right.mean():.3f}; peak {peak / 2**20:.1f} GiB,"
        f" {before / 2**20:.1f} GiB before the search; searched {found.searched}; "
        + ", ".join(f"{name} {int(by.sum())}" for name, by in found.by.items())
    )


PARTS: dict[str, Callable[[int], None]] = {
    "copies": copies,
    "flips": flips,
    "outliers": outliers,
    "duplicates": duplicates,
}
