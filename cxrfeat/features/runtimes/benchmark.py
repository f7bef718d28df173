"""Find out which runtime is the fastest for a network on this machine, once, and keep it.

Which one wins depends on the processor and on the network: on one without AVX-512, torch's
channels_last is 1.3 times as fast as NCHW for VGG16 and 0.3 times for ResNet50.
The choice is kept, because two runtimes round differently: the same machine takes the same one.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from cxrfeat.arrays import Pictures
from cxrfeat.cores import available_cores
from cxrfeat.features.network import disk_cache
from cxrfeat.features.runtimes.checking import checking_images
from cxrfeat.features.runtimes.kept_conversion import versions
from cxrfeat.features.runtimes.processor import processor
from cxrfeat.features.runtimes.recipe import Recipe, Runtime
from cxrfeat.features.runtimes.torch_runtime import BLOCK

ROUNDS, HOPELESS = 3, 2.0
TURNS, CLOSE = 6, 1.3
"""Rounds in turn of those that are not clearly slower than the fastest. What slows the machine for
a while then slows them all."""
MARGINS = {"fp32": 1.03, "bf16": 1.05}
"""How much faster another one must be than one that stands before it, by precision: less may be
noise, by which two machines of one kind take different ones. Of two runtimes in turn the ratio of
the shortest of nine rounds came again within 1 % in float32, within 7 % in bfloat16."""


@dataclass(frozen=True)
class Fastest:
    """The fastest runtime of a network.

    Attributes
    ----------
    runtime : Runtime
    images_per_second : float or None
        As measured, once; None where nothing can be kept.
    """

    runtime: Runtime
    images_per_second: float | None = None


def fastest(graph: str, recipe: Recipe, candidates: Mapping[str, Callable[[], Runtime]]) -> Fastest:
    """Return the fastest of several runtimes for a network on this machine.

    Parameters
    ----------
    graph : str
        What is computed; weights do not matter.
    recipe : Recipe
    candidates : mapping of str to callable
        What makes each runtime. The first is taken where nothing can be kept, and else the first
        that none is clearly faster than.

    Returns
    -------
    Fastest
    """
    path = disk_cache.cache_folder() / "fastest" / f"{_key(graph, recipe, candidates)}.json"
    try:
        kept = disk_cache.read(path)
        make, rate = candidates[kept["fastest"]], float(kept["images_per_second"][kept["fastest"]])
    except (LookupError, TypeError, ValueError):
        pass
    else:
        return Fastest(make(), rate)
    first = next(iter(candidates))
    if not _writable(path.parent):
        return Fastest(candidates[first]())
    images = checking_images(recipe.size)[[0, 1, 2, 0]]
    assert len(images) == BLOCK
    runtimes, seconds = _timed(candidates, images)
    limit = MARGINS[recipe.precision] * min(seconds.values())
    chosen = next(name for name, each in seconds.items() if each <= limit)
    rates = {name: round(len(images) / each, 3) for name, each in seconds.items()}
    disk_cache.write(path, {"fastest": chosen, "images_per_second": rates, "on": processor()})
    return Fastest(runtimes[chosen], rates[chosen])


def _key(graph: str, recipe: Recipe, candidates: Mapping[str, object]) -> str:
    machine = (processor(), available_cores(), version("torch"), *versions())
    return disk_cache.key_of(graph, recipe.size, recipe.precision, *machine, *candidates)


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def _timed(
    candidates: Mapping[str, Callable[[], Runtime]], images: Pictures
) -> tuple[dict[str, Runtime], dict[str, float]]:
    """Time all of them; return those that may be chosen, and the shortest round of each."""
    runtimes: dict[str, Runtime] = {}
    seconds: dict[str, float] = {}
    for name, make in candidates.items():
        runtime = make()
        seconds[name] = _first_rounds(runtime, images, min(seconds.values(), default=math.inf))
        runtimes[name] = runtime
        limit = CLOSE * min(seconds.values())
        runtimes = {name: one for name, one in runtimes.items() if seconds[name] <= limit}
    for _ in range(TURNS if len(runtimes) > 1 else 0):
        for name, runtime in runtimes.items():
            seconds[name] = min(seconds[name], _round(runtime, images))
    return runtimes, seconds


def _first_rounds(runtime: Runtime, images: Pictures, best: float) -> float:
    """Time a few rounds; one that is hopeless from the start gets no more of them."""
    rounds: list[float] = []
    for _ in range(ROUNDS):
        rounds.append(_round(runtime, images))  # the first one also prepares kernels
        if rounds[0] > max(HOPELESS * best, 0.5):
            break
    return min(rounds)


def _round(runtime: Runtime, images: Pictures) -> float:
    start = time.perf_counter()
    runtime(images)
    return time.perf_counter() - start
