"""Build a network as its package or family defines it, without weights from a file."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import nn
from torchvision import models

from cxrfeat.features.network.backbones import PACKAGED, check_name, expected_input
from cxrfeat.features.network.families import family_of

# torchvision's own loaders pass these together with pretrained weights; without them the same
# tensors would give another network (`transform_input`) or a warning (`init_weights`).
BUILD_ARGUMENTS: dict[str, dict[str, Any]] = {
    "googlenet": {"transform_input": True, "aux_logits": True, "init_weights": False},
    "inception_v3": {"transform_input": True, "aux_logits": True, "init_weights": False},
}


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
        two for VGG. Networks with buffers of their own, which no weights file holds, and those
        from elsewhere than torchvision are built whole.

    Raises
    ------
    UnknownNameError
        If there is no such backbone.
    """
    check_name(name)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.manual_seed(seed)
        if (family := family_of(name)) is not None:
            network = family[0].build(family[1], size or expected_input(name).size)
        elif name in PACKAGED:
            network = PACKAGED[name].build()
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
