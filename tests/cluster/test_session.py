"""Connecting: what cannot be an address, or does not answer, is said at once and in one line."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from cxrfeat.cluster.session import connected
from cxrfeat.errors import ClusterError, InputError, MissingExtraError
from tests.ray_cluster import require_ray


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"cxrfeat\[ray\]"), connected():
        pass


@pytest.mark.parametrize("address", ["head", "head:", ":6379", "ray://head:10001", "head:port"])
def test_what_is_no_address_is_refused(address: str) -> None:
    require_ray()
    with pytest.raises(InputError, match="HOST:PORT"), connected(address):
        pass


def test_an_address_where_nothing_listens_is_said_at_once() -> None:
    require_ray()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(ClusterError, match=f"no Ray cluster answers at {address}"):
            connected(address).__enter__()
    assert "RAY_USAGE_STATS_ENABLED" not in os.environ


def test_what_another_thread_collects_while_ray_ends_does_not_end_this_process() -> None:
    require_ray()
    script = """
import gc
import threading
import time

from cxrfeat.cluster.session import connected


def let_go() -> None:
    while held:
        cycle = [held.pop()]  # is let go when cycles are collected, by the thread that does it
        cycle.append(cycle)
        time.sleep(2e-4 if len(held) > 1000 else 2e-2)  # the last outlast a slow machine's end


gc.set_threshold(20)
with connected() as ray:
    held = [ray.put(number) for number in range(5000)]
    threading.Thread(target=let_go, daemon=True).start()
print("alive, with references left" if held else "none was left", gc.isenabled())
"""
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120
    )
    assert (run.returncode, run.stdout) == (0, "alive, with references left True\n"), run.stderr
