"""What the command line prints: progress on stderr, tables and sentences on stdout.

The only folder that imports rich. Imports results of commands; imported by the command line. A
file for the commands of one kind: `extraction`, `shards`, `inputs`, `files`, `comparison`,
`verdicts`, `model`, `explanation`, `diagnosis`, `topics`; `progress` while they run, `progress_bar`
for calls from Python, `speech` on how much is said; `screen` is what they all draw on.
"""

from cxrfeat.display.comparison import comparison, demonstration, report
from cxrfeat.display.diagnosis import diagnosis
from cxrfeat.display.explanation import explanation
from cxrfeat.display.extraction import backbones, extraction, forecast, weights
from cxrfeat.display.files import exported, file_info, imported, merged, verification
from cxrfeat.display.inputs import dataset_summary, inspection
from cxrfeat.display.model import model_info, predictions
from cxrfeat.display.progress import (
    audit_progress,
    download_progress,
    extraction_progress,
    fit_progress,
    steps,
    to_do,
)
from cxrfeat.display.screen import to_json, write_what_can_be_written
from cxrfeat.display.shards import merged_shards, shards
from cxrfeat.display.speech import Speech, speaking, speech
from cxrfeat.display.topics import topic, topics
from cxrfeat.display.verdicts import audit

__all__ = [
    "Speech",
    "audit",
    "audit_progress",
    "backbones",
    "comparison",
    "dataset_summary",
    "demonstration",
    "diagnosis",
    "download_progress",
    "explanation",
    "exported",
    "extraction",
    "extraction_progress",
    "file_info",
    "fit_progress",
    "forecast",
    "imported",
    "inspection",
    "merged",
    "merged_shards",
    "model_info",
    "predictions",
    "report",
    "shards",
    "speaking",
    "speech",
    "steps",
    "to_do",
    "to_json",
    "topic",
    "topics",
    "verification",
    "weights",
    "write_what_can_be_written",
]
