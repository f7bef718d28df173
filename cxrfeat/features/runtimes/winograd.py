"""3 x 3 convolutions by Winograd's minimal filtering, as products of matrices in torch.

A tile of m x m outputs needs (m + 2)^2 products for each pair of channels instead of 9 m^2: for
m = 4 a quarter. The libraries at hand multiply them in float32. Here one product of matrices
transforms all tiles, one a place in the tile filters them, and one more gives the outputs; so they
run in bfloat16 wherever torch's products do.

Lavin and Gray, Fast algorithms for convolutional neural networks, CVPR 2016. The matrices are those
of Cook and Toom for any points (Barabasz et al., Error analysis and improving the accuracy of
Winograd convolution for deep neural networks, ACM TOMS 2020).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from cxrfeat.features.network.truncation import without_values
from cxrfeat.features.runtimes.kept_conversion import NotRunError

Matrix = npt.NDArray[np.float64]

POINTS: dict[int, tuple[float, ...]] = {2: (0, 1, -1), 4: (0, 1, -1, 0.5, -2)}
"""Where polynomials are evaluated, by the side of a tile of outputs. The matrices of these are
exact in bfloat16; with these five, rounding does 0.65 of what it does with the usual 0, 1, -1, 2,
-2."""
LARGE = 56
"""Side of a map from which tiles of 4 x 4 are taken. They round more than tiles of 2 x 2, of which
least is left where many layers follow."""
FEWEST_CHANNELS = 32
"""With fewer, transforms cost more than products."""
TILES = 200
"""About how many tiles go through together: their transforms stay in a core's second cache."""


def matrices(outputs: int) -> tuple[Matrix, Matrix, Matrix]:
    """Return the transforms of one dimension.

    Parameters
    ----------
    outputs : int
        A key of `POINTS`, m.

    Returns
    -------
    of_data : ndarray, shape (m + 2, m + 2)
    of_filters : ndarray, shape (m + 2, 3)
    of_outputs : ndarray, shape (m, m + 2)
        The m sums of a window of 3 over m + 2 values d with a filter g are
        ``of_outputs @ ((of_data @ d) * (of_filters @ g))``.
    """
    points = np.array(POINTS[outputs])
    others = [np.delete(points, place) for place in range(len(points))]
    of_data = np.stack([*(np.append(np.poly(each)[::-1], 0) for each in others),
                        np.poly(points)[::-1]])  # fmt: skip
    at_points = np.stack([
        point ** np.arange(3) / np.prod(point - each)
        for point, each in zip(points, others, strict=True)
    ])  # fmt: skip
    of_filters = np.vstack([at_points, [0, 0, 1]])
    of_outputs = np.column_stack([np.vander(points, outputs, increasing=True).T,
                                  np.eye(outputs)[-1]])  # fmt: skip
    return of_data, of_filters, of_outputs


class Winograd(nn.Module):
    """A 3 x 3 convolution of stride 1, padded by 1, with the ReLU behind it if there is one.

    Parameters
    ----------
    convolution : Conv2d
    outputs : int
        Side of a tile of outputs, a key of `POINTS`.
    rectified : bool
        Whether a ReLU follows.
    dtype : torch.dtype
        What is computed in.
    """

    of_data: Tensor
    filters: Tensor
    bias: Tensor
    of_outputs: Tensor

    def __init__(
        self, convolution: nn.Conv2d, outputs: int, *, rectified: bool, dtype: torch.dtype
    ) -> None:
        super().__init__()
        self._outputs = outputs
        self._rectified = rectified
        of_data, of_filters, of_outputs = matrices(outputs)
        weight = convolution.weight.double()  # (K, C, 3, 3): to (n n, C, K), n = m + 2
        filters = torch.from_numpy(np.kron(of_filters, of_filters)) @ weight.reshape(-1, 9).T
        bias = torch.zeros(len(weight)) if convolution.bias is None else convolution.bias
        # The bias is one more place in the tile, which every output takes as it is.
        with_bias = np.column_stack([np.kron(of_outputs, of_outputs), np.ones(outputs**2)])
        for name, tensor in {
            "of_data": torch.from_numpy(np.kron(of_data, of_data)),
            "filters": filters.reshape(-1, *weight.shape[:2]).transpose(1, 2),
            "bias": bias,
            "of_outputs": torch.from_numpy(with_bias),
        }.items():
            self.register_buffer(name, tensor.detach().to(dtype).contiguous())

    def forward(self, maps: Tensor) -> Tensor:
        """Convolve maps (B, C, H, W); fast where they lie as channels_last, as the result does."""
        side, taken = self._outputs, self._outputs + 2
        # While it is traced, a size is a tensor, and reckoning with it would stand in the trace.
        places, channels, kernels = map(int, self.filters.shape)
        images, _, height, width = map(int, maps.shape)
        down, across = -(-height // side), -(-width // side)
        padded = nn.functional.pad(
            maps.to(self.filters.dtype).permute(0, 2, 3, 1),
            (0, 0, 1, 1 + across * side - width, 1, 1 + down * side - height),
        )
        # (n, n, B, down, across, C): a place in the tile, then a tile
        tiles = padded.unfold(1, taken, side).unfold(2, taken, side).permute(4, 5, 0, 1, 2, 3)
        convolved = padded.new_empty(images, down * side, across * side, kernels)
        made = convolved.view(images, down, side, across, side, kernels).permute(2, 4, 0, 1, 3, 5)

        strips = max(1, round(down * across / TILES))
        rows = -(-down // strips)
        data = padded.new_empty(2, places * rows * across * channels)
        products = padded.new_empty(places + 1, rows * across, kernels)
        results = padded.new_empty(side**2 * rows * across * kernels)
        for image in range(images):
            for row in range(0, down, rows):
                chosen = tiles[:, :, image, row : row + rows]
                together = made[:, :, image, row : row + rows]
                many = min(rows, down - row) * across
                cut, transformed = data[:, : places * many * channels].view(2, places, -1)
                cut.view(chosen.shape).copy_(chosen)
                torch.mm(self.of_data, cut, out=transformed)
                multiplied = products.flatten()[: (places + 1) * many * kernels]
                multiplied = multiplied.view(places + 1, many, kernels)
                torch.bmm(transformed.view(places, many, channels), self.filters,
                          out=multiplied[:-1])  # fmt: skip
                multiplied[-1] = self.bias
                summed = results[: side**2 * many * kernels].view(side**2, -1)
                torch.mm(self.of_outputs, multiplied.view(places + 1, -1), out=summed)
                if self._rectified:
                    torch.clamp_min(summed.view(together.shape), 0, out=together)
                else:
                    together.copy_(summed.view(together.shape))
        return convolved[:, :height, :width].permute(0, 3, 1, 2)


def filtered(module: fx.GraphModule, shape: tuple[int, ...], dtype: torch.dtype) -> fx.GraphModule:
    """Have the convolutions of a network computed by `Winograd` where it saves products.

    Parameters
    ----------
    module : GraphModule
        In evaluation mode, on the CPU; it is changed.
    shape : tuple of int
        Of its input.
    dtype : torch.dtype
        What they are computed in.

    Raises
    ------
    NotRunError
        There is no such convolution.
    """
    sides = _sides(module, shape)
    modules: dict[str, Any] = dict(module.named_modules())
    calls = [str(node.target) for node in module.graph.nodes if node.op == "call_module"]
    changed = False
    for node in module.graph.nodes:
        name = str(node.target)
        convolution = modules.get(name) if node.op == "call_module" else None
        if not isinstance(convolution, nn.Conv2d) or not _suits(convolution):
            continue
        if calls.count(name) > 1:
            continue
        after = next(iter(node.users))
        rectifier = modules.get(str(after.target)) if after.op == "call_module" else None
        rectified = len(node.users) == 1 and isinstance(rectifier, nn.ReLU)
        outputs = 4 if sides[node.name] >= LARGE else 2
        parent, _, last = name.rpartition(".")
        setattr(
            module.get_submodule(parent),
            last,
            Winograd(convolution, outputs, rectified=rectified, dtype=dtype),
        )
        if rectified:
            after.replace_all_uses_with(node)
            module.graph.erase_node(after)
        changed = True
    if not changed:
        raise NotRunError("it has no 3 x 3 convolution that Winograd's filtering makes faster")
    module.recompile()
    return module


def _suits(module: nn.Conv2d) -> bool:
    return (
        module.kernel_size == (3, 3)
        and module.stride == module.dilation == module.padding == (1, 1)
        and module.groups == 1
        and module.padding_mode == "zeros"
        and min(module.in_channels, module.out_channels) >= FEWEST_CHANNELS
    )


def _sides(module: fx.GraphModule, shape: tuple[int, ...]) -> dict[str, int]:
    """Return the shorter side of each map, by the name of the node that gives it."""
    empty = without_values(module)
    with torch.inference_mode():
        ShapeProp(empty).propagate(torch.zeros(*shape, device="meta"))
    told = {node.name: node.meta.get("tensor_meta") for node in empty.graph.nodes}
    return {
        name: min(one.shape[2:])
        for name, one in told.items()
        if hasattr(one, "shape") and len(one.shape) == 4
    }
