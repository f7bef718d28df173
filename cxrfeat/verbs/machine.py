"""What this process may use of the machine: cores and memory, also inside a container."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 60  # what version 1 writes where there is no limit


def usable_cores(cgroup: Path = CGROUP) -> int:
    """Count the cores: the process's affinity, or less where a container's quota is less."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    quota = _words(cgroup / "cpu.max") or [
        *_words(cgroup / "cpu" / "cpu.cfs_quota_us"),
        *_words(cgroup / "cpu" / "cpu.cfs_period_us"),
    ]
    if len(quota) == 2 and quota[0].isdigit() and quota[1].isdigit() and int(quota[1]):
        cores = min(cores, max(1, math.ceil(int(quota[0]) / int(quota[1]))))
    return cores


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
