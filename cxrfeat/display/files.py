"""What `info`, `verify`, `merge`, `export` and `import` print."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cxrfeat.display.extraction import describe_changes
from cxrfeat.display.screen import console

if TYPE_CHECKING:
    from cxrfeat.commands.export import Exported
    from cxrfeat.commands.import_ import Imported
    from cxrfeat.store import FileInfo, Merged, Verification

SHOWN_DAMAGE = 20
SHOWN_IDS = 3
"""Of rows that were left out; the notes name them."""


def file_info(info: FileInfo) -> None:
    """Print what an embedding file says about itself."""
    screen = console()
    lines = {
        "file": f"{info.path} ({info.bytes / 1e6:,.1f} MB, {info.storage}, made {info.created})",
        "rows": f"{info.rows}: {info.done} done, {info.pending} pending, {info.failed} failed"
        + (f", {info.gone} gone" if info.gone else ""),
        "dimension": str(info.dimension),
        "fingerprint": info.fingerprint,
    }
    if info.rounding:
        median, largest = info.rounding
        lines["rounding"] = f"relative error of a row: median {median:.1e}, largest {largest:.1e}"
    if info.classes:
        counts = ", ".join(f"{name} {count}" for name, count in info.classes.items())
        lines["labels"] = f"{info.kind}: {counts}; {info.unlabelled} without"
    if info.groups is not None:
        hashed = f" (patient ids hashed with key {info.patient_key})" if info.patient_key else ""
        lines["groups"] = f"{info.groups}{hashed}"
    for name, count in info.columns.items():
        lines[f"column {name}"] = f"{count} distinct values"
    for code, count in info.failures.items():
        lines[f"failed: {code}"] = str(count)
    lines |= {f"spec: {key}": _one_line(value) for key, value in info.spec.items()}
    known = [origin for origin in info.origins if origin.environment]
    for number, origin in enumerate(known, 1):
        title = "environment" if len(known) == 1 else f"environment {number}"
        lines[title] = f"{origin.rows} rows were computed in it"
        lines |= {
            f"{title}: {key}": _one_line(value) for key, value in (origin.environment or {}).items()
        }
    for origin in info.origins:
        if not origin.environment:
            lines["environment unknown"] = f"{origin.rows} rows"
    if not known:  # a file of old names one process, which need not have computed all of it
        lines |= {
            f"last environment: {key}": _one_line(value) for key, value in info.environment.items()
        }
    width = max(map(len, lines))
    for key, value in lines.items():
        screen.print(f"{key:{width}}  {value}", soft_wrap=True)


def _one_line(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def verification(found: Verification) -> None:
    """Print what reading a whole file found, row by row."""
    screen = console()
    for damage in found.damaged[:SHOWN_DAMAGE]:
        screen.print(f"  row {damage.row}: {damage.id}: damaged {damage.what}")
    if len(found.damaged) > SHOWN_DAMAGE:
        screen.print(f"  ... and {len(found.damaged) - SHOWN_DAMAGE} more (--json lists them all)")
    for column in found.damaged_columns:
        screen.print(
            f"  /{column} is damaged: `cxrfeat extract --prune` with the same images and labels "
            "writes it anew, or restore a copy"
        )
    if found.repaired:
        mend = "; set back to pending: run the same `cxrfeat extract` again"
    else:
        mend = "; --repair sets them back to pending" if found.damaged else ""
    screen.print(
        f"{found.path}: {found.checked} embeddings of {found.rows} rows checked, "
        f"{len(found.damaged)} damaged{mend}"
    )


def merged(result: Merged) -> None:
    """Print what `merge` made."""
    screen = console()
    for path, rows in result.sources.items():
        screen.print(f"{path}: {rows} rows")
    screen.print(
        f"{result.path}: {result.rows} rows: {result.done} done, {result.pending} pending, "
        f"{result.failed} failed, {result.gone} gone; "
        f"{result.shared} were in more than one file and agree"
    )
    for note in result.notes:
        screen.print(note)


def exported(result: Exported) -> None:
    """Print what `export` wrote."""
    left_out = f"; {result.left_out} pending or failed left out" if result.left_out else ""
    if result.gone:
        left_out += f"; {result.gone} gone left out (--include-gone)"
    console().print(
        f"{result.path}: {result.rows} embeddings of length {result.dimension}{left_out}"
    )


def imported(result: Imported) -> None:
    """Print what `import` made, and what it left out."""
    screen = console()
    for note in result.notes:
        screen.print(note)
    if changes := describe_changes(result.changes):
        screen.print(f"{result.name}: {changes}")
    if len(result.unmatched) > SHOWN_IDS:
        screen.print(f"{len(result.unmatched)} rows were left out (--json lists all of them)")
    counts = ", ".join(f"{name} {count}" for name, count in result.classes.items())
    screen.print(
        f"{result.path}: {result.rows} embeddings of length {result.dimension} from"
        f" {result.format}; {f'{result.kind}: {counts}' if counts else 'no labels'}"
        + ("" if result.groups is None else f"; {result.groups} patients")
    )
