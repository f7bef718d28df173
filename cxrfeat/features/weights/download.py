"""Download one file, or say within seconds that it cannot be had.

torch.hub's own download waits for minutes where a hospital's firewall drops packets in silence,
so the connection is made here, under a deadline.
"""

from __future__ import annotations

import os
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

CONNECT_SECONDS = 8.0
STALL_SECONDS = 30.0


def download(url: str, target: Path, progress: Callable[[int, int], None] | None = None) -> None:
    """Download `url` to `target`, which appears only when it is complete.

    Parameters
    ----------
    progress : callable, optional
        Called with bytes done and bytes in all (0 where unknown).

    Raises
    ------
    OSError
        If there is no connection within `CONNECT_SECONDS`, it breaks off, or the disk is full.
    """
    response = connect(url)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        with response, partial.open("wb") as file:
            total = int(response.headers.get("Content-Length") or 0)
            done = 0
            while block := response.read(1 << 20):
                file.write(block)
                done += len(block)
                if progress:
                    progress(done, total)
        if total and done != total:
            raise OSError(f"the download broke off after {done} of {total} bytes")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def connect(url: str) -> Any:
    """Open a URL for reading, or say in time that it cannot be had.

    Raises
    ------
    OSError
        No answer within `CONNECT_SECONDS`, or a refusal.
    """
    # A thread, because looking up a host name knows no timeout of its own.
    outcome: list[Any] = []

    def open_url() -> None:
        try:
            outcome.append(urllib.request.urlopen(url, timeout=STALL_SECONDS))
        except Exception as error:  # handed over to the thread that waits
            outcome.append(error)

    thread = threading.Thread(target=open_url, daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS)
    if not outcome:
        raise OSError(f"no answer from {url} within {CONNECT_SECONDS:g} s")
    if isinstance(outcome[0], OSError):
        raise outcome[0]
    if isinstance(outcome[0], Exception):
        raise OSError(str(outcome[0])) from outcome[0]
    return outcome[0]
