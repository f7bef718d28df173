"""What `cxrfeat doctor` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxrfeat.display.screen import console, table

if TYPE_CHECKING:
    from cxrfeat.commands.doctor import Diagnosis

_SIGNS = {"good": "ok", "bad": "MISSING", "note": "note"}


def diagnosis(found: Diagnosis) -> None:
    """Print one table of everything that was looked at."""
    shown = table("", "what", "found", "what to do", right=4)
    for check in found.checks:
        shown.add_row(_SIGNS[check.state], check.what, check.found, check.mend)
    screen = console()
    screen.print(shown)
    if found.healthy:
        screen.print("Everything needed is there.")
    elif found.usable:
        screen.print(f"The rest can be run; not there yet: {', '.join(found.missing)}.")
