"""Which processor this is, and what it can do, as far as the system tells."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

VECTORS = ("avx512f", "avx2", "avx", "asimd")
"""What kernels are chosen by, the widest first."""
BFLOAT16 = ("amx_bf16", "avx512_bf16", "bf16")
"""What bfloat16 is computed with, the fastest first."""


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
    """Return the processor's name, its widest vectors, and what it has for bfloat16."""
    name = _told().get("model name") or platform.processor() or platform.machine()
    flags = _flags()
    best = [next((one for one in kind if one in flags), "") for kind in (VECTORS, BFLOAT16)]
    return ", ".join(filter(None, [name, *best]))


def has_bfloat16() -> bool:
    """Whether the processor computes in bfloat16; where the system does not tell, it may."""
    return not _flags() or any("bf16" in flag for flag in _flags())
