"""How much a command says, and what it writes into a log: ``--quiet``, ``--verbose``, ``--log``.

A log has a JSON object a line, so that it can be read while the command runs and by any tool:
``time`` (UTC, ISO 8601), ``event`` and what belongs to it. Events are ``start``, ``progress``,
``note``, ``error`` and ``end``. A log that is there already is added to.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TextIO

from cxrfeat.display.screen import plain
from cxrfeat.errors import InputError

LOG_SECONDS = 1.0
"""Of progress that comes faster, what comes in between is not logged."""


@dataclass
class Speech:
    """What is in force while a command runs.

    Attributes
    ----------
    quiet : bool
        Nothing is printed but errors, and results that were asked for as JSON.
    verbose : bool
        Every step of progress is printed, what each step took, and where errors arose.
    """

    quiet: bool = False
    verbose: bool = False
    _log: TextIO | None = None
    _told: float = -LOG_SECONDS

    def log(self, event: str, **facts: Any) -> None:
        """Write an event into the log, if there is one."""
        if self._log is None:
            return
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = {"time": at, "event": event, **plain(facts)}
        self._log.write(json.dumps(line, ensure_ascii=True) + "\n")
        self._log.flush()

    def log_progress(self, facts: Mapping[str, Any], *, last: bool) -> None:
        """Write progress into the log, once a second at most, and the last of it."""
        now = time.monotonic()
        if last or now - self._told >= LOG_SECONDS:
            self._told = now
            self.log("progress", **facts)


_NOW: ContextVar[Speech] = ContextVar("speech")


def speech() -> Speech:
    """Return what is in force; in no command, what is said without options."""
    return _NOW.get(Speech())


@contextmanager
def speaking(
    *, quiet: bool = False, verbose: bool = False, log: str | None = None
) -> Iterator[Speech]:
    """Put this in force for a block.

    Raises
    ------
    InputError
        Both quiet and verbose, or the log cannot be written.
    """
    if quiet and verbose:
        raise InputError("--quiet and --verbose exclude each other: leave one out")
    with ExitStack() as stack:
        file = None
        if log:
            try:
                file = stack.enter_context(open(log, "a", encoding="utf-8"))
            except OSError as error:
                raise InputError(f"the log '{log}' cannot be written ({error.strerror})") from None
        stack.callback(_NOW.reset, _NOW.set(Speech(quiet, verbose, file)))
        yield _NOW.get()
