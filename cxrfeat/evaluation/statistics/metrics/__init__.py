"""Scores of predictions against the truth: a registry, and what its metrics are made of.

Imports nothing else of `statistics`; imported by all above `study`.
"""

from cxrfeat.evaluation.statistics.metrics.decisions import CUT, decide
from cxrfeat.evaluation.statistics.metrics.predictions import Predictions
from cxrfeat.evaluation.statistics.metrics.registry import (
    METRICS,
    Metric,
    all_scores,
    metric,
    primary,
)
from cxrfeat.evaluation.statistics.metrics.weights import Weights

__all__ = [
    "CUT",
    "METRICS",
    "Metric",
    "Predictions",
    "Weights",
    "all_scores",
    "decide",
    "metric",
    "primary",
]
