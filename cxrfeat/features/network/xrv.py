"""torchxrayvision's DenseNet121: torchvision's layers with one channel, on its own grey scale.

The package itself is not needed. Its weights are pickles of whole networks, which are not opened
here: `cxrfeat weights convert` makes tensors of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxrfeat.features.network.family import Family
from cxrfeat.features.network.torchvision_catalogue import Input, Pretrained

if TYPE_CHECKING:
    from torch import Tensor, nn

# Pixels in 0..1 become -1024..1024; the middle square is resized as scikit-image does it.
INPUT = Input(224, (0.5,), (1 / 2048,), "centre", "gaussian")

_LICENCE = "Apache-2.0"
_CITATION = (
    "Cohen JP, Viviano JD, Bertin P, et al. TorchXRayVision: a library of chest X-ray datasets and"
    " models. MIDL 2022"
)
_TRAINED_ON = {
    "all": (
        *("NIH ChestX-ray14", "PadChest", "CheXpert", "MIMIC-CXR", "Google NIH labels", "OpenI"),
        "RSNA pneumonia",
    ),
    "nih": ("NIH ChestX-ray14",),
    "pc": ("PadChest",),
    "chex": ("CheXpert",),
    "rsna": ("RSNA pneumonia",),
    "mimic_nb": ("MIMIC-CXR",),
    "mimic_ch": ("MIMIC-CXR",),
}
_PICKLE = {"all": "nih-pc-chex-mimic_ch-google-openi-kaggle", "rsna": "kaggle"}
"""How its own files name their collections, where that is not as the weights do."""


def weights(name: str) -> dict[str, Pretrained]:
    """Return torchxrayvision's weights, by its names for them."""
    return {
        f"{name}-res224-{part}": Pretrained(
            "",
            INPUT,
            file=f"{name}-res224-{part}.safetensors",
            pretraining=trained_on,
            licence=_LICENCE,
            citation=_CITATION,
        )
        for part, trained_on in _TRAINED_ON.items()
    }


def pickle_of(weights_name: str) -> str:
    """Return what torchxrayvision's own file of some weights is called."""
    part = weights_name.rpartition("-")[2]
    return f"{_PICKLE.get(part, part)}-densenet121-d121-tw-lr001-rot45-tr15-sc15-seed0-best.pt"


def build(name: str, size: int) -> nn.Module:
    """Make DenseNet121 for one channel."""
    from torch import nn
    from torchvision import models

    network = models.densenet121(weights=None)
    network.features.conv0 = nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
    return network


def translate(network: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Leave out its classifier of 18 findings and their thresholds."""
    return {name: tensor for name, tensor in tensors.items() if name.startswith("features.")}


FAMILY = Family(
    title="torchxrayvision",
    names=lambda: ["densenet121"],
    weights=weights,
    build=build,
    translate=translate,
    outputs=None,
    versions=lambda name: (),
    known={"densenet121": (1024, 2.76, 6_966_034)},
)
