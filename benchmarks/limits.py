"""What a device could do at most: its measured rate of matrix products, and what a network asks."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from cxrfeat.features import Extractor
from cxrfeat.features.runtimes.arithmetic import computing_in
from cxrfeat.features.runtimes.torch_forward import TYPES
from cxrfeat.features.runtimes.torch_runtime import Torch


def operations(extractor: Extractor) -> int:
    """Count the floating-point operations of one image."""
    runtime = extractor._runtime
    assert isinstance(runtime, Torch)
    with FlopCounterMode(display=False) as counted:
        runtime._forward(torch.zeros(1, extractor.image_size, extractor.image_size))
    return int(counted.get_total_flops())


def product_rate(device: torch.device, precision: str) -> float:
    """Measure operations per second of a large product of random matrices."""
    side = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(side, side, device=device, dtype=TYPES[precision]) for _ in range(2))

    def multiply() -> None:
        with computing_in(precision):
            a @ b

    return 2 * side**3 / fastest(multiply, device)


def fastest(work: Callable[[], object], device: torch.device, times: int = 10) -> float:
    """Return the median of some runs in seconds, after two that do not count."""
    seconds = []
    for _ in range(times + 2):
        finish(device)
        begun = time.perf_counter()
        work()
        finish(device)
        seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds[2:])


def finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
