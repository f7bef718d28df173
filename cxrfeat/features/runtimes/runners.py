"""The runtimes that take a conversion, under the names that ``--runtime`` has for them."""

from __future__ import annotations

from cxrfeat.features.runtimes.ncnn_runtime import Ncnn
from cxrfeat.features.runtimes.openvino_runtime import OpenVino
from cxrfeat.features.runtimes.recipe import TORCH_WINOGRAD
from cxrfeat.features.runtimes.winograd_runtime import TorchWinograd

Runner = Ncnn | OpenVino | TorchWinograd

RUNNERS: dict[str, type[Ncnn] | type[OpenVino]] = {"ncnn": Ncnn, "openvino": OpenVino}


def runner_of(name: str) -> type[Runner]:
    """Return a runtime by a key of `RUNNERS`, or the one of torch.

    Raises
    ------
    LookupError
        There is none of this name.
    """
    return TorchWinograd if name == TORCH_WINOGRAD else RUNNERS[name]
