"""Where in the picture the cells of a network's maps lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from cxrfeat.evidence import Grid
from cxrfeat.features.network.architecture import build
from cxrfeat.features.network.cutting import cut_off
from cxrfeat.features.network.truncation import without_values


def grids(network: fx.GraphModule, side: int, channels: int = 3) -> list[Grid] | None:
    """Say where the cells of a network's maps lie; None if it has none of shape (C, H, W).

    Parameters
    ----------
    network : GraphModule
        Truncated; its tensors lie on the meta device.
    side : int
        Of the picture, in pixels.
    channels : int
        Of the picture, as the network takes it.

    Notes
    -----
    The centres follow from kernel, stride and padding of every layer on the way: in VGG16 the
    last cells are centred at 15.5, 47.5 ... of 224 pixels, in ResNet50 at 0, 32 ... A layer that
    changes the resolution in another way is taken to divide the picture evenly.

    References
    ----------
    Araujo A, Norris W, Sim J. Computing receptive fields of convolutional neural networks.
    Distill 2019.
    """
    with torch.inference_mode():
        tracked = _Tracked(network, side)
        maps = tracked.run(torch.zeros(1, channels, side, side, device="meta"))
    if any(one.ndim != 4 for one in maps):
        return None
    return tracked.at_output


def structure(backbone: str, size: int, pooling: str, channels: int = 3) -> fx.GraphModule:
    """Return a truncated network without its tensors."""
    network = build(backbone, size=size, empty=True)
    return without_values(cut_off(backbone, network, size, pooling, channels).module)


class _Tracked(fx.Interpreter):
    """Runs a network and keeps, for every map, where its cells lie in the picture."""

    def __init__(self, network: fx.GraphModule, side: int) -> None:
        super().__init__(network)
        self._side = side
        self._grids: dict[fx.Node, Grid] = {}
        self.at_output: list[Grid] = []

    def run_node(self, n: fx.Node) -> Any:
        if n.op == "output":
            self.at_output = [self._grids[one] for one in n.all_input_nodes if one in self._grids]
        window = self._window(n)
        result = super().run_node(n)
        if isinstance(result, Tensor) and result.ndim == 4:
            self._grids[n] = self._grid(n, int(result.shape[-1]), window)
        return result

    def _grid(self, n: fx.Node, cells: int, window: _Window | None) -> Grid:
        if n.op == "placeholder":
            return Grid(self._side, cells, 0.0, 1.0)
        before = [self._grids[one] for one in n.all_input_nodes if one in self._grids]
        if window is not None and before:
            return window.over(before[0], cells)
        for grid in before:  # of several, e.g. a map and its channels' weights, the map
            if grid.cells == cells:
                return grid
        step = self._side / cells
        return Grid(self._side, cells, (step - 1) / 2, step)

    def _window(self, n: fx.Node) -> _Window | None:
        """Return how a node looks at its input, if it is a convolution, a pooling or a border."""
        if n.op == "call_module":
            module = self.fetch_attr(str(n.target))
            return _window({name: getattr(module, name, None) for name in _ARGUMENTS})
        if n.op != "call_function":
            return None
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        name = getattr(n.target, "__name__", "")
        if name == "conv2d":
            given = dict(zip(("stride", "padding", "dilation"), args[3:], strict=False))
            return _window({"kernel_size": args[1].shape[-1], "stride": 1} | given | kwargs)
        if name in ("max_pool2d", "avg_pool2d"):
            return _window(dict(zip(_ARGUMENTS, args[1:], strict=False)) | kwargs)
        return None


@dataclass(frozen=True)
class _Window:
    """How a layer moves over its input, along one axis."""

    kernel: int
    stride: int
    padding: int
    dilation: int

    def over(self, grid: Grid, cells: int) -> Grid:
        middle = self.dilation * (self.kernel - 1) / 2 - self.padding
        return Grid(grid.side, cells, grid.start + middle * grid.step, grid.step * self.stride)


_ARGUMENTS = ("kernel_size", "stride", "padding", "dilation")


def _window(given: Mapping[str, Any]) -> _Window | None:
    """Read the arguments of a layer; a pair (rows, columns) counts by its last."""
    first = {
        key: value[-1] if isinstance(value, list | tuple) else value for key, value in given.items()
    }
    kernel, padding = first.get("kernel_size"), first.get("padding", 0)
    if kernel is None and isinstance(given.get("padding"), tuple) and len(given["padding"]) == 4:
        return _Window(1, 1, given["padding"][0], 1)  # a border is put around: left, right, ...
    if not isinstance(kernel, int) or not isinstance(padding, int):
        return None
    return _Window(kernel, first.get("stride") or kernel, padding, first.get("dilation") or 1)
