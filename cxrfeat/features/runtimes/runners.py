"""The runtimes that take a conversion, under the names that ``--runtime`` has for them."""

from __future__ import annotations

from cxrfeat.features.runtimes.ncnn_runtime import Ncnn
from cxrfeat.features.runtimes.openvino_runtime import OpenVino

Runner = Ncnn | OpenVino

RUNNERS: dict[str, type[Ncnn] | type[OpenVino]] = {"ncnn": Ncnn, "openvino": OpenVino}
