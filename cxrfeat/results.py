"""What `cxrfeat fit` found, as plain data that can be saved and shown again."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Score:
    """One extractor with one head, over the folds.

    Attributes
    ----------
    control : bool
        The extractor's weights are random: a score of the architecture alone.
    mean, sd : dict of str to float
        Per metric, over the folds; the spread is NaN for a single fold.
    folds : list of dict
        Per fold: ``name``, ``repeat``, ``setting`` (chosen inside the training rows),
        ``metrics``.
    """

    extractor: str
    head: str
    control: bool
    mean: dict[str, float]
    sd: dict[str, float]
    folds: list[dict[str, Any]]


@dataclass(frozen=True)
class ClassReport:
    """One class of one extractor's best head, over all out-of-fold predictions."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class HeadReport:
    """The best head of an extractor, class by class.

    Attributes
    ----------
    confusion : list of list of int, shape (K, K)
        A row per true class, a column per predicted one; of the first repeat.
    """

    extractor: str
    head: str
    control: bool
    classes: list[ClassReport]
    confusion: list[list[int]]


@dataclass(frozen=True)
class Finding:
    """Something that a reader of the scores has to know.

    Attributes
    ----------
    code : str
        Stable; the list is in ``docs/results.md``.
    message : str
        One sentence with the numbers.
    """

    code: str
    message: str
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FitResult:
    """Everything `cxrfeat fit` found; ``results.json`` holds the same.

    Attributes
    ----------
    run : Path
        The folder with the files.
    ranking : list of Score
        By the primary metric, the best first.
    reports : list of HeadReport
        The best head of each extractor, in the order of the ranking.
    winner : dict
        ``extractor``, ``head`` and ``setting`` of the model that was saved.
    notes : list of str
        What was taken for what and what was left out, in sentences.
    """

    run: Path
    metric: str
    images: int
    patients: int | None
    classes: list[str]
    kind: str
    folds: str
    ranking: list[Score]
    reports: list[HeadReport]
    winner: dict[str, Any]
    findings: list[Finding]
    notes: list[str]
    seconds: float
    files: dict[str, str]
    versions: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """Plain data for ``results.json`` and ``--json``; what is undefined is null."""
        document = {"format": "cxrfeat-results", "format_version": 1, **asdict(self)}
        document["run"] = str(self.run)
        plain: dict[str, Any] = _without_nan(document)
        return plain


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return value


def json_text(document: Mapping[str, Any]) -> str:
    """Readable JSON with a line end."""
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def scores_csv(ranking: Sequence[Score], metrics: Sequence[str]) -> str:
    """``scores.csv``: a row per extractor and head; each metric with its spread over folds."""
    header = ["extractor", "head", "control"]
    header += [column for metric in metrics for column in (metric, f"{metric}_sd")]
    rows: list[list[object]] = []
    for score in ranking:
        row: list[object] = [score.extractor, score.head, "yes" if score.control else "no"]
        for metric in metrics:
            row += [_number(score.mean[metric]), _number(score.sd[metric])]
        rows.append(row)
    return csv_text(header, rows)


def csv_text(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Write a table as CSV with Unix line ends."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def _number(value: float) -> str:
    return f"{value:.6f}" if math.isfinite(value) else ""
