"""Which processor this is, and what it can do, as far as the system tells."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

VECTORS = ("avx512f", "avx2", "avx", "asimd")
"""What kernels are chosen by, the widest first."""


@cache
def _told() -> dict[str, str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return {}
    lines = [line.partition(":") for line in text.partition("\n\n")[0].splitlines()]
    return {name.strip(): value.strip() for name, _, value in lines}


def _flags() -> list[str]:
    told = _told()
    return (told.get("flags") or told.get("Features") or "").split()


def processor() -> str:
    """Return the processor's name and its widest vectors."""
    name = _told().get("model name") or platform.processor() or platform.machine()
    widest = [vectors for vectors in VECTORS if vectors in _flags()]
    return ", ".join([name, *widest[:1]])


def has_bfloat16() -> bool:
    """Whether the processor computes in bfloat16; where the system does not tell, it may."""
    return not _flags() or any("bf16" in flag for flag in _flags())
