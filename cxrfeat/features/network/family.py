"""What a family of networks beside torchvision's says of itself, and what a user's own does."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cxrfeat.features.network.torchvision_catalogue import Pretrained

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Family:
    """Networks of one origin; their names begin with its prefix and a colon.

    Attributes
    ----------
    title : str
        For `cxrfeat backbones`.
    names : callable
        Every name, without the prefix.
    weights : callable
        The weights of a name, the default first.
    build : callable
        A network of a name and image side, with random weights.
    translate : callable
        Tensors of a file, by the network's names; what only its classifier needs is left out.
    outputs : callable, optional
        A module that gives what a pooling takes of a network, as a tuple; None where the network is
        traced and cut off as torchvision's are.
    versions : callable
        What else than the tensors decides what a name computes.
    convertible : bool
        Whether what it computes is known by name and version, so that a conversion can be kept.
    extra : str
        The extra of cxrfeat that installs it, or "".
    random : callable
        Whether a name can have random weights.
    known : dict of str to tuple
        Dimension, 1e9 multiply-adds and parameters of names, where they are known unbuilt.
    """

    title: str
    names: Callable[[], list[str]]
    weights: Callable[[str], dict[str, Pretrained]]
    build: Callable[[str, int], nn.Module]
    translate: Callable[[nn.Module, dict[str, Tensor]], dict[str, Tensor]]
    outputs: Callable[[nn.Module, str], nn.Module] | None
    versions: Callable[[str], Sequence[Any]]
    convertible: bool = True
    extra: str = ""
    random: Callable[[str], bool] = lambda name: True
    known: Mapping[str, tuple[int, float, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Encoder:
    """A network of one's own, as an entry point of the group ``cxrfeat.encoders`` gives it.

    Attributes
    ----------
    build : callable
        Makes the network: a ``torch.nn.Module`` that takes normalised pictures, float32 of shape
        (B, C, S, S), and gives vectors (B, D), maps (B, C', H, W), or both, first the vector of the
        class token and then the patches as a map.
    size : int
        Side S of the pictures, in pixels.
    mean, std : sequence of float
        One for each channel C, 1 or 3, for grey values in [0, 1], bone bright.
    crop, resize : str
        As a sidecar gives them; see ``docs/encoders.md``.
    weights : path, optional
        A file of the network's tensors; without it `build` makes them itself.
    pretraining : sequence of str, optional
        The collections that the weights were trained on; None where that is not known.
    licence, citation : str
        Of the weights.
    """

    build: Callable[[], nn.Module]
    size: int
    mean: Sequence[float]
    std: Sequence[float]
    crop: str = "none"
    resize: str = "bilinear"
    weights: str | os.PathLike[str] | None = None
    pretraining: Sequence[str] | None = None
    licence: str = ""
    citation: str = ""
