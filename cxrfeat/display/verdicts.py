"""What `audit` prints."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from rich.console import Console

from cxrfeat.display.screen import console, table

if TYPE_CHECKING:
    from cxrfeat.results.audit import Audit, Check

SHOWN_CANDIDATES = 10


def audit(result: Audit, *, full: bool = False) -> None:
    """Print the headline, then a line for each question.

    Parameters
    ----------
    full
        Also figures, what could have been seen, proofs, and the first candidates.
    """
    from cxrfeat.results.audit import Section, Verdict

    screen = console()
    screen.print(result.headline)
    shown = table("verdict", "check", "answer", right=3)
    for check in result.checks:
        shown.add_row(check.verdict.value, check.code, check.answer)
    screen.print(shown)
    if full:
        for check in result.checks:
            _whole(check, screen)
    found = Counter(c.verdict for c in result.checks if c.section is not Section.PROOFS)
    screen.print(", ".join(f"{found[verdict]} {verdict}" for verdict in Verdict))
    screen.print("What a check means, and what to do: cxrfeat help CHECK")
    for note in result.notes:
        screen.print(note)
    screen.print(f"Everything is in {result.folder} ({sum(result.seconds.values()):.1f} s)")
    if page := result.files.get("audit.html"):
        screen.print(f"To read: {page}")
    screen.print("For research only, not for diagnosis.")


def _whole(check: Check, screen: Console) -> None:
    screen.print(f"{check.code}: {check.question}")
    for figure in check.figures:
        low, high = figure.interval
        between = f" (95 % interval {low:.3f} to {high:.3f})" if math.isfinite(low) else ""
        screen.print(f"  {figure.name}: {_number(figure.value)}{between}")
    if check.seen:
        screen.print(f"  could have seen: {check.seen}")
    if math.isfinite(check.detectable):
        screen.print(f"  with 80 % probability would have found: {_number(check.detectable)}")
    for proof in check.proofs:
        screen.print(
            f"  planted: {proof.count} {proof.planted} (rate {_number(proof.rate)}): recall"
            f" {_number(proof.recall)}, precision {_number(proof.precision)}"
        )
    for candidate in check.candidates[:SHOWN_CANDIDATES]:
        facts = "".join(f"; {name} {value}" for name, value in candidate.facts.items())
        screen.print(f"  {' ~ '.join(candidate.ids)}: {candidate.note}{facts}")
    if (more := len(check.candidates) - SHOWN_CANDIDATES) > 0:
        screen.print(f"  ... and {more} more, in candidates.csv")
    if check.remedy:
        screen.print(f"  to do: {check.remedy}")
    screen.print()


def _number(value: float) -> str:
    if not math.isfinite(value):
        return "-"
    whole = isinstance(value, int) or (abs(value) > 1 and value == int(value))
    return f"{value:.0f}" if whole else f"{value:.3f}"
