"""What `extract`, `backbones` and `weights` print."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from cxrfeat.display.progress import in_words
from cxrfeat.display.screen import console, table

if TYPE_CHECKING:
    from cxrfeat.commands.extract import ExtractResult
    from cxrfeat.commands.shards import ShardsMerge
    from cxrfeat.features import Backbone, WeightsFile

SHOWN_FAILURES = 10


def extraction(result: ExtractResult) -> None:
    """Print what `extract` did."""
    screen = console()
    for note in result.notes:
        screen.print(note)
    shown = table(
        *("extractor", "weights", "dimension", "rows", "computed", "reused", "failed"), right=2
    )
    for file in result.files:
        shown.add_row(
            file.name,
            f"{file.weights} (control)" if file.control else file.weights,
            *(str(n) for n in (file.dimension, file.rows, file.computed, file.reused, file.failed)),
        )
    screen.print(shown)
    for file in result.files:
        changes = describe_changes(file.changes)
        if changes:
            screen.print(f"{file.name}: {changes}")
    folder = result.files[0].path.parent
    screen.print(
        f"{result.images} images, {result.read} read in this run, {result.seconds:.1f} s; "
        f"embeddings are in {folder}/EXTRACTOR.h5"
    )
    if result.stopped_early:
        screen.print("stopped early: too many images failed (--max-failures); the rest is pending")
    if result.failures:
        failed(result, screen)


def forecast(result: ExtractResult) -> None:
    """Print what `extract` would do."""
    assert result.forecast is not None
    screen, would = console(), result.forecast
    for note in result.notes:
        screen.print(note)
    shown = table("extractor", "weights", "dimension", "reused", "to compute", right=2)
    for file in result.files:
        shown.add_row(
            file.name,
            f"{file.weights} (control)" if file.control else file.weights,
            *(str(n) for n in (file.dimension, file.reused, would.rows[file.name])),
        )
    screen.print(shown)
    if would.seconds is None:
        screen.print(f"{result.images} images; nothing is to be computed")
        return
    failed = f", of which {would.failed} failed" if would.failed else ""
    screen.print(
        f"{would.images} of {result.images} images would be read; about {in_words(would.seconds)}"
        f" here, by {would.tried} of them{failed}; {would.size_bytes / 1e6:,.1f} MB of rows"
    )
    screen.print("Nothing was written: this was a dry run.")


def describe_changes(changes: Any) -> str:
    """Say what a file gained or lost beside the rows that were computed."""
    words = {
        "moved": "moved and not computed again",
        "changed": "changed and computed again",
        "gone": "gone: their rows are kept, and left out of fit and export (--prune drops them)",
        "dropped": "no longer there, rows dropped",
        "failed_kept": "failed before and left as they are (--retry-failed tries again)",
        "retried": "failed before and tried again",
    }
    counts = {name: getattr(changes, name) for name in words}
    return ", ".join(f"{count} {words[name]}" for name, count in counts.items() if count)


def failed(result: ExtractResult | ShardsMerge, screen: Console) -> None:
    """Print the first images that failed and where all of them are listed."""
    screen.print(
        f"\n{len(result.failures)} images failed (all of them: {result.failures_file}; what"
        " to do: cxrfeat help failures):"
    )
    for failure in result.failures[:SHOWN_FAILURES]:
        screen.print(f"  {failure.id}: {failure.code}: {failure.reason}")


def backbones(entries: list[Backbone]) -> None:
    """Print the networks that can be a backbone, family by family, and what runs them here."""
    from cxrfeat.features import runtimes_here

    shown = table(
        *("backbone", "weights", "dimension", "G mult-adds", "parameters", "size"), right=2
    )
    families = list(dict.fromkeys(entry.family for entry in entries))
    family = ""
    for entry in sorted(entries, key=lambda entry: families.index(entry.family)):
        if entry.family != family:
            family = entry.family
            shown.add_row(Text(f"{family}:", style="bold"))
        extra = f" (pip install 'cxrfeat[{entry.extra}]')" if entry.extra else ""
        shown.add_row(
            entry.name,
            ", ".join(entry.weights) + extra,
            str(entry.dimension or ""),
            f"{entry.gflops:.2f}" if entry.gflops else "",
            f"{entry.parameters / 1e6:.1f} M" if entry.parameters else "",
            str(entry.size or ""),
        )
    screen = console()
    screen.print(shown)
    screen.print(f"What runs them on the CPU here: {', '.join(runtimes_here())}.")


def weights(entries: list[WeightsFile]) -> None:
    """Print weight files and where they are."""
    shown = table("backbone", "weights", "file", "where", "MB", "sha256 of tensors", right=4)
    for entry in entries:
        shown.add_row(
            entry.backbone,
            entry.weights,
            entry.file,
            str(entry.path) if entry.path else "not on this machine",
            f"{entry.size_bytes / 1e6:.1f}" if entry.path else "",
            entry.sha256[:16],
        )
    console().print(shown)
