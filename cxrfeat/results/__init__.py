"""What `cxrfeat fit` found, as plain data that can be saved, read and shown again."""

from cxrfeat.results.data import (
    ClassReport,
    Comparison,
    EmbeddingFile,
    ExtractorScore,
    Finding,
    FitResult,
    HeadReport,
    Interval,
    LearningCurve,
    Score,
    json_text,
)
from cxrfeat.results.tables import csv_text, latex_table, markdown_table, scores_csv

__all__ = [
    "ClassReport",
    "Comparison",
    "EmbeddingFile",
    "ExtractorScore",
    "Finding",
    "FitResult",
    "HeadReport",
    "Interval",
    "LearningCurve",
    "Score",
    "csv_text",
    "json_text",
    "latex_table",
    "markdown_table",
    "scores_csv",
]
