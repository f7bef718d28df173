"""Libraries that warn about damaged files are not listened to: a failure says it all."""

from __future__ import annotations

import re
import warnings


def hush(library: str) -> None:
    """Ignore Python warnings that come out of `library`.

    They would be shown once per process and not once per file, and those of pydicom may quote
    what a file holds. `warnings.catch_warnings` is no way out: it is not safe between threads.
    """
    pattern = re.compile(rf"{library}(\.|$)")
    if not any(entry[0] == "ignore" and entry[3] == pattern for entry in warnings.filters):
        warnings.filterwarnings("ignore", module=pattern.pattern)
