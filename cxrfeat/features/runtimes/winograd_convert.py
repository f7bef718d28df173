"""Write a network as torch takes it by itself, its 3 x 3 convolutions by Winograd's filtering."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, fx, nn

from cxrfeat.features.runtimes.kept_conversion import CHECKED
from cxrfeat.features.runtimes.torch_forward import TYPES, folded, halve
from cxrfeat.features.runtimes.tracing import traced
from cxrfeat.features.runtimes.winograd import filtered
from cxrfeat.features.runtimes.winograd_runtime import file_of


class _InOnePrecision(nn.Module):
    """A network that lies as channels_last and leaves to autocast what is not to be 16 bits."""

    def __init__(self, network: fx.GraphModule, dtype: torch.dtype) -> None:
        super().__init__()
        self._network = network.to(memory_format=torch.channels_last)
        self._dtype = dtype

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        pictures = pictures.contiguous(memory_format=torch.channels_last)
        rounded = self._dtype != torch.float32
        # What autocast keeps for its next call would stand in the trace as a constant.
        with torch.autocast("cpu", dtype=self._dtype, enabled=rounded, cache_enabled=False):
            return tuple(one.float() for one in self._network(pictures))


def write(module: fx.GraphModule, shape: tuple[int, ...], folder: Path) -> int:
    """Write a network's file for each precision that is checked; return how many maps it gives.

    Parameters are those of `ncnn_convert.write`.

    Raises
    ------
    NotRunError
        There is nothing in it that this makes faster, or torch cannot trace it.
    """
    for precision in CHECKED:
        dtype = TYPES[precision]
        network = filtered(folded(module), shape, dtype)
        if dtype != torch.float32:
            halve(network, dtype)
        written, outputs = traced(_InOnePrecision(network, dtype), shape)
        # Its own way of saving to a file ends with a RuntimeError where the disk is full.
        content = written.save_to_buffer()
        (folder / file_of(precision)).write_bytes(content)
    return outputs
