"""A network as torch runs it: from one block of grey pictures on a device to its maps."""

from __future__ import annotations

import copy
from collections import Counter

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from cxrfeat.features.runtimes.arithmetic import computing_in
from cxrfeat.features.runtimes.recipe import LAYOUTS, Recipe

TYPES = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
_FORMATS = dict(zip(LAYOUTS, (torch.contiguous_format, torch.channels_last), strict=True))


class Forward:
    """Batch normalisation folded into the convolutions before it, in one precision and layout.

    Parameters
    ----------
    module : GraphModule
        Gives a tuple of maps; it is copied, not changed.
    recipe : Recipe
    device : torch.device
    layout : "NCHW" or "channels_last"
        How activations lie in memory. On accelerators channels_last is the fast one; on CPUs it
        depends on the network and on the processor.
    """

    def __init__(
        self, module: fx.GraphModule, recipe: Recipe, device: torch.device, layout: str
    ) -> None:
        self.recipe = recipe
        self.device = device
        self._format = _FORMATS[layout]
        self._dtype = TYPES[recipe.precision]
        self._module = folded(module).to(device).to(memory_format=self._format)
        if self._dtype != torch.float32:
            halve(self._module, self._dtype)
        shape = (1, recipe.channels, 1, 1)
        self._mean = torch.tensor(recipe.mean, dtype=torch.float32).reshape(shape).to(device)
        self._std = torch.tensor(recipe.std, dtype=torch.float32).reshape(shape).to(device)

    def __call__(self, grey: Tensor) -> list[Tensor]:
        """Give the float32 maps of grey pictures (B, S, S) that lie on the device."""
        with torch.inference_mode(), computing_in(self.recipe.precision):
            normalised = ((grey[:, None] - self._mean) / self._std).contiguous(
                memory_format=self._format
            )
            with torch.autocast(
                self.device.type, dtype=self._dtype, enabled=self._dtype != torch.float32
            ):
                return [one.float() for one in self._module(normalised)]


def halve(module: nn.Module, dtype: torch.dtype) -> None:
    """Keep the weights of convolutions and linear layers in 16 bits.

    Autocast rounds them so at every call, because they need no gradient; the numbers are the same.
    What it leaves in float32, such as normalisation, stays so.
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            part.to(dtype)


def folded(module: fx.GraphModule) -> fx.GraphModule:
    """Return a copy in which batch normalisation is part of the convolution before it.

    Both are linear, so that one does the work of two; it rounds differently by some 1e-7.
    """
    copied = copy.deepcopy(module)
    modules = dict(copied.named_modules())
    calls = Counter(str(node.target) for node in copied.graph.nodes)
    for node in copied.graph.nodes:
        norm = modules.get(str(node.target)) if node.op == "call_module" else None
        before = node.args[0] if isinstance(norm, nn.BatchNorm2d) else None
        if not isinstance(before, fx.Node) or before.op != "call_module":
            continue
        convolution = modules.get(str(before.target))
        used_elsewhere = len(before.users) > 1 or calls[str(before.target)] > 1
        if not isinstance(convolution, nn.Conv2d) or used_elsewhere:
            continue
        assert isinstance(norm, nn.BatchNorm2d)
        parent, _, name = str(before.target).rpartition(".")
        setattr(copied.get_submodule(parent), name, fuse_conv_bn_eval(convolution, norm))
        node.replace_all_uses_with(before)
        copied.graph.erase_node(node)
    copied.recompile()
    return copied.requires_grad_(False)
