"""`cxrfeat.progress_bar`: how far a call from Python is, in a notebook or wherever it runs."""

from __future__ import annotations

import html
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from cxrfeat.display.progress import (
    audit_progress,
    extraction_progress,
    fit_progress,
    in_words,
)


@contextmanager
def progress_bar() -> Iterator[Callable[[Any], None]]:
    """Show how far a call is: a bar in a notebook or on a terminal, a line now and then elsewhere.

    Yields
    ------
    callable
        For the parameter ``progress`` of `extract`, `fit`, `audit`, `predict` and `explain`; one
        bar for each call.

    Examples
    --------
    >>> import cxrfeat
    >>> with cxrfeat.progress_bar() as bar:  # doctest: +SKIP
    ...     cxrfeat.extract("images", progress=bar)
    """
    if (display := _notebook_display()) is not None:
        yield _in_notebook(display)
        return
    with ExitStack() as stack:
        shown: list[Callable[[Any], None]] = []

        def show(event: Any) -> None:
            if not shown:
                shown.append(stack.enter_context(_bar_for(event)))
            shown[0](event)

        yield show


def _bar_for(event: Any) -> Any:
    """Choose by what an event tells: steps of an audit, folds of a comparison, or images."""
    if hasattr(event, "steps"):
        return audit_progress()
    return fit_progress() if hasattr(event, "fold") else extraction_progress()


def _notebook_display() -> Any:
    """Return what shows things below a cell; None outside a notebook, where nothing is imported."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if getattr(shell, "kernel", None) is None:
        return None
    from IPython import display

    return display


def _in_notebook(display: Any) -> Callable[[Any], None]:
    handles: list[Any] = []

    def show(event: Any) -> None:
        drawn = display.HTML(_drawn(event))
        if handles:
            handles[0].update(drawn)
        else:
            handles.append(display.display(drawn, display_id=True))

    return show


def _drawn(event: Any) -> str:
    if getattr(event, "waiting", ""):
        return html.escape(str(event.waiting))
    done, total = event.done, event.total
    said = f"{done} of {total}"
    if hasattr(event, "steps"):
        said = f"auditing {event.number} of {event.steps}: {event.step}"
        done, total = event.number - 1 + (done / total if total else 0), event.steps
    elif hasattr(event, "fold"):
        left = f", about {in_words(event.left)} left" if done < total else ""
        said = f"{event.extractor} {event.fold}: {said}{left}"
    elif event.failed:
        said += f", {event.failed} failed"
    return f'<progress value="{done:g}" max="{total:g}"></progress> {html.escape(said)}'
