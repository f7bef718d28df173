"""What an audit found as CSV: verdicts, candidates, proofs, and the tables of its checks."""

from __future__ import annotations

import math
from collections.abc import Sequence

from cxrfeat.results.audit import Check
from cxrfeat.results.tables import csv_text

VERDICTS, CANDIDATES, PROOFS = "verdicts.csv", "candidates.csv", "proofs.csv"


def audit_tables(checks: Sequence[Check]) -> dict[str, str]:
    """Write the tables of an audit, by file name.

    ``verdicts.csv`` has a row per check with the figure that its verdict goes by;
    ``candidates.csv`` a row per image or pair that somebody should look at; ``proofs.csv`` what
    each detector did with what was planted. Then the tables that the checks bring, each by its
    own name; a name that is there already gets the code of its check before it.
    """
    found = {
        VERDICTS: csv_text(
            ("code", "section", "verdict", "question", "answer", "figure", "value", "low", "high",
             "detectable"),
            [
                (check.code, check.section.value, check.verdict.value, check.question,
                 check.answer, *_leading(check), _cell(check.detectable))
                for check in checks
            ],
        ),
        CANDIDATES: csv_text(
            ("check", "rank", "score", "image", "other", "note", "facts"),
            [
                (check.code, rank, _cell(candidate.score), "".join(candidate.ids[:1]),
                 " | ".join(candidate.ids[1:]), candidate.note,
                 "; ".join(f"{name}: {value}" for name, value in candidate.facts.items()))
                for check in checks
                for rank, candidate in enumerate(check.candidates, 1)
            ],
        ),
        PROOFS: csv_text(
            ("check", "planted", "rate", "count", "recall", "precision"),
            [
                (check.code, proof.planted, _cell(proof.rate), proof.count, _cell(proof.recall),
                 _cell(proof.precision))
                for check in checks
                for proof in check.proofs
            ],
        ),
    }  # fmt: skip
    for check in checks:
        for table in check.tables:
            name = f"{table.name}.csv"
            if name in found:
                name = f"{check.code.replace(':', '-').replace('/', '-')}-{name}"
            rows = [[_cell(value) for value in row] for row in table.rows]
            found[name] = csv_text(table.columns, rows)
    return found


def _leading(check: Check) -> tuple[object, ...]:
    if not check.figures:
        return "", "", "", ""
    first = check.figures[0]
    return first.name, _cell(first.value), *(_cell(limit) for limit in first.interval)


def _cell(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else ""
    return value
