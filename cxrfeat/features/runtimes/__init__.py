"""What runs a truncated network: torch anywhere, on the CPU ncnn and OpenVINO too.

A runtime takes grey images and gives embeddings. Which one runs decides the time, not the meaning:
all of them stay within 1e-5 of torch in float32, so that none stands in the spec. Imports `network`
and `weights`; imported by what opens extractors. To read: `recipe` (what stands around the
network), `torch_forward` with its `arithmetic`, `torch_runtime` and `accelerator_runtime` (with
`device_queues`); `side_by_side`, `ncnn_runtime` and `openvino_runtime` (the `runners`), what they
take (`kept_conversion`), how it is made (`tracing`, `ncnn_convert`, `winograd`, `grey_input`,
`openvino_convert`, `converting`) and checked (`checking`); `benchmark` (which is the fastest on
this `processor`), `select` (decides).
"""

from __future__ import annotations

from cxrfeat.features.runtimes.recipe import EXACT_RUNTIMES, PRECISIONS, RUNTIMES, Recipe, Runtime

__all__ = ["EXACT_RUNTIMES", "PRECISIONS", "RUNTIMES", "Recipe", "Runtime"]
