"""What runs a truncated network: torch anywhere, ncnn on the CPU.

A runtime takes grey images and gives embeddings. Which one runs decides the time, not the
meaning: all of them stay within 1e-5 of torch in float32, so that none stands in the spec.
`plain` is torch, `side_by_side` is ncnn, `conversion` makes and checks what ncnn runs and
`converted` reads it back, `measuring` finds out which one is the fastest on this `processor`, and
`choosing` decides.
"""

from __future__ import annotations

from cxrfeat.features.runtimes.recipe import PRECISIONS, RUNTIMES, Recipe, Runtime

__all__ = ["PRECISIONS", "RUNTIMES", "Recipe", "Runtime"]
