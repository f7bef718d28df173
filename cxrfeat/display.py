"""What the command line prints: progress on stderr, tables on stdout."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Bar
from rich.table import Table

if TYPE_CHECKING:
    from cxrfeat.evaluation.crossvalidate import FoldDone
    from cxrfeat.features import Backbone, WeightsFile
    from cxrfeat.results import FitResult, HeadReport
    from cxrfeat.store import Merged, Verification
    from cxrfeat.verbs.demo import DemoResult
    from cxrfeat.verbs.export import Exported
    from cxrfeat.verbs.extract import ExtractResult
    from cxrfeat.verbs.filling import Progress
    from cxrfeat.verbs.info import FileInfo

PLAIN_SECONDS = 10.0
SHOWN_FAILURES = 10
SHOWN_DAMAGE = 20


def console() -> Console:
    """Return a console for stdout; a pipe gets lines wide enough for a table."""
    return Console(width=None if sys.stdout.isatty() else 120, highlight=False)


def to_json(result: Any) -> str:
    """Write a verb's result as JSON."""
    return json.dumps(_plain(result), indent=2, ensure_ascii=False)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, float) and not np.isfinite(value):
        return None  # JSON has no NaN
    return str(value) if isinstance(value, Path) else value


def table(*columns: str, title: str | None = None, right: int = 1) -> Table:
    """Return an empty table; columns from number `right` on hold numbers."""
    made = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    for number, column in enumerate(columns):
        made.add_column(column, justify="left" if number < right else "right", overflow="fold")
    return made


@contextmanager
def extraction_progress() -> Iterator[Callable[[Progress], None]]:
    """Show images done, rate and time left: a bar on a terminal, a line now and then elsewhere."""
    if not sys.stderr.isatty():
        yield _plain_progress()
        return
    columns = (
        TextColumn("reading and embedding"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[failed]}"),
    )
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=None, rate="", failed="")
        started = time.monotonic()

        def show(progress: Progress) -> None:
            rate = progress.done / max(time.monotonic() - started, 1e-9)
            bar.update(
                task,
                completed=progress.done,
                total=progress.total,
                rate=f"{rate:.1f} images/s",
                failed=f"{progress.failed} failed" if progress.failed else "",
            )

        yield show


def _plain_progress() -> Callable[[Progress], None]:
    started = last = time.monotonic()

    def show(progress: Progress) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < PLAIN_SECONDS and progress.done < progress.total:
            return
        last = now
        rate = progress.done / max(now - started, 1e-9)
        left = (progress.total - progress.done) / rate
        failed = f", {progress.failed} failed" if progress.failed else ""
        sys.stderr.write(
            f"{progress.done} of {progress.total} images, {rate:.1f} images/s, "
            f"{left:.0f} s left{failed}\n"
        )

    return show


@contextmanager
def download_progress() -> Iterator[Callable[[str, int, int], None]]:
    """Show a download: a bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda name, done, total: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Bar(*columns, TransferSpeedColumn(), console=Console(stderr=True)) as bar:
        tasks: dict[str, Any] = {}

        def show(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=total or None)
            bar.update(tasks[name], completed=done)

        yield show


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
        f"embeddings are in {folder}/EXTRACTOR.h5",
        markup=False,
    )
    if result.stopped_early:
        screen.print("stopped early: too many images failed (--max-failures); the rest is pending")
    if result.failures:
        failed(result, screen)


def describe_changes(changes: Any) -> str:
    """Say what a file gained or lost beside the rows that were computed."""
    words = {
        "changed": "changed and computed again",
        "vanished_kept": "no longer there, rows kept (--prune drops them)",
        "dropped": "no longer there, rows dropped",
        "failed_kept": "failed before and left as they are (--retry-failed tries again)",
        "retried": "failed before and tried again",
    }
    counts = {name: getattr(changes, name) for name in words}
    return ", ".join(f"{count} {words[name]}" for name, count in counts.items() if count)


def failed(result: ExtractResult, screen: Console) -> None:
    """Print the first images that failed and where all of them are listed."""
    screen.print(f"\n{len(result.failures)} images failed (all of them: {result.failures_file}):")
    for failure in result.failures[:SHOWN_FAILURES]:
        screen.print(f"  {failure.id}: {failure.code}: {failure.reason}", markup=False)


@contextmanager
def fit_progress() -> Iterator[Callable[[FoldDone], None]]:
    """Show folds done: a line that changes on a terminal, one per extractor elsewhere."""
    if not sys.stderr.isatty():
        yield _plain_fit_progress()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Bar(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task("cross-validating", total=None, visible=False)
        yield lambda event: bar.update(
            task,
            description=f"cross-validating {event.extractor}",
            completed=event.done,
            total=event.total,
            visible=True,
        )


def _plain_fit_progress() -> Callable[[FoldDone], None]:
    last = time.monotonic()

    def show(event: FoldDone) -> None:
        nonlocal last
        if time.monotonic() - last < PLAIN_SECONDS and event.done < event.total:
            return
        last = time.monotonic()
        sys.stderr.write(f"cross-validated {event.done} of {event.total} folds\n")

    return show


def comparison(result: FitResult) -> None:
    """Print the ranking, and the best head of each extractor class by class."""
    screen = console()
    for note in result.notes:
        screen.print(note)
    _ranking(result, screen)
    for report in result.reports:
        _report(report, screen)
    _pairs(result, screen)
    for curve in result.curves:
        screen.print(f"{curve.extractor} with {curve.head}: {curve.sentence}", markup=False)
    for finding in result.findings:
        screen.print(f"[{finding.code}] {finding.message}", markup=False)
    winner = result.winner
    saved = result.files.get("model.skops")
    kept = f"; refitted on all its images as {saved}" if saved else ""
    screen.print(
        f"\nBest by {result.metric}: {winner['extractor']} with {winner['head']}{kept}",
        markup=False,
    )
    screen.print(f"Everything is in {result.run} ({result.seconds:.1f} s)", markup=False)
    screen.print("For research only, not for diagnosis.")


def _ranking(result: FitResult, screen: Console) -> None:
    metrics = {
        "auroc": "macro AUROC",
        "balanced_accuracy": "balanced accuracy",
        "accuracy": "accuracy",
        "f1": "macro F1",
    }
    shown = table("extractor", "head", *metrics.values(), right=2)
    for score in result.ranking:
        shown.add_row(
            f"{score.extractor} (control)" if score.control else score.extractor,
            score.head,
            *(_with_spread(score.mean[name], score.sd[name]) for name in metrics),
        )
    screen.print(shown)
    screen.print(f"mean ± standard deviation over: {result.folds}", markup=False)


def _pairs(result: FitResult, screen: Console) -> None:
    """Print each extractor with the head its training rows chose, and each pair in a sentence."""
    if len(result.extractors) < 2:
        return
    shown = table("extractor", result.metric, "95 % interval", "AUROC, labels shuffled", right=1)
    for score in result.extractors:
        low, high = score.interval
        shown.add_row(
            f"{score.extractor} (control)" if score.control else score.extractor,
            _with_spread(score.mean, score.sd),
            f"{low:.3f} to {high:.3f}",
            f"{result.permuted[score.extractor]:.3f}",
        )
    screen.print("\nExtractors, the head chosen inside the training images of each fold:")
    screen.print(shown)
    for pair in result.comparisons:
        screen.print(f"- {pair.sentence}", markup=False)
    screen.print()


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
        *("class", "AUROC", "precision", "recall", "F1", "support", *predicted), title=title
    )
    for k, entry in enumerate(report.classes):
        shown.add_row(
            entry.name,
            *(f"{value:.3f}" for value in (entry.auroc, entry.precision, entry.recall, entry.f1)),
            str(entry.support),
            *(str(count) for count in (report.confusion[k] if exclusive else [])),
        )
    screen.print(shown)


def demonstration(result: DemoResult) -> None:
    """Print what `demo` made and where it lies."""
    screen = console()
    extraction(result.extraction)
    comparison(result.comparison)
    screen.print()
    for note in result.notes:
        screen.print(note, markup=False)
    screen.print(f"Images, embeddings and results are in {result.folder}", markup=False)


def backbones(entries: list[Backbone]) -> None:
    """Print the networks that can be a backbone."""
    shown = table(
        *("backbone", "weights", "dimension", "G mult-adds", "parameters", "size"), right=2
    )
    for entry in entries:
        extra = rf" (pip install 'cxrfeat\[{entry.extra}]')" if entry.extra else ""
        shown.add_row(
            entry.name,
            ", ".join(entry.weights) + extra,
            str(entry.dimension),
            f"{entry.gflops:.2f}",
            f"{entry.parameters / 1e6:.1f} M",
            str(entry.size),
        )
    console().print(shown)


def weights(entries: list[WeightsFile]) -> None:
    """Print weight files and where they are."""
    shown = table("backbone", "weights", "file", "where", "MB", "sha256 of tensors", right=4)
    for entry in entries:
        shown.add_row(
            entry.backbone,
            entry.weights,
            escape(entry.file),
            str(entry.path) if entry.path else "not on this machine",
            f"{entry.size_bytes / 1e6:.1f}" if entry.path else "",
            entry.sha256[:16],
        )
    console().print(shown)


def file_info(info: FileInfo) -> None:
    """Print what an embedding file says about itself."""
    screen = console()
    lines = {
        "file": f"{info.path} ({info.bytes / 1e6:,.1f} MB, {info.storage}, made {info.created})",
        "rows": f"{info.rows}: {info.done} done, {info.pending} pending, {info.failed} failed",
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
        lines["groups"] = str(info.groups)
    for name, count in info.columns.items():
        lines[f"column {name}"] = f"{count} distinct values"
    for code, count in info.failures.items():
        lines[f"failed: {code}"] = str(count)
    for title, entries in (("spec", info.spec), ("environment", info.environment)):
        lines |= {f"{title}: {key}": _one_line(value) for key, value in entries.items()}
    width = max(map(len, lines))
    for key, value in lines.items():
        screen.print(f"{key:{width}}  {value}", markup=False, soft_wrap=True)


def _one_line(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def verification(found: Verification) -> None:
    """Print what reading a whole file found, row by row."""
    screen = console()
    for damage in found.damaged[:SHOWN_DAMAGE]:
        screen.print(f"  row {damage.row}: {damage.id}: damaged {damage.what}", markup=False)
    if len(found.damaged) > SHOWN_DAMAGE:
        screen.print(f"  ... and {len(found.damaged) - SHOWN_DAMAGE} more (--json lists them all)")
    for column in found.damaged_columns:
        screen.print(
            f"  /{column} is damaged: `cxrfeat extract --prune` with the same images and labels "
            "writes it anew, or restore a copy",
            markup=False,
        )
    if found.repaired:
        mend = "; set back to pending: run the same `cxrfeat extract` again"
    else:
        mend = "; --repair sets them back to pending" if found.damaged else ""
    screen.print(
        f"{found.path}: {found.checked} embeddings of {found.rows} rows checked, "
        f"{len(found.damaged)} damaged{mend}",
        markup=False,
    )


def merged(result: Merged) -> None:
    """Print what `merge` made."""
    screen = console()
    for path, rows in result.sources.items():
        screen.print(f"{path}: {rows} rows", markup=False)
    screen.print(
        f"{result.path}: {result.rows} rows: {result.done} done, {result.pending} pending, "
        f"{result.failed} failed; {result.shared} were in more than one file and agree",
        markup=False,
    )


def exported(result: Exported) -> None:
    """Print what `export` wrote."""
    left_out = f"; {result.left_out} pending or failed left out" if result.left_out else ""
    console().print(
        f"{result.path}: {result.rows} embeddings of length {result.dimension}{left_out}",
        markup=False,
    )
