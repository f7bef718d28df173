"""Networks that are not traced but taken as they are: what comes out of one, for a pooling.

A traced network is cut off by the rule of `truncation`. Those of timm and of users may branch as
they like; each says itself what its features are, and stands in the graph as one node.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from cxrfeat.errors import InputError
from cxrfeat.features.network.pooling import TOKEN_POOLINGS
from cxrfeat.features.network.truncation import (
    NO_TOKENS,
    Truncated,
    patch_map,
    without_values,
)


def taken(
    pooling: str, token: Tensor | None, patches: Tensor | None, otherwise: Tensor
) -> tuple[Tensor, ...]:
    """Return the maps that a pooling takes of a network of tokens; others take `otherwise`."""
    wanted = {
        "token": [token],
        "patches": [patches],
        "tokenpatches": [token, patches],
    }.get(pooling, [otherwise])
    found = tuple(one for one in wanted if one is not None)
    if len(found) < len(wanted):
        raise InputError(f"pooling '{pooling}' {NO_TOKENS}")
    return found


class Timm(nn.Module):
    """A network of timm: its last map, or its tokens, before its own pooling and classifier."""

    def __init__(self, network: nn.Module, pooling: str) -> None:
        super().__init__()
        self.encoder: Any = network
        self._pooling = pooling

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Give the maps of normalised pictures (B, C, S, S)."""
        features = self.encoder.forward_features(images)
        if features.ndim == 4:
            if self._pooling in TOKEN_POOLINGS:
                raise InputError(f"pooling '{self._pooling}' {NO_TOKENS}")
            if getattr(self.encoder, "output_fmt", "NCHW") == "NHWC":
                features = features.permute(0, 3, 1, 2)
            return (features,)
        if self._pooling not in TOKEN_POOLINGS:
            return (self.encoder.forward_head(features, pre_logits=True),)
        prefix = int(getattr(self.encoder, "num_prefix_tokens", 0))
        has_class = getattr(self.encoder, "cls_token", None) is not None
        return taken(
            self._pooling,
            features[:, 0] if has_class else None,
            patch_map(features, prefix),
            features,
        )


class Own(nn.Module):
    """A user's network, which gives vectors, maps, or a class token's vector and a map."""

    def __init__(self, network: nn.Module, pooling: str) -> None:
        super().__init__()
        self.encoder = network
        self._pooling = pooling

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Give the maps of normalised pictures (B, C, S, S)."""
        given = self.encoder(images)
        if isinstance(given, Tensor):
            return taken(self._pooling, None, None, given)
        token, patches = given
        return taken(self._pooling, token, patches, token)


def enclose(made: nn.Module, shape: Sequence[int], pooling: str, identity: str) -> Truncated:
    """Put a network into a graph of one node.

    Parameters
    ----------
    made : Module
        Gives a tuple of maps.
    shape : sequence of int
        Of its input, (1, C, S, S).
    pooling : str
        That `made` gives the maps for.
    identity : str
        Names all that decides what it computes but for its tensors; it is part of the graph's code.

    Raises
    ------
    InputError
        It takes no pictures of this size, or gives what cannot be pooled.
    """
    maps = _maps_of(made, shape)
    if not all(isinstance(one, Tensor) and one.ndim in (2, 4) for one in maps):
        raise InputError(
            "the network gives neither vectors (B, D) nor maps (B, C, H, W): mend what it returns"
        )
    graph = fx.Graph()
    images = graph.placeholder("images")
    name = re.sub(r"\W", "_", identity)
    whole = graph.create_node("call_module", "network", (images,), name=f"by_{name}")
    graph.output(tuple(graph.call_function(_item, (whole, place)) for place in range(len(maps))))
    root = nn.Module()
    root.network = made
    module = fx.GraphModule(root, graph).eval().requires_grad_(False)
    layers = {"token": ["token"], "patches": ["patches"], "tokenpatches": ["token", "patches"]}
    return Truncated(
        module, layers.get(pooling, ["features"]), [tuple(one.shape)[1:] for one in maps]
    )


def _item(maps: Sequence[Tensor], place: int) -> Tensor:
    return maps[place]


def _maps_of(made: nn.Module, shape: Sequence[int]) -> tuple[Tensor, ...]:
    """Run one blank picture through: without values where that goes, else for real."""
    with torch.inference_mode():
        try:
            return tuple(without_values(made)(torch.zeros(*shape, device="meta")))
        except InputError:
            raise
        except Exception:  # whatever a network does that tensors without values cannot
            pass
        try:
            return tuple(made(torch.zeros(*shape)))
        except InputError:
            raise
        except Exception as error:
            said = " ".join(str(error).split())[:200] or type(error).__name__
            raise InputError(
                f"the network does not take images of {shape[-1]} x {shape[-1]} pixels with"
                f" {shape[1]} channel(s) ({said}): leave --image-size out to use the size of its"
                " weights"
            ) from error
