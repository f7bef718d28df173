"""A network that takes grey pictures as they are, instead of the channels made of them.

Every channel is the same picture, scaled and shifted. So the first convolution needs no more than
two: the picture, with its weights scaled and summed over the channels, and a plane of ones, with
its weights times what the channels are shifted by. It is ones and no bias, because both are zero
beyond the border.
"""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor, fx, nn

from cxrfeat.features.runtimes.recipe import Recipe


def taking_grey(module: fx.GraphModule, recipe: Recipe) -> fx.GraphModule:
    """Have a network take centred pictures (B, 1, S, S) instead of normalised ones.

    Parameters
    ----------
    module : GraphModule
        In evaluation mode, on the CPU; it is changed.
    recipe : Recipe
        Whose `Recipe.centre` gives what it takes then.
    """
    graph = module.graph
    picture = next(node for node in graph.nodes if node.op == "placeholder")
    calls = Counter(str(node.target) for node in graph.nodes if node.op == "call_module")
    modules = dict(module.named_modules())
    scales, shifts = recipe.of_centred()
    firsts = {str(user.target): modules.get(str(user.target)) for user in picture.users}
    with graph.inserting_after(picture):
        if recipe.channels > 2 and all(
            calls[name] == 1 and _sums_channels(first) for name, first in firsts.items()
        ):
            taken = graph.call_function(_with_ones, (picture,))
            for first in firsts.values():
                assert isinstance(first, nn.Conv2d)
                _take_two(first, torch.tensor([scales, shifts], dtype=torch.float64))
        else:
            taken = graph.call_function(_channels, (picture, scales, shifts))
    picture.replace_all_uses_with(taken, delete_user_cb=lambda user: user is not taken)
    module.recompile()
    return module


def _sums_channels(module: nn.Module | None) -> bool:
    return isinstance(module, nn.Conv2d) and module.groups == 1 and module.padding_mode == "zeros"


def _take_two(first: nn.Conv2d, of_channels: Tensor) -> None:
    """Have a convolution take a picture and ones; `of_channels` (2, C) makes channels of them."""
    weight = torch.einsum("pc,kchw->kphw", of_channels, first.weight.double())
    first.weight = nn.Parameter(weight.to(first.weight.dtype), requires_grad=False)
    first.in_channels = 2


def _with_ones(pictures: Tensor) -> Tensor:
    return torch.cat([pictures, torch.ones_like(pictures)], 1)


def _channels(pictures: Tensor, scales: list[float], shifts: list[float]) -> Tensor:
    made = [pictures * scale + shift for scale, shift in zip(scales, shifts, strict=True)]
    return torch.cat(made, 1)
