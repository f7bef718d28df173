"""What runs a truncated network: torch anywhere, ncnn on the CPU.

A runtime takes grey images and gives embeddings. Which one runs decides the time, not the
meaning: all of them stay within 1e-5 of torch in float32, so that none stands in the spec.
`plain` is torch, `side_by_side` is ncnn, `conversion` makes, checks and keeps what ncnn runs,
`measuring` finds out which one is the fastest here, and `choosing` decides.
"""

from __future__ import annotations

from cxrfeat.features.runtimes.choosing import RUNTIMES, Chosen, choose
from cxrfeat.features.runtimes.measuring import fastest_batch, processor
from cxrfeat.features.runtimes.plain import PRECISIONS
from cxrfeat.features.runtimes.recipe import Recipe

__all__ = ["PRECISIONS", "RUNTIMES", "Chosen", "Recipe", "choose", "fastest_batch", "processor"]
