from __future__ import annotations

import csv
import io
from dataclasses import replace

from cxrfeat.results.audit_tables import audit_tables
from tests.auditing.made import some_checks

CHECKS = some_checks([f"{i}.png" for i in range(9)])


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_row_per_check_with_the_figure_that_the_verdict_goes_by() -> None:
    found = rows(audit_tables(CHECKS)["verdicts.csv"])
    assert [row["code"] for row in found] == [c.code for c in CHECKS]
    first = found[0]
    assert (first["verdict"], first["value"], first["low"], first["high"]) == (
        "found", "0.84", "0.7", "0.93",
    )  # fmt: skip
    assert (found[-1]["figure"], found[-1]["value"], found[-1]["detectable"]) == ("", "", "")


def test_every_candidate_and_every_proof_has_a_row() -> None:
    tables = audit_tables(CHECKS)
    candidates = rows(tables["candidates.csv"])
    assert len(candidates) == sum(len(check.candidates) for check in CHECKS) == 14
    assert candidates[0] == {
        "check": "identical-bytes", "rank": "1", "score": "1", "image": "0.png",
        "other": "1.png", "note": "equal bytes", "facts": "classes: clear / opaque",
    }  # fmt: skip
    proof, _ = rows(tables["proofs.csv"])
    assert (proof["count"], proof["recall"], proof["precision"]) == ("16", "1", "0.94")


def test_tables_of_checks_keep_their_names_and_never_replace_one_another() -> None:
    ladder = CHECKS[0].tables[0]
    again = replace(CHECKS[3], tables=[ladder, replace(ladder, name="verdicts")])
    tables = audit_tables([CHECKS[0], again])
    assert set(tables) == {
        "verdicts.csv", "candidates.csv", "proofs.csv", "ladder.csv",
        "attribute-view-ladder.csv", "attribute-view-verdicts.csv",
    }  # fmt: skip
    assert rows(tables["ladder.csv"])[0]["low"] == ""
    assert rows(tables["ladder.csv"])[2]["Score"] == "0.99"
