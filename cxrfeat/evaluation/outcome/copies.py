"""Copies of images, byte for byte or near, and which images had better stay together for that."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from threadpoolctl import threadpool_info

from cxrfeat.arrays import Groups, Matrix32, RowNumbers
from cxrfeat.evaluation.outcome.near_copies import (
    LEVEL,
    WORK,
    Candidates,
    NearCopies,
    candidates,
    looks_at_all,
)
from cxrfeat.evaluation.study.study import Study
from cxrfeat.evaluation.validation.keys import digest_of, environment


class KeptSearches(Protocol):
    """Where searches for near copies are kept as they end, and found again."""

    def find_search(self, key: str) -> Candidates | None:
        """Give a search by what decides it."""
        ...

    def keep_search(self, key: str, extractor: str, found: Candidates) -> None:
        """Keep a search that has just ended."""
        ...


@dataclass(frozen=True)
class Copies:
    """What was found among some images of a study.

    Attributes
    ----------
    of_one : list of list of int
        Rows of each different image, several where it is there byte for byte.
    near : dict of str to NearCopies
        By extractor; its rows are places in `of_one`.
    """

    of_one: Sequence[Sequence[int]]
    near: Mapping[str, NearCopies]

    @cached_property
    def alike(self) -> dict[tuple[int, int], float]:
        """The cosine of each pair of near copies, by places in `of_one`."""
        return {
            (int(a), int(b)): float(cosine)
            for of in self.near.values()
            for (a, b), cosine in zip(of.pairs, of.cosine, strict=True)
        }

    @property
    def searched(self) -> int:
        """Images around which near copies were looked for."""
        return min(of.searched for of in self.near.values())

    def groups(self, n: int) -> npt.NDArray[np.intp]:
        """Give images that are copies of each other, or of a third, one number; shape (n,)."""
        pairs = [(rows[0], row) for rows in self.of_one for row in rows[1:]]
        pairs += [(self.of_one[a][0], self.of_one[b][0]) for a, b in self.alike]
        a, b = np.array(pairs, dtype=np.intp).reshape(-1, 2).T
        linked = coo_matrix((np.ones(len(a)), (a, b)), shape=(n, n))
        return np.asarray(connected_components(linked, directed=False)[1], dtype=np.intp)

    def note(self, n: int) -> str:
        """Say how many images stay together."""
        size = np.bincount(self.groups(n))
        size = size[size > 1]
        same = sum(len(rows) for rows in self.of_one if len(rows) > 1)
        near = len({place for pair in self.alike for place in pair})
        if not len(size):
            return "no image has a copy: there is nothing to keep together"
        return (
            f"{size.sum()} images in {len(size)} group{'s' * (len(size) > 1)} of copies stay on one"
            " side of every fold"
            f" ({same} byte for byte the same as another, {near} near copies)"
        )


def look_for_copies(
    study: Study,
    rows: RowNumbers,
    patients: Groups,
    seed: int,
    kept: KeptSearches | None = None,
) -> Copies:
    """Look for copies among some rows, near ones in the embeddings of each extractor.

    Looked at are the extractors with pretrained weights, or all where there is none; the work and
    the error rate are shared out among them. Byte-identical images count as one. What `kept` has of
    an earlier run is not looked for again.
    """
    copies: dict[str, list[int]] = defaultdict(list)
    for row in rows.tolist():
        copies[study.sha256[row] or f"row {row}"].append(row)
    of_one = list(copies.values())
    first = np.array([same[0] for same in of_one])
    alone = [extractor for extractor in study.extractors if not extractor.widths]
    looked = [extractor for extractor in alone if not extractor.control] or alone
    classes = study.y if study.kind == "multiclass" else np.zeros(len(study), dtype=np.intp)
    among = None if patients is None else patients[first]
    level, work = LEVEL / len(looked), WORK / len(looked)
    near = {}
    for extractor in looked:
        X = extractor.X if len(first) == len(study) else extractor.X[first]
        key = "" if kept is None else _decides(X, classes[first], among, seed, level, work)
        found = None if kept is None else kept.find_search(key)
        if found is None:
            found = candidates(X, classes[first], among, seed=seed, level=level, work=work)
            if kept is not None:
                kept.keep_search(key, extractor.name, found)
        near[extractor.name] = found.at(level)
    return Copies(of_one, near)


def _decides(
    X: Matrix32,
    classes: npt.NDArray[np.intp],
    patients: Groups,
    seed: int,
    level: float,
    work: float,
) -> str:
    """Digest everything that a search depends on; how many others there are only where it does."""
    blas = [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]
    decides = {
        "search": "near copies",
        "environment": {**environment(), "threads": sorted(blas)},
        "embeddings": digest_of(X),
        "classes": digest_of(classes),
        "patients": None if patients is None else digest_of(patients),
        "seed": seed,
        "shares": None if looks_at_all(len(X), X.shape[1], work) else [level, work],
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()
