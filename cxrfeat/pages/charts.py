"""Every chart of the page, in its order, with the words that stand for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cxrfeat.pages.content import Content
from cxrfeat.pages.drawings import (
    confusion,
    curves,
    decision_curve,
    differences,
    embedding_map,
    learning_curve,
    reliability,
    scores,
)
from cxrfeat.pages.look import Spec


@dataclass(frozen=True)
class Chart:
    """One chart.

    Attributes
    ----------
    name : str
        Of its file, and of its place on the page.
    spec : dict
        Vega-Lite.
    alt : str
        What it shows, in words.
    """

    name: str
    spec: Spec
    alt: str


Drawing = Callable[[Content], tuple[Spec, str] | None]

DRAWINGS: dict[str, Drawing] = {
    "extractors": scores.extractors,
    "ranking": scores.ranking,
    "differences": differences.differences,
    "roc": curves.roc,
    "precision-recall": curves.precision_recall,
    "confusion": confusion.confusion,
    "reliability": reliability.reliability,
    "decision-curve": decision_curve.decision_curve,
    "learning-curve": learning_curve.learning_curve,
    "map-class": embedding_map.by_class,
    "map-source": embedding_map.by_source,
    "map-error": embedding_map.by_error,
}
"""A chart is one entry: it gives a spec and words for it, or None where the run lacks the data."""


def charts(content: Content) -> list[Chart]:
    """Draw every chart that the run has data for."""
    drawn = ((name, draw(content)) for name, draw in DRAWINGS.items())
    return [Chart(name, *found) for name, found in drawn if found is not None]
