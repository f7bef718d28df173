"""The page of an audit: one HTML file that needs nothing else, and works without scripts.

Intervals are drawn with HTML and CSS, so that they fit any width and need no charting library.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cxrfeat.pages.tables import Cell, Column, Table
from cxrfeat.pages.templates import template, text_of
from cxrfeat.pages.words import TITLES, interval, number
from cxrfeat.results.audit import Section, Verdict

SHOWN, SHEET = 24, 60
"""Candidates of a check with pictures; of outliers, which are looked at all together."""

ROWS, LONG = 100, 12
"""Of a table on the page at most, and above which it is folded."""

HEADINGS = {
    Section.CONTROLS: "What does without the lungs",
    Section.DUPLICATES: "Duplicates",
    Section.ATTRIBUTES: "Attributes",
    Section.SOURCES: "Sources",
    Section.LABELS: "Labels",
    Section.OUTLIERS: "Outliers",
    Section.SUBGROUPS: "Subgroups",
    Section.PRETRAINING: "What the weights were trained on",
    Section.PROOFS: "Would it have been found?",
}

LIMITS = (("low", "high"), ("95 % low", "95 % high"), ("from", "to"))
"""Names of the two columns that a table has right after a value whose interval they are."""


@dataclass(frozen=True)
class AuditContent:
    """What the page of an audit is made of.

    Attributes
    ----------
    audit : mapping
        ``audit.json``.
    title : str
        Of what was audited.
    version : str
        Of cxrfeat.
    jpegs : mapping of str to bytes
        Thumbnails by image id.
    command : str
        That repeats the audit.
    report : str
        Where the page of the run is, relative to this one; "" where there is none.
    notes : sequence of str
        What could not be shown, and why.
    """

    audit: Mapping[str, Any]
    title: str
    version: str
    jpegs: Mapping[str, bytes] = field(default_factory=dict)
    command: str = ""
    report: str = ""
    notes: Sequence[str] = ()


def audit_page(content: AuditContent) -> str:
    """Write the page of an audit.

    Returns
    -------
    str
        HTML that loads nothing.
    """
    from markupsafe import Markup

    audit = content.audit
    shown: set[frozenset[str]] = set()
    checks = [_check(check, content.jpegs, shown) for check in audit["checks"]]
    leading = _leading(checks)
    sections = [
        {
            "id": section.value,
            "name": HEADINGS[section],
            "checks": [check for check in checks if check["section"] == section.value],
        }
        for section in Section
    ]
    # Markup: our own files.
    page: str = template("audit.html").render(
        style=Markup("".join(map(text_of, ("style.css", "verdict.css", "audit.css")))),
        sorting=Markup(text_of("sorting.js")),
        title=content.title,
        facts=_facts(audit),
        headline=first_apart(audit["headline"]),
        counts=_counts(audit["checks"]),
        leading=leading,
        checks=checks,
        sections=[section for section in sections if section["checks"]],
        report=content.report,
        command=content.command,
        seconds=_seconds(audit),
        versions=_versions(audit, content.version),
        options=json.dumps(audit["options"], indent=1, ensure_ascii=False),
        audit_notes=audit["notes"],
        notes=content.notes,
        version=content.version,
    )
    return page


def verdict_lines(audit: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return code, question, verdict with its class of style, and answer of each check."""
    return [
        {
            **{key: str(check[key]) for key in ("code", "question", "verdict")},
            "answer": _sentence(check["answer"]),
            "style": _style(check),
        }
        for check in audit["checks"]
    ]


def _sentence(text: str) -> str:
    """Begin with a capital and end with a full stop."""
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') or not text else '.'}"


def _style(check: Mapping[str, Any]) -> str:
    if check["section"] == Section.PROOFS.value:
        return "proof"  # to find what was planted is no alarm
    styles = {Verdict.FOUND: "found", Verdict.NOT_FOUND: "not-found"}
    return styles.get(Verdict(check["verdict"]), "untested")


def _facts(audit: Mapping[str, Any]) -> str:
    patients = audit["patients"]
    facts = [
        f"{audit['images']} images",
        f"{patients} patients" if patients else "patients not known",
        f"{len(audit['classes'])} classes ({', '.join(audit['classes'])})",
        f"{', '.join(audit['extractors'])}; scored with {audit['head']} by"
        f" {TITLES.get(audit['metric'], audit['metric'])}",
        str(audit["folds"]),
    ]
    return "; ".join(facts) + "."


def first_apart(headline: str) -> list[str]:
    """Part the first sentence, which is set large, from the rest."""
    first, stop, rest = headline.partition(". ")
    return [first + stop.strip(), rest] if rest else [headline]


def _counts(checks: Sequence[Mapping[str, Any]]) -> str:
    asked = [check for check in checks if check["section"] != Section.PROOFS.value]
    found = Counter(check["verdict"] for check in asked)
    said = [f"{found[verdict.value]} {verdict.value}" for verdict in Verdict]
    many = "1 question" if len(asked) == 1 else f"{len(asked)} questions"
    return f"{many}: {', '.join(said)}."


def _leading(checks: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the intervals of the control ladder, which stand first on the page."""
    for check in checks:
        if check["section"] == Section.CONTROLS.value:
            for table in check["tables"]:
                if table["bars"]:
                    bars: Mapping[str, Any] = table["bars"]
                    return bars
    return None


def _check(
    check: Mapping[str, Any], jpegs: Mapping[str, bytes], shown: set[frozenset[str]]
) -> dict[str, Any]:
    """Prepare a check; pairs that an earlier one `shown` are not shown again."""
    outliers = check["section"] == Section.OUTLIERS.value
    scores = {candidate["score"] for candidate in check["candidates"]}
    most = SHEET if outliers else SHOWN
    new = [
        candidate
        for candidate in check["candidates"]
        if len(candidate["ids"]) != 2 or frozenset(candidate["ids"]) not in shown
    ]
    shown |= {frozenset(candidate["ids"]) for candidate in new[:most]}
    place = re.sub(r"[^\w-]+", "-", check["code"])
    return {
        **{key: check[key] for key in ("code", "section", "question", "verdict")},
        "answer": _sentence(check["answer"]),
        "id": f"check-{place}",
        "style": _style(check),
        "figures": [_figure(figure) for figure in check["figures"]],
        "seen": _sentence(check["seen"]),
        "detectable": _detectable(check),
        "proofs": _proofs(check, place),
        "tables": [_table(table, f"{place}-{n}") for n, table in enumerate(check["tables"])],
        "candidates": [
            _candidate(candidate, rank, jpegs, ranked=len(scores) > 1)
            for rank, candidate in enumerate(new[:most], 1)
        ],
        "again": len(check["candidates"]) - len(new),
        "pairs": any(len(candidate["ids"]) > 1 for candidate in check["candidates"]),
        "sheet": outliers,
        "listed": len(check["candidates"]),
        "remedy": _sentence(check["remedy"]),
    }


def _figure(figure: Mapping[str, Any]) -> dict[str, str]:
    limits = figure["interval"]
    known = limits[0] is not None and limits[1] is not None
    value = figure["value"]
    if not known and value is not None and value == int(value):
        value = int(value)  # a count
    return {
        "name": figure["name"],
        "value": _number(value),
        "interval": f"95 % interval {interval(limits)}" if known else "",
    }


def _number(value: float | int | None) -> str:
    """Write a count as such, other numbers to three digits."""
    if value is None or not math.isfinite(value):
        return "–"
    if isinstance(value, int) or (abs(value) > 1 and value == int(value)):
        return f"{value:,.0f}"
    if 0 < abs(value) < 0.001:
        return f"{value:.1e}"
    return number(value)


def _detectable(check: Mapping[str, Any]) -> str:
    value = check["detectable"]
    if value is None:
        return ""
    of = f" ({check['figures'][0]['name']})" if check["figures"] else ""
    return f"With 80 % probability {_number(value)} or more would have been found{of}."


def _proofs(check: Mapping[str, Any], place: str) -> Table | None:
    if not check["proofs"]:
        return None
    return Table(
        f"proofs-{place}",
        "Proof that it sees: what was planted in these data, and what of it was found",
        [
            Column("Planted"), Column("Rate or strength", True), Column("How many", True),
            Column("Recall", True), Column("Precision", True),
        ],
        [
            [
                Cell(proof["planted"]),
                *(
                    Cell(_number(proof[name]), proof[name])
                    for name in ("rate", "count", "recall", "precision")
                ),
            ]
            for proof in check["proofs"]
        ],
    )  # fmt: skip


def _table(table: Mapping[str, Any], place: str) -> dict[str, Any]:
    numbers = [
        any(_is_number(row[place]) for row in table["rows"])
        for place in range(len(table["columns"]))
    ]
    rows = table["rows"][:ROWS]
    title = table["title"]
    if len(rows) < len(table["rows"]):
        title += f"; the first {len(rows)} of {len(table['rows']):,}, all are in its CSV file"
    shown = Table(
        f"table-{place}",
        title,
        [
            Column(name, is_number)
            for name, is_number in zip(table["columns"], numbers, strict=True)
        ],
        [[_cell(value) for value in row] for row in rows],
        sortable=len(table["rows"]) > 3,
    )
    return {"table": shown, "bars": _bars(table), "long": len(rows) > LONG}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: Any) -> Cell:
    if value is None:
        return Cell("–")
    return Cell(_number(value), value) if _is_number(value) else Cell(str(value))


def _bars(table: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the rows of a table as intervals on one scale, where it holds such.

    A column of values is one that a column of lower and one of upper limits follow, see `LIMITS`.
    """
    columns = list(table["columns"])
    place = next((k for k in range(1, len(columns) - 2) if _are_limits(columns[k + 1 : k + 3])), 0)
    rows = [
        (str(row[0]), *row[place : place + 3])
        for row in table["rows"]
        if place and _is_number(row[place])
    ]
    if len(rows) < 2:
        return None
    values = [value for row in rows for value in row[1:] if value is not None]
    ticks = _ticks(min(values), max(values))
    first, last = ticks[0], ticks[-1]

    def percent(value: float) -> float:
        return round(100 * (value - first) / (last - first), 2)

    return {
        "title": table["title"],
        "value": TITLES.get(columns[place], columns[place]),
        "rows": [
            {
                "name": name,
                "at": percent(value),
                "low": None if low is None or high is None else percent(low),
                "width": None if low is None or high is None else round(
                    percent(high) - percent(low), 2
                ),
                "text": number(value)
                + ("" if low is None or high is None else f" ({interval((low, high))})"),
            }
            for name, value, low, high in rows
        ],
        "ticks": [{"at": percent(tick), "text": f"{tick:g}"} for tick in ticks],
    }  # fmt: skip


def _are_limits(names: Sequence[str]) -> bool:
    low, high = (name.lower() for name in names)
    return any(low.endswith(a) and high.endswith(b) for a, b in LIMITS)


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers, from at most the lowest value to at least the highest."""
    span = (high - low) or 0.1
    step = 10.0 ** math.floor(math.log10(span / 2))
    step *= next(times for times in (1, 2, 5, 10) if span / (step * times) <= 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(k * step, 10) for k in range(first, max(last, first + 1) + 1)]


def _candidate(
    candidate: Mapping[str, Any], rank: int, jpegs: Mapping[str, bytes], *, ranked: bool
) -> dict[str, Any]:
    return {
        "rank": rank,
        "pictures": [
            {
                "name": id_,
                "jpeg": base64.b64encode(jpegs[id_]).decode() if id_ in jpegs else "",
            }
            for id_ in candidate["ids"]
        ],
        "score": _number(candidate["score"]) if ranked else "",
        "note": candidate["note"],
        "facts": list(candidate["facts"].items()),
    }


def _seconds(audit: Mapping[str, Any]) -> Table:
    return Table(
        "table-seconds",
        "How long each step took",
        [Column("Step"), Column("Seconds", True)],
        [[Cell(name), Cell(number(of, 1), of)] for name, of in audit["seconds"].items()],
    )


def _versions(audit: Mapping[str, Any], version: str) -> Table:
    found = {**audit["versions"], "cxrfeat": version}
    return Table(
        "table-versions",
        "Versions",
        [Column("Package"), Column("Version")],
        [[Cell(name), Cell(str(of))] for name, of in found.items()],
    )
