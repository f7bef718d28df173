"""What decides a piece, as one digest: only an equal piece is used again."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy.typing as npt
from threadpoolctl import threadpool_info

from cxrfeat.arrays import Groups, Matrix
from cxrfeat.evaluation.heads.head import Head
from cxrfeat.evaluation.heads.principal import split_name
from cxrfeat.evaluation.study.folds import Fold
from cxrfeat.evaluation.study.study import Extractor
from cxrfeat.evaluation.validation.pieces import SHUFFLED, Piece
from cxrfeat.evaluation.validation.tuning import Plan
from cxrfeat.version import __version__

_BLOCK = 64 << 20  # bytes that are read at a time, so that a mapped matrix stays on the disk


class Keys:
    """Digests of everything that a piece depends on, and of nothing else.

    That is the embeddings themselves, the labels, patients and folds, how heads are tuned and
    scored, and what computes it: the code, its packages, and the threads of linear algebra, on
    whose number the last bits of a large product depend. Which other extractors and heads a run
    has changes no piece, so they are not among it.

    Parameters
    ----------
    labels : ndarray, shape (N, K)
    groups : ndarray of str, shape (N,), or None
        Patients that tuning keeps together.
    patients : ndarray of str, shape (N,), or None
        Among whom labels are shuffled.
    threads : int
        Of linear algebra, for each task.
    """

    def __init__(
        self,
        extractors: Sequence[Extractor],
        labels: Matrix,
        groups: Groups,
        patients: Groups,
        folds: Sequence[Fold],
        plan: Plan,
        threads: int,
    ) -> None:
        self._folds = folds
        self._plan = plan
        self._heads = {head.name: head for head in plan.heads}
        self._extractors = {one.name: one for one in extractors}
        self._embeddings: dict[str, str] = {}
        self._tests = [digest_of(fold.test) for fold in folds]
        self._common = {
            "environment": {**environment(), "threads": threads},
            "labels": digest_of(labels),
            "groups": _digest_of_groups(groups),
        }
        self._patients = _digest_of_groups(patients)

    def of(self, piece: Piece) -> str:
        """Digest what decides a piece, as hexadecimal digits."""
        extractor, fold = self._extractors[piece.extractor], self._folds[piece.fold]
        decides = {
            **self._common,
            "extractor": {
                "fingerprint": extractor.fingerprint,
                "embeddings": self._digest_of_embeddings(extractor),
                "widths": list(extractor.widths),
            },
            "fold": {"train": digest_of(fold.train), "test": self._tests[piece.fold]},
            **(self._shuffling() if piece.head == SHUFFLED else self._learning(piece, fold)),
        }
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()

    def _shuffling(self) -> dict[str, Any]:
        return {"patients": self._patients, "seed": self._plan.seed}

    def _learning(self, piece: Piece, fold: Fold) -> dict[str, Any]:
        plan = self._plan
        others = [] if fold.repeat else [n for n, one in enumerate(self._folds) if not one.repeat]
        return {
            "head": _head(self._heads[piece.head]),
            "learned again without": [self._tests[number] for number in others],
            "plan": {
                "metric": plan.metric.name,
                "exclusive": plan.exclusive,
                "seed": plan.seed,
                "calibrate": plan.calibrate,
                "specificity": plan.specificity,
                "threshold": plan.threshold,
            },
        }

    def _digest_of_embeddings(self, extractor: Extractor) -> str:
        if extractor.name not in self._embeddings:
            self._embeddings[extractor.name] = digest_of(extractor.X)
        return self._embeddings[extractor.name]


def digest_of(array: npt.NDArray[Any]) -> str:
    """Digest an array: its kind, its shape and every bit of it."""
    found = hashlib.sha256(f"{array.dtype.str} {array.shape}\n".encode())
    if array.size:
        rows = max(1, _BLOCK // max(1, array.nbytes // len(array)))
        for start in range(0, len(array), rows):
            found.update(array[start : start + rows].tobytes())
    return found.hexdigest()


def _digest_of_groups(groups: Groups) -> str | None:
    return None if groups is None else digest_of(groups)


def _head(head: Head) -> dict[str, Any]:
    """Say what a head is; of one from elsewhere also the source of its module."""
    said: dict[str, Any] = {
        "name": head.name,
        "grid": [dict(setting) for setting in head.grid],
        "gives": head.gives,
        "inner": head.inner,
        # Functions by their names, a classifier from elsewhere with all its parameters.
        "path": hashlib.sha256(pickle.dumps(head.path)).hexdigest(),
    }
    if module := module_of(head):
        said["source"] = digest_of_module(module)
    return said


def module_of(head: Head) -> str:
    """Name the module of a head that is from elsewhere; "" for ours."""
    module, _, elsewhere = split_name(head.name)[1].partition(":")
    return module if elsewhere else ""


def digest_of_module(name: str) -> str | None:
    """Digest the source of a module; None where it cannot be imported, or has none."""
    try:
        source = getattr(import_module(name), "__file__", None)
    except ImportError:
        return None
    return _digest_of_files([Path(source)]) if source else None


@cache
def environment() -> Mapping[str, Any]:
    """Name what computes: the code, the packages and their linear algebra on this processor."""
    package = Path(__file__).parents[2]
    code = sorted([package / "estimators.py", *(package / "evaluation").rglob("*.py")])
    blas = {
        " ".join(str(one.get(part)) for part in ("internal_api", "version", "architecture"))
        for one in threadpool_info()
        if one["user_api"] == "blas"
    }
    packages = ("numpy", "scipy", "scikit-learn", "xgboost")
    return {
        "cxrfeat": __version__,
        "code": _digest_of_files([path for path in code if path.is_file()]),
        "blas": sorted(blas),
        **{name: _version(name) for name in packages},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _digest_of_files(paths: Sequence[Path]) -> str:
    found = hashlib.sha256()
    for path in paths:
        found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()
