"""How many cores this process may use."""

from __future__ import annotations


def available_cores() -> int:
    """Cores that this process may use: affinity and a container's limit (cgroups) count."""
    import joblib

    return int(joblib.cpu_count())
