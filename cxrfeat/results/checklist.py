"""What a run can say to the items of reporting guidelines, and what only its author can."""

from __future__ import annotations

from dataclasses import dataclass

AUTOMATIC, PARTLY, AUTHOR = "automatic", "partly", "author"


@dataclass(frozen=True)
class ChecklistItem:
    """One item of one guideline, as far as the run answers it.

    Attributes
    ----------
    guideline : str
        ``"CLAIM 2024"``, ``"TRIPOD+AI"`` or ``"METRICS"``.
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
