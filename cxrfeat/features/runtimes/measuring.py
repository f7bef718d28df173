"""Find out which runtime is the fastest for a network on this machine, once, and keep it.

Which one wins depends on the processor and on the network: on one without AVX-512, torch's
channels_last is 1.3 times as fast as NCHW for VGG16 and 0.3 times for ResNet50.
The choice is kept, because two runtimes round differently: the same machine takes the same one.
"""

from __future__ import annotations

import json
import math
import os
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from cxrfeat.cores import available_cores
from cxrfeat.features.runtimes.conversion import cache_folder, checking_images, key_of
from cxrfeat.features.runtimes.plain import BLOCK
from cxrfeat.features.runtimes.recipe import Images, Recipe, Runtime

ROUNDS, HOPELESS = 3, 2.0
MARGIN = 1.2
"""How much faster than the first another one must be: less than that may be noise."""


def processor() -> str:
    """Return the processor's name and what it can do, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return f"{platform.processor()} {platform.machine()}"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.machine()
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"


def has_bfloat16() -> bool:
    """Whether the processor computes in bfloat16; where the system does not tell, it may."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return True
    told = [line for line in lines if line.startswith(("flags", "Features"))]
    return not told or "bf16" in told[0]


def fastest(graph: str, recipe: Recipe, candidates: Mapping[str, Callable[[], Runtime]]) -> Runtime:
    """Return the fastest of several runtimes for a network on this machine.

    Parameters
    ----------
    graph : str
        What is computed; weights do not matter.
    recipe : Recipe
    candidates : mapping of str to callable
        What makes each runtime. The first is taken where nothing can be kept, and where no other
        is clearly faster.

    Returns
    -------
    Runtime
    """
    kept = cache_folder() / "fastest" / f"{_key(graph, recipe, candidates)}.json"
    try:
        return candidates[json.loads(kept.read_text())["fastest"]]()
    except (OSError, ValueError, LookupError, TypeError):
        pass
    first = next(iter(candidates))
    if not _writable(kept.parent):
        return candidates[first]()
    images = checking_images(recipe.size)[[0, 1, 2, 0]]
    assert len(images) == BLOCK
    best, chosen = candidates[first](), first
    seconds: dict[str, float] = {}
    for name, make in candidates.items():
        runtime = best if name == first else make()
        seconds[name] = _seconds(runtime, images, min(seconds.values(), default=math.inf))
        if seconds[name] == min(seconds.values()) and seconds[name] * MARGIN < seconds[first]:
            best, chosen = runtime, name
    rates = {name: round(len(images) / each, 3) for name, each in seconds.items()}
    text = json.dumps({"fastest": chosen, "images_per_second": rates, "on": processor()}, indent=1)
    temporary = kept.with_name(f".{kept.name}.{os.getpid()}")
    temporary.write_text(text + "\n")
    os.replace(temporary, kept)
    return best


def _key(graph: str, recipe: Recipe, candidates: Mapping[str, object]) -> str:
    machine = (processor(), str(available_cores()), torch.__version__)
    return key_of(graph, str(recipe.size), recipe.precision, *machine, *candidates)


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def _seconds(runtime: Runtime, images: Images, best: float) -> float:
    """Time a few rounds; one that is hopeless from the start gets no more of them."""
    rounds: list[float] = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        runtime(images)  # the first round also prepares kernels
        rounds.append(time.perf_counter() - start)
        if rounds[0] > max(HOPELESS * best, 0.5):
            break
    return min(rounds)


def fastest_batch(
    run: Callable[[int], object],
    first: int = 16,
    largest: int = 1024,
    clock: Callable[[], float] = time.perf_counter,
) -> int:
    """Return the batch size from which on larger ones gain less than a twentieth.

    Parameters
    ----------
    run : callable
        Runs that many images, in parts where memory is short.
    first, largest : int
        The sizes between which it doubles.
    clock : callable
        Tells seconds.
    """
    best, best_rate = first, 0.0
    size = first
    while size <= largest:
        run(size)  # the first time prepares kernels
        start = clock()
        run(size)
        rate = size / max(clock() - start, 1e-9)
        if rate < 1.05 * best_rate:
            break
        best, best_rate = size, rate
        size *= 2
    return best
