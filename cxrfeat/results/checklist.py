"""What a run can say to the items of reporting guidelines, and what only its author can.

The items are tables: `checklist_claim`, `checklist_tripod`, `checklist_metrics` and
`checklist_reforms`. How an item is answered from a run stands in `checklist_rules`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields

from cxrfeat.errors import FileFormatError
from cxrfeat.results.checklist_claim import CLAIM
from cxrfeat.results.checklist_metrics import METRICS
from cxrfeat.results.checklist_reforms import REFORMS
from cxrfeat.results.checklist_rules import (
    AUTHOR,
    AUTOMATIC,
    PARTLY,
    EmbeddingFacts,
    Rule,
    RunFacts,
    answer,
)
from cxrfeat.results.checklist_tripod import TRIPOD_AI
from cxrfeat.results.tables import csv_text

__all__ = [
    "AUTHOR",
    "AUTOMATIC",
    "GUIDELINES",
    "PARTLY",
    "ChecklistItem",
    "EmbeddingFacts",
    "RunFacts",
    "checklist_csv",
    "counts",
    "fill_checklist",
    "read_checklist",
]

GUIDELINES: dict[str, tuple[Rule, ...]] = {
    "CLAIM 2024": CLAIM,
    "TRIPOD+AI": TRIPOD_AI,
    "METRICS": METRICS,
    "REFORMS": REFORMS,
}


@dataclass(frozen=True)
class ChecklistItem:
    """One item of one guideline, as far as the run answers it.

    Attributes
    ----------
    guideline : str
        ``"CLAIM 2024"``, ``"TRIPOD+AI"``, ``"METRICS"`` or ``"REFORMS"``.
    item : str
        Its number as in the publication, e.g. ``"12a"``.
    topic : str
        What it asks for, in words of our own.
    status : str
        ``"automatic"``: the run's files answer it; ``"partly"``: they hold a part of the answer,
        the rest is the author's; ``"author"``: nothing here can know it.
    value : str
        The answer, or the part of it that is known; empty for ``"author"``.
    source : str
        Where it was read: file and key, joined by ``"; "`` where there are several, e.g.
        ``"results.json: comparisons[0].interval"``; empty for ``"author"``.
    """

    guideline: str
    item: str
    topic: str
    status: str
    value: str
    source: str


COLUMNS = tuple(field.name for field in fields(ChecklistItem))


def fill_checklist(facts: RunFacts) -> list[ChecklistItem]:
    """Answer every item of every guideline from a run, in the order of the publications."""
    items = []
    for guideline, rules in GUIDELINES.items():
        for rule in rules:
            status, value, sources = answer(rule, facts)
            items.append(
                ChecklistItem(guideline, rule.item, rule.topic, status, value, "; ".join(sources))
            )
    return items


def counts(items: Sequence[ChecklistItem]) -> dict[str, dict[str, int]]:
    """Count the items of each guideline by status."""
    found = {item.guideline: dict.fromkeys((AUTOMATIC, PARTLY, AUTHOR), 0) for item in items}
    for item in items:
        found[item.guideline][item.status] += 1
    return found


def checklist_csv(items: Sequence[ChecklistItem]) -> str:
    """``checklist.csv``: a row per item."""
    return csv_text(COLUMNS, [astuple(item) for item in items])


def read_checklist(text: str) -> list[ChecklistItem]:
    """Read ``checklist.csv`` again.

    Raises
    ------
    FileFormatError
        Other columns than ours.
    """
    rows = csv.DictReader(io.StringIO(text))
    if tuple(rows.fieldnames or ()) != COLUMNS:
        raise FileFormatError(
            f"checklist.csv should have the columns {', '.join(COLUMNS)}: delete it, and it is"
            " made again"
        )
    return [ChecklistItem(**row) for row in rows]
