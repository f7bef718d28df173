"""A Ray cluster of several simulated machines, for the tests that need one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import cxrfeat
from cxrfeat.cluster.session import imported

ROOT = Path(cxrfeat.__file__).parents[1]


def require_ray() -> None:
    """Skip where Ray is not installed; fail where it has to be."""
    if find_spec("ray") is None:
        why = "needs Ray, which has no wheel for every Python: pip install 'cxrfeat[ray]'"
        if os.environ.get("REQUIRE_RAY"):
            pytest.fail(why)
        pytest.skip(why)


@contextmanager
def machines(count: int) -> Iterator[Any]:
    """Start machines of one CPU each, the first of which this process is on."""
    require_ray()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", str(ROOT))  # of the workers: also for sources of the tests
        patch.delenv("RAY_ADDRESS", raising=False)
        imported()
        from ray.cluster_utils import Cluster

        size = {"num_cpus": 1, "object_store_memory": 80 << 20}
        cluster = Cluster(initialize_head=True, head_node_args={**size, "include_dashboard": False})
        try:
            for _ in range(count - 1):
                cluster.add_node(**size)
            yield cluster
        finally:
            cluster.shutdown()
