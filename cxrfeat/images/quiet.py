"""Libraries that warn about damaged files are not listened to: a failure says it all."""

from __future__ import annotations

import warnings


def hush(library: str) -> None:
    """Ignore Python warnings that come out of `library`.

    They would be shown once per process and not once per file, and those of pydicom may quote
    what a file holds. `warnings.catch_warnings` is no way out: it is not safe between threads.
    Repeating the call costs next to nothing and adds nothing.
    """
    warnings.filterwarnings("ignore", module=rf"{library}(\.|$)")
