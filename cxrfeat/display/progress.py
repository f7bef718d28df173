"""Progress on stderr: a bar on a terminal, a line now and then elsewhere.

Progress comes in the main thread after every piece of work, so that it is also where a Ctrl-C is
noticed that Python lost: raised in a finaliser or the callback of a weak reference, a
KeyboardInterrupt is printed and forgotten, about one time in fifteen while embedding.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

from rich.console import Console
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

from cxrfeat.display.screen import plain
from cxrfeat.display.speech import speech

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

    from cxrfeat.auditing.steps import AuditProgress
    from cxrfeat.evaluation.validation.cross_validation import FoldDone, ToDo
    from cxrfeat.extraction.drain import Progress

PLAIN_SECONDS = 10.0

Event = TypeVar("Event")


@contextmanager
def _lost_interrupts() -> Iterator[Callable[[], None]]:
    """Give what raises `KeyboardInterrupt` if Ctrl-C was pressed and nothing came of it."""
    handled = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not handled or threading.current_thread() is not threading.main_thread():
        yield lambda: None  # somebody else's, or ignored as in a background job
        return
    pressed = False

    def press(signum: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        raise KeyboardInterrupt

    def check() -> None:
        if pressed:
            raise KeyboardInterrupt

    tell = sys.unraisablehook

    def tell_others(lost: UnraisableHookArgs) -> None:
        # The press is noticed; Python would print the trace of where it fell.
        if lost.exc_type is not KeyboardInterrupt:
            tell(lost)

    sys.unraisablehook = tell_others
    signal.signal(signal.SIGINT, press)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.unraisablehook = tell


@contextmanager
def _interruptible(
    bar: AbstractContextManager[Callable[[Event], None]],
) -> Iterator[Callable[[Event], None]]:
    """Show and log what comes, and notice a Ctrl-C that Python lost before it is shown."""
    quiet = speech().quiet
    shown = nullcontext(_say_nothing) if quiet else bar
    with _lost_interrupts() as check, shown as show:

        def both(event: Event) -> None:
            check()
            facts = plain(event)
            speech().log_progress(facts, last=facts.get("done") == facts.get("total"))
            show(event)

        yield both


def _say_nothing(event: object) -> None:
    pass


def extraction_progress() -> AbstractContextManager[Callable[[Progress], None]]:
    """Show images done, rate and time left: a bar on a terminal, a line now and then elsewhere."""
    return _interruptible(_extraction_bar())


@contextmanager
def _extraction_bar() -> Iterator[Callable[[Progress], None]]:
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
            if progress.waiting:
                bar.console.print(progress.waiting, highlight=False, markup=False)
                return
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
        if progress.waiting:
            sys.stderr.write(f"{progress.waiting}\n")
            return
        now = time.monotonic()
        if now - last < _seconds_between() and progress.done < progress.total:
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


def _seconds_between() -> float:
    return 0.0 if speech().verbose else PLAIN_SECONDS


@contextmanager
def download_progress() -> Iterator[Callable[[str, int, int], None]]:
    """Show a download: a bar on a terminal, nothing elsewhere."""
    if speech().quiet or not sys.stderr.isatty():
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


def fit_progress() -> AbstractContextManager[Callable[[FoldDone], None]]:
    """Show what has ended and what is left: a bar on a terminal, a line now and then elsewhere."""
    return _interruptible(_fit_bar())


@contextmanager
def _fit_bar() -> Iterator[Callable[[FoldDone], None]]:
    if not sys.stderr.isatty():
        yield _plain_fit_progress()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    left = TextColumn("{task.fields[left]}")
    with Bar(*columns, TimeElapsedColumn(), left, console=Console(stderr=True)) as bar:
        task = bar.add_task("cross-validating", total=None, visible=False, left="")
        yield lambda event: bar.update(
            task,
            description=f"cross-validating {_ended(event)}",
            completed=event.done,
            total=event.total,
            left=_left(event),
            visible=True,
        )


def _plain_fit_progress() -> Callable[[FoldDone], None]:
    last = time.monotonic()

    def show(event: FoldDone) -> None:
        nonlocal last
        if time.monotonic() - last < _seconds_between() and event.done < event.total:
            return
        last = time.monotonic()
        of_all = f"{event.done} of {event.total}"
        sys.stderr.write(" · ".join(filter(None, [_ended(event), of_all, _left(event)])) + "\n")

    return show


def _ended(event: FoldDone) -> str:
    heads = f" {event.heads[0]}" if len(event.heads) == 1 else ""
    return f"{event.extractor} {event.fold}{heads} {in_words(event.seconds)}"


def _left(event: FoldDone) -> str:
    return f"about {in_words(event.left)} left" if event.done < event.total else ""


def audit_progress() -> AbstractContextManager[Callable[[AuditProgress], None]]:
    """Show the step and what it has done: a bar on a terminal, lines elsewhere."""
    return _interruptible(_audit_bar())


@contextmanager
def _audit_bar() -> Iterator[Callable[[AuditProgress], None]]:
    if not sys.stderr.isatty():
        yield _plain_audit_progress()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[counted]}"))
    with Bar(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task("opening", total=None, counted="")
        yield lambda event: bar.update(
            task,
            description=f"auditing {event.number} of {event.steps}: {event.step}",
            completed=event.number - 1 + (event.done / event.total if event.total else 0),
            total=event.steps,
            counted=f"{event.done} of {event.total} images" if event.total else "",
        )


def _plain_audit_progress() -> Callable[[AuditProgress], None]:
    last = time.monotonic()

    def show(event: AuditProgress) -> None:
        nonlocal last
        if event.total and time.monotonic() - last < _seconds_between():
            return
        last = time.monotonic()
        counted = f" · {event.done} of {event.total} images" if event.total else ""
        sys.stderr.write(f"{event.number} of {event.steps}: {event.step}{counted}\n")

    return show


def steps(seconds: Mapping[str, float]) -> str:
    """Say what each step took, the longest first; they may have gone on at once."""
    longest = sorted(seconds.items(), key=lambda step: -step[1])
    return "steps: " + ", ".join(f"{name} {in_words(took)}" for name, took in longest)


def in_words(seconds: float) -> str:
    """Say how long, roughly: seconds, minutes from two on, hours from two on."""
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def to_do(work: ToDo) -> str:
    """Say what a comparison will compute, what is there already, and what the rest will cost."""
    said = f"{work.pieces} pieces: {_many(work.extractors, 'extractor')}"
    said += f" x {_many(work.folds, 'fold')} x {_many(work.heads, 'head')}"
    if work.pieces > work.extractors * work.folds * work.heads:
        said += " and the control on shuffled labels"
    for run, pieces in work.kept.items():
        said += f"; {pieces} of {work.pieces} pieces from {run}"
    if sum(work.kept.values()) == work.pieces:
        return f"{said}; nothing is left to compute"
    memory = f"{work.memory / 1e9:.1f} GB" if work.memory >= 1e8 else "0.1 GB"
    return (
        f"{said}; about {in_words(work.seconds)} and at most {memory} for {work.at_once} at a time"
    )


def _many(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
