"""How much memory this process may use, also inside a container."""

from __future__ import annotations

from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 60  # what version 1 writes where there is no limit


def usable_memory(cgroup: Path = CGROUP, meminfo: Path = Path("/proc/meminfo")) -> int | None:
    """Bytes of memory that are free for this process, or None where nothing says.

    The least of what the machine has available and what a container's limit leaves.
    """
    found = []
    for line in _lines(meminfo):
        if line.startswith("MemAvailable:"):
            found.append(int(line.split()[1]) * 1024)
    limit = _words(cgroup / "memory.max") or _words(cgroup / "memory" / "memory.limit_in_bytes")
    used = _words(cgroup / "memory.current") or _words(cgroup / "memory" / "memory.usage_in_bytes")
    if limit and limit[0].isdigit() and int(limit[0]) < _UNLIMITED:
        taken = int(used[0]) if used and used[0].isdigit() else 0
        found.append(max(0, int(limit[0]) - taken))
    return min(found, default=None)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)).split()
