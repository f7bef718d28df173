"""What `fit` and `demo` print."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.console import Console

from cxrfeat.display.extraction import extraction
from cxrfeat.display.screen import console, table

if TYPE_CHECKING:
    from cxrfeat.commands.demo import DemoResult
    from cxrfeat.reporting.run_page import ReportResult
    from cxrfeat.results import FitResult, HeadReport, Interval


BEST_ROWS = 10
"""Rows of the ranking that are shown unless all are asked for."""


def comparison(result: FitResult, *, full: bool = False) -> None:
    """Print the answer first: the extractors, then the best heads, then what to know of both.

    Parameters
    ----------
    full
        Print every row of the ranking and every finding, and each extractor class by class.
    """
    screen = console()
    _extractors(result, screen)
    _ranking(result, screen, full=full)
    winner = result.winner
    best = [one for one in result.reports if one.extractor == winner["extractor"]]
    for report in result.reports if full else best:
        _report(report, screen)
    for curve in result.curves:
        screen.print(f"{curve.extractor} with {curve.head}: {curve.sentence}")
    _findings(result, screen, full=full)
    for note in result.notes:
        screen.print(note)
    saved = result.files.get("model.skops")
    kept = f"; refitted on {winner['fitted_on']}, as {saved}" if saved else ""
    screen.print(f"\nBest by {result.metric}: {winner['extractor']} with {winner['head']}{kept}")
    screen.print(f"Why: {winner['why']}")
    screen.print(f"Everything is in {result.run} ({result.seconds:.1f} s)")
    if page := result.files.get("report.html"):
        screen.print(f"To read: {page}")
    screen.print("For research only, not for diagnosis.")


def _ranking(result: FitResult, screen: Console, *, full: bool) -> None:
    metrics = {
        "auroc": "macro AUROC",
        "balanced_accuracy": "balanced accuracy",
        "accuracy": "accuracy",
        "f1": "macro F1",
    }
    shown = table("extractor", "head", *metrics.values(), right=2)
    rows = result.ranking if full else result.ranking[:BEST_ROWS]
    for score in rows:
        shown.add_row(
            f"{score.extractor} (control)" if score.control else score.extractor,
            score.head,
            *(_with_spread(score.mean[name], score.sd[name]) for name in metrics),
        )
    screen.print(shown)
    if more := len(result.ranking) - len(rows):
        screen.print(f"... and {more} more (--full shows them, as does the page)")
    screen.print(f"mean ± standard deviation over: {result.folds}")
    if result.kind == "multilabel":
        screen.print(f"called is {result.decisions}")


def _findings(result: FitResult, screen: Console, *, full: bool) -> None:
    """Print findings; several of one kind in one line unless all are asked for."""
    by_code: dict[str, list[str]] = {}
    for finding in result.findings:
        by_code.setdefault(finding.code, []).append(finding.message)
    for code, messages in by_code.items():
        for message in messages if full else messages[:1]:
            more = 0 if full else len(messages) - 1
            screen.print(
                f"[{code}] {message}" + (f" (and {more} more of this kind: --full)" if more else "")
            )
    if by_code:
        screen.print("What a code in brackets means, and what to do: cxrfeat help CODE")


def _extractors(result: FitResult, screen: Console) -> None:
    """Print each extractor with the head its training rows chose, and each pair in a sentence."""
    shown = table("extractor", result.metric, "95 % interval", "AUROC, labels shuffled", right=1)
    for score in result.extractors:
        shown.add_row(
            f"{score.extractor} (control)" if score.control else score.extractor,
            _with_spread(score.mean, score.sd),
            _limits(score.interval),
            _shuffled(result.permuted[score.extractor]),
        )
    screen.print("Extractors, the head chosen inside the training images of each fold:")
    screen.print(shown)
    screen.print(f"95 % intervals are {result.intervals}")
    if any(not math.isfinite(area) for area in result.permuted.values()):
        screen.print("Why a test is not possible: cxrfeat help untested")
    for pair in result.comparisons:
        screen.print(f"- {pair.sentence}")
    screen.print()


def _shuffled(area: float) -> str:
    return f"{area:.3f}" if math.isfinite(area) else "cannot be tested"


def _limits(interval: Interval) -> str:
    low, high = interval
    return f"{low:.3f} to {high:.3f}" if math.isfinite(low) else "-"


def _with_spread(mean: float, spread: float) -> str:
    if not math.isfinite(mean):
        return "-"
    return f"{mean:.3f} ± {spread:.3f}" if math.isfinite(spread) else f"{mean:.3f}"


def _report(report: HeadReport, screen: Console) -> None:
    control = " (control)" if report.control else ""
    title = f"{report.extractor}{control} with {report.head}"
    # Any number of labels may hold at once: there is no confusion matrix then.
    exclusive = bool(report.confusion)
    predicted = [f"predicted {entry.name}" for entry in report.classes] if exclusive else []
    shown = table(
        *("class", "AUROC", "95 % interval", "precision", "recall", "F1", "support", *predicted),
        title=title,
    )
    for k, entry in enumerate(report.classes):
        shown.add_row(
            entry.name,
            f"{entry.auroc:.3f}",
            _limits(entry.auroc_interval),
            *(f"{value:.3f}" for value in (entry.precision, entry.recall, entry.f1)),
            str(entry.support),
            *(str(count) for count in (report.confusion[k] if exclusive else [])),
        )
    screen.print(shown)


def report(result: ReportResult) -> None:
    """Print where the page is, and what it could not show."""
    screen = console()
    for note in result.notes:
        screen.print(note)
    screen.print(
        f"{result.page} ({result.bytes / 1e6:.1f} MB, {result.thumbnails} radiographs); the same"
        f" charts as {len(result.figures)} SVG and PNG files in {result.page.parent / 'figures'}"
    )
    screen.print("For research only, not for diagnosis.")


def demonstration(result: DemoResult) -> None:
    """Print what `demo` made and where it lies."""
    screen = console()
    extraction(result.extraction)
    comparison(result.comparison)
    screen.print()
    for note in result.notes:
        screen.print(note)
    screen.print(f"Images, embeddings and results are in {result.folder}")
