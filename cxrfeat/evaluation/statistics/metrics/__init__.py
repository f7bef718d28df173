"""Scores of predictions against the truth: a registry, and what its metrics are made of.

Imports nothing else of `statistics`; imported by all above `study`.
"""

from cxrfeat.evaluation.statistics.metrics.decisions import CUT, decide
from cxrfeat.evaluation.statistics.metrics.registry import METRICS, Metric, metric, primary

__all__ = ["CUT", "METRICS", "Metric", "decide", "metric", "primary"]
