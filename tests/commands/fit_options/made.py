"""Small studies to fit."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from cxrfeat.commands.fit import fit as fit_with_page
from tests.evaluation.made import blobs, write_file

fit = partial(fit_with_page, report=False)  # the page has tests of its own

N = 90


def made(name: str = "good.h5", n: int = N, seed: int = 0, **options: object) -> Path:
    X, y = blobs(n, 12, distance=4, seed=seed)
    return write_file(Path(name), X, y, **options)  # type: ignore[arg-type]


def codes_of(result: object) -> list[str]:
    return [finding.code for finding in result.findings]  # type: ignore[attr-defined]


def multilabel(n: int = 240) -> tuple[Path, np.ndarray]:
    """Three findings as in NIH: any number may hold, 30 % are not known, one is very rare."""
    random = np.random.default_rng(5)
    X = random.normal(size=(n, 10)).astype(np.float32)
    labels = np.stack(
        [X[:, 0] + 0.5 * random.normal(size=n) > 0, X[:, 1] - X[:, 2] > 0.5, np.arange(n) < 3],
        axis=1,
    ).astype(np.float32)
    labels[random.random(labels.shape) < 0.3] = np.nan
    labels[:3, 2] = 1
    path = write_file(
        Path("nih.h5"),
        X,
        labels,
        classes=["Effusion", "Mass", "Hernia"],
        kind="multilabel",
        meta={"group": [f"p{i // 2}" for i in range(n)]},
    )
    return path, labels
