"""Images that are like no other of their source, and images that a look at the picture marks.

The distance of an image is the mean cosine distance, in the embedding, to its ten nearest of the
same source (Ramaswamy et al. 2000 by the distance to the k-th; the mean moves less). Images of its
own patient do not count. How far is too far is said by the images themselves: on a log scale, each
source by itself brought to the same middle and spread, the tail of all distances gives each a
probability, and the false discovery rate is held over all images. An outlier is not an error: a
rare finding lies far from the others, too.

References
----------
Ramaswamy S, Rastogi R, Shim K. Efficient algorithms for mining outliers from large data sets.
SIGMOD 2000.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from cxrfeat.arrays import RowNumbers, Vector
from cxrfeat.evaluation.audit.duplicate_pairs import looked_at
from cxrfeat.evaluation.audit.duplicate_words import label_text
from cxrfeat.evaluation.audit.nearest import nearest, numbered, standardised
from cxrfeat.evaluation.audit.subject import Subject
from cxrfeat.evaluation.audit.tails import FEWEST, Tail, discoveries
from cxrfeat.results.audit import Candidate, Check, Figure, Section, Table, Verdict

NEIGHBOURS = 10
SMALLEST = 20
"""Images of a source below which it is not judged: ten neighbours are then half of it."""
LEVEL = 0.05
"""False discovery rate."""
SHOWN = 100
LISTED = 10_000


def outlier_checks(
    subject: Subject,
    source_column: str | None,
    marks: Mapping[str, npt.NDArray[np.bool_]],
) -> list[Check]:
    """Ask for images that lie apart, and show those that are marked.

    Parameters
    ----------
    source_column : str or None
        Of `Study.meta`; all images are one source without.
    marks : mapping of str to ndarray of bool, shape (N,)
        What pictures say, e.g. ``"blank"``: which images.
    """
    return [
        _apart(subject, source_column),
        *(_marked(subject, name, rows) for name, rows in marks.items()),
    ]


def distances(subject: Subject, sources: npt.NDArray[np.str_] | None) -> tuple[Vector, Vector]:
    """Distance of each image to its nearest of the same source, and how unusual that is.

    Returns
    -------
    distance : ndarray, shape (N,)
        Mean cosine distance; NaN in a source of fewer than `SMALLEST` images.
    unusual : ndarray, shape (N,)
        Its logarithm, in spreads above the middle of the source.
    """
    study = subject.study
    codes = numbered(subject.design.patients, len(study))
    every = np.zeros(len(study), dtype=np.str_) if sources is None else sources
    of_source = numbered(every, len(study))
    Z = standardised(looked_at(subject).X)
    distance, unusual = np.full((2, len(study)), np.nan)
    for source in range(int(of_source.max()) + 1):
        rows = np.flatnonzero(of_source == source)
        if len(rows) < SMALLEST:
            continue
        distance[rows] = _mean_distance(Z if len(rows) == len(Z) else Z[rows], codes[rows], subject)
        known = rows[np.isfinite(distance[rows])]
        if len(known) < SMALLEST:
            continue
        logs = np.log(np.maximum(distance[known], 1e-6))
        low, middle, high = np.quantile(logs, [0.25, 0.5, 0.75])
        unusual[known] = (logs - middle) / max(high - low, 1e-6)
    return distance, unusual


def _mean_distance(Z: npt.NDArray[np.float32], codes: RowNumbers, subject: Subject) -> Vector:
    _, cosine = nearest(Z, codes, NEIGHBOURS, subject.jobs)
    known = np.isfinite(cosine)
    total = np.where(known, 1.0 - cosine, 0.0).sum(axis=1, dtype=np.float64)
    count = known.sum(axis=1)
    return np.divide(total, count, out=np.full(len(Z), np.nan), where=count > 0)


def _apart(subject: Subject, source_column: str | None) -> Check:
    study, extractor = subject.study, looked_at(subject)
    question = "Are there images that are like no other of their source?"
    sources = None if source_column is None else study.meta[source_column]
    distance, unusual = distances(subject, sources)
    judged = np.flatnonzero(np.isfinite(unusual))
    tail = Tail.of(unusual[judged])
    if tail is None:
        return Check(
            "outliers", Section.OUTLIERS, question, Verdict.UNTESTED,
            f"At least {FEWEST} images are needed, in sources of at least {SMALLEST}; there are"
            f" {len(judged)}.",
        )  # fmt: skip
    chance = tail.chance(unusual[judged])
    found = judged[discoveries(chance, LEVEL)]
    found = found[np.argsort(-unusual[found], kind="stable")]
    within = "" if source_column is None else f" within each {source_column}"
    answer = (
        f"{len(found)} of {len(judged)} images lie farther from their {NEIGHBOURS} nearest"
        f"{within} than images do ({extractor.name}; at most {LEVEL:.0%} of such a list are"
        " ordinary, on average)."
    )
    limit = tail.value(LEVEL / len(judged))
    candidates = [
        Candidate(
            [study.ids[row]], float(unusual[row]), "far from all others",
            {
                "label": label_text(subject, row), "distance": f"{distance[row]:.3f}",
                **({} if sources is None else {"source": str(sources[row])}),
            },
        )
        for row in found[:SHOWN]
    ]  # fmt: skip
    order = judged[np.argsort(-unusual[judged], kind="stable")][:LISTED]
    probability = dict(zip(judged.tolist(), chance.tolist(), strict=True))
    table = Table(
        "outliers",
        "Images by how far they lie from the others, the farthest first",
        ["image", "label", "distance", "unusual", "probability"],
        [
            [
                study.ids[row], label_text(subject, row), float(distance[row]),
                float(unusual[row]), probability[int(row)],
            ]
            for row in order
        ],
    )  # fmt: skip
    return Check(
        "outliers",
        Section.OUTLIERS,
        question,
        Verdict.FOUND if len(found) else Verdict.NOT_FOUND,
        answer,
        [
            Figure("images that lie apart", len(found)),
            Figure("images that were judged", len(judged)),
            Figure("largest distance, in spreads above the middle", float(unusual[judged].max())),
            Figure("distance from which a single image is found", limit),
        ],
        seen=(
            f"a single image that lies {limit:.1f} spreads above the middle of its source; the"
            " rate holds where distances, on a log scale, fall off at least exponentially"
        ),
        candidates=candidates,
        tables=[table],
        remedy="look at them: wrong view, wrong body part, damage, or a rare finding"
        if len(found)
        else "",
    )


def _marked(subject: Subject, name: str, rows: npt.NDArray[np.bool_]) -> Check:
    study, places = subject.study, np.flatnonzero(rows)
    count = [
        f"{int((study.labels[places, k] == 1).sum())} {of}" for k, of in enumerate(study.classes)
    ]
    answer = f"{len(places)} of {len(study)} pictures look {name}"
    answer += f" ({', '.join(count)})." if len(places) else "."
    return Check(
        f"marked:{name}",
        Section.OUTLIERS,
        f"Are there pictures that look {name}?",
        Verdict.FOUND if len(places) else Verdict.NOT_FOUND,
        answer,
        [Figure("images", len(places))],
        candidates=[
            Candidate([study.ids[row]], 1.0, name, {"label": label_text(subject, row)})
            for row in places[:SHOWN]
        ],
        remedy="look at them" if len(places) else "",
    )
