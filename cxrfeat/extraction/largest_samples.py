"""The largest samples of 16-bit pictures, kept so that a second run need not decode them.

They decide how many bits a set is read with, and thereby every number: a line counts only if its
checksum is that of its text.
"""

from __future__ import annotations

import contextlib
import threading
import zlib
from pathlib import Path


class LargestSamples:
    """Largest samples by what names an image's bytes, or their sha256; several processes may add.

    Each is a line.

    A disk that takes no line costs no more than what is kept.

    Parameters
    ----------
    path
        The file; it is there only after the first sample.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._found: dict[str, int] = {}
        with contextlib.suppress(OSError), path.open(encoding="ascii", errors="replace") as lines:
            for line in lines:
                text, _, checksum = line.rstrip("\n").rpartition(" ")
                if text and checksum == _checksum(text):
                    name, _, largest = text.partition(" ")
                    self._found[name] = int(largest)

    def find(self, name: str) -> int | None:
        """Return the largest sample of an image; None where it was not kept."""
        return self._found.get(name)

    def keep(self, name: str, largest: int) -> None:
        """Write one down."""
        text = f"{name} {largest}"
        with (
            self._lock,
            contextlib.suppress(OSError),
            self._path.open("a", encoding="ascii") as lines,
        ):
            # After what may be the beginning of a line; an empty one is none.
            lines.write(f"\n{text} {_checksum(text)}\n")


def _checksum(text: str) -> str:
    return f"{zlib.crc32(text.encode('ascii', 'replace')):08x}"
