"""What `cxrfeat audit` found, as plain data that can be saved, read and shown again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from cxrfeat.notebook import Rows, Shown
from cxrfeat.results.data import Interval, without_nan

FORMAT, FORMAT_VERSION = "cxrfeat-audit", 1


class Verdict(StrEnum):
    """The answer to one question of an audit."""

    FOUND = "found"
    NOT_FOUND = "not found"
    UNTESTED = "could not be tested"


class Section(StrEnum):
    """What a question is about; the order is that of the page."""

    CONTROLS = "controls"
    DUPLICATES = "duplicates"
    ATTRIBUTES = "attributes"
    SOURCES = "sources"
    LABELS = "labels"
    OUTLIERS = "outliers"
    SUBGROUPS = "subgroups"
    PRETRAINING = "pretraining"
    PROOFS = "proofs"
    """Of the audit itself: what it makes of what was planted, and of what means nothing."""


@dataclass(frozen=True)
class Figure:
    """One number behind a verdict.

    Attributes
    ----------
    name : str
        What it is, e.g. ``"share of the score above chance"``.
    value : float
    interval : tuple of float
        95 %; NaN where there is none.
    """

    name: str
    value: float
    interval: Interval = (float("nan"), float("nan"))


@dataclass(frozen=True)
class Proof:
    """What a detector did with positives that were planted in the user's own data.

    Attributes
    ----------
    planted : str
        What, e.g. ``"copies with another contrast"``.
    rate : float
        Share of the images, or strength between 0 and 1, as `planted` says.
    count : int
        How many were planted.
    recall, precision : float
        Of the detector on them; NaN where it does not apply.
    """

    planted: str
    rate: float
    count: int
    recall: float
    precision: float = float("nan")


@dataclass(frozen=True)
class Candidate:
    """Images that a person should look at; nothing is done to them.

    Attributes
    ----------
    ids : list of str
        One image, or the two of a pair.
    score : float
        By which candidates are ranked, the largest first.
    note : str
        Why, in a few words.
    facts : dict of str to str
        Columns of the table, e.g. ``label``, ``suggested``, ``patient``.
    """

    ids: list[str]
    score: float
    note: str
    facts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """Rows to be shown and written as CSV; cells are text or numbers.

    Attributes
    ----------
    name : str
        Of its file, without the suffix.
    title : str
    columns : list of str
    rows : list of list
    """

    name: str
    title: str
    columns: list[str]
    rows: list[list[str | float | int | None]]


@dataclass(frozen=True, repr=False)
class Check(Shown):
    """One question with its answer.

    Attributes
    ----------
    code : str
        Stable, e.g. ``"identical-bytes"``; of one attribute ``"attribute:view"``.
    section : Section
    question : str
    verdict : Verdict
    answer : str
        One sentence with the figures; where it could not be tested, why, and what would be needed.
    figures : list of Figure
        The one that the verdict goes by first.
    seen : str
        What it could have seen, in words; from the proofs where there are any.
    detectable : float
        The smallest effect that would have been found with 80 % probability, on the scale of the
        first figure; NaN where that is not known.
    proofs : list of Proof
    candidates : list of Candidate
        The first ones; how many there are stands in `figures`.
    tables : list of Table
    remedy : str
        What can be done; "" where there is nothing to do.
    """

    code: str
    section: Section
    question: str
    verdict: Verdict
    answer: str
    figures: list[Figure] = field(default_factory=list)
    seen: str = ""
    detectable: float = float("nan")
    proofs: list[Proof] = field(default_factory=list)
    candidates: list[Candidate] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    remedy: str = ""


@dataclass(frozen=True, repr=False)
class Audit(Shown):
    """Everything `cxrfeat audit` found; ``audit.json`` holds the same.

    Attributes
    ----------
    headline : str
        Which share of the score above chance the best control reaches.
    checks : list of Check
        In the order of `Section`.
    metric, head : str
        By which everything was scored.
    extractors : list of str
        That were audited; the first is the one that images were extracted with anew.
    images : int
    patients : int or None
    folds : str
        In words.
    options : dict
        What the audit was asked for.
    notes : list of str
    seconds : dict of str to float
        That each part took.
    versions : dict of str to str
    run : str
        The run whose folds and head were taken; "" without one.
    folder : str
        Where the audit lies.
    files : dict of str to str
        Its files by their names.
    """

    headline: str
    checks: list[Check]
    metric: str
    head: str
    extractors: list[str]
    images: int
    patients: int | None
    classes: list[str]
    kind: str
    folds: str
    options: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    run: str = ""
    folder: str = ""
    files: dict[str, str] = field(default_factory=dict)

    def _headline(self) -> str:
        counts = [
            f"{sum(check.verdict == verdict for check in self.checks)} {verdict}"
            for verdict in Verdict
        ]
        return f"{len(self.checks)} checks of {self.images} images: {', '.join(counts)}"

    def _table(self) -> tuple[Sequence[str], Rows]:
        rows = [(check.verdict, check.code, check.answer) for check in self.checks]
        return ("verdict", "check", "answer"), rows

    def as_json(self) -> dict[str, Any]:
        """Plain data for ``audit.json`` and ``--json``; what is undefined is null."""
        document = {"format": FORMAT, "format_version": FORMAT_VERSION, **asdict(self)}
        plain: dict[str, Any] = without_nan(document)
        return plain
