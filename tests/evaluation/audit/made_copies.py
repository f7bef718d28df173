"""Subjects of an audit whose truth is known."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.ndimage import gaussian_filter

from cxrfeat.evaluation.audit.prints import Prints
from cxrfeat.evaluation.audit.subject import Subject
from cxrfeat.evaluation.heads.registry import HEADS
from cxrfeat.evaluation.statistics.metrics import METRICS
from cxrfeat.evaluation.study.design import Asked, make_folds
from cxrfeat.evaluation.study.study import Extractor, Study


def subject(
    matrices: Mapping[str, np.ndarray],
    labels: np.ndarray,
    *,
    sha256: list[str] | None = None,
    meta: Mapping[str, np.ndarray] | None = None,
    seed: int = 0,
    head: str = "lda",
    cv: int = 3,
) -> Subject:
    """`labels` are classes, or a matrix of labels of which any number may hold."""
    n, exclusive = len(labels), labels.ndim == 1
    matrix = np.eye(int(labels.max()) + 1)[labels] if exclusive else labels
    study = Study(
        ids=[f"{row:04d}.png" for row in range(n)],
        classes=[f"class {k}" for k in range(matrix.shape[1])],
        kind="multiclass" if exclusive else "multilabel",
        labels=matrix.astype(np.float32),
        sha256=sha256 or [f"{row:064x}" for row in range(n)],
        meta={name: np.asarray(values, dtype=np.str_) for name, values in (meta or {}).items()},
        extractors=[
            Extractor(name, X.astype(np.float32), name.endswith("random"), {}, name)
            for name, X in matrices.items()
        ],
        notes=[],
    )
    design = make_folds(study, Asked(cv=cv, seed=seed))
    return Subject(study, design, HEADS[head], METRICS["auroc"], seed, jobs=1)


def prints(small: np.ndarray, hashes: np.ndarray | None = None) -> Prints:
    """Prints of small pictures that are all different."""
    n = len(small)
    if hashes is None:
        hashes = np.random.default_rng(7).integers(0, 2**63, n, dtype=np.uint64)
    digests = np.array([f"{row:x}-{value:x}" for row, value in enumerate(hashes)])
    return Prints(digests, hashes, np.ones(n, dtype=bool), small)


def pictures(n: int, side: int = 32, seed: int = 0) -> np.ndarray:
    """Smooth pictures of 8 bits, the same trunk in each."""
    random = np.random.default_rng(seed)
    grey = np.stack(
        [gaussian_filter(random.normal(size=(side, side)), side / 10) for _ in range(n)]
    )
    grey /= grey.std()
    trunk = np.sin(np.linspace(0, np.pi, side))[None, None, :] * 1.5
    grey = (grey + trunk) * 40 + 100
    return np.clip(grey, 0, 255).round().astype(np.uint8)
