"""The runtimes that take a conversion, by the names that they are chosen by."""

from __future__ import annotations

from cxrfeat.features.runtimes.ncnn_runtime import Ncnn
from cxrfeat.features.runtimes.openvino_runtime import OpenVino, OpenVinoWinograd
from cxrfeat.features.runtimes.recipe import OPENVINO_WINOGRAD

Runner = Ncnn | OpenVino

RUNNERS: dict[str, type[Runner]] = {
    "ncnn": Ncnn,
    "openvino": OpenVino,
    OPENVINO_WINOGRAD: OpenVinoWinograd,
}
