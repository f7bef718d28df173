"""What `cxrfeat fit` found, as plain data that can be saved, read and shown again.

Imports nothing but plain data; imported by every folder above. To read: `data`, `tables` (CSV,
Markdown, LaTeX), `card` (the model card), `checklist` (answers to guidelines) with
`checklist_rules` (how an item is answered), `checklist_parts` (sentences that they share) and the
items of each: `checklist_claim`, `checklist_tripod`, `checklist_metrics`, `checklist_reforms`;
`audit` and `audit_tables` (what `cxrfeat audit` found).
"""

from cxrfeat.results.card import model_card
from cxrfeat.results.checklist import (
    ChecklistItem,
    EmbeddingFacts,
    RunFacts,
    checklist_csv,
    counts,
    fill_checklist,
    read_checklist,
)
from cxrfeat.results.data import (
    ClassReport,
    Comparison,
    EmbeddingFile,
    ExtractorScore,
    Finding,
    FitResult,
    HeadReport,
    Interval,
    JoinedTable,
    LearningCurve,
    Score,
    json_text,
)
from cxrfeat.results.tables import csv_text, latex_table, markdown_table, scores_csv

__all__ = [
    "ChecklistItem",
    "ClassReport",
    "Comparison",
    "EmbeddingFacts",
    "EmbeddingFile",
    "ExtractorScore",
    "Finding",
    "FitResult",
    "HeadReport",
    "Interval",
    "JoinedTable",
    "LearningCurve",
    "RunFacts",
    "Score",
    "checklist_csv",
    "counts",
    "csv_text",
    "fill_checklist",
    "json_text",
    "latex_table",
    "markdown_table",
    "model_card",
    "read_checklist",
    "scores_csv",
]
