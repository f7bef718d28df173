"""3 x 3 convolutions by Winograd's minimal filtering, in operations that converters know.

Of m neighbouring outputs in one dimension, m + 2 products for each pair of channels are needed
instead of 3 m: for m = 4 half of them, for m = 2 two thirds. The products are one convolution in
groups, which runtimes compute at the rate of any other; before and after it stand sums of whole
maps.

These sums take every m-th row (or column). So that they find those side by side, maps lie in
phases: the rows 0, m, 2 m, ..., then the rows 1, m + 1, ... Whatever looks at one place of a map
alone, such as a 1 x 1 convolution, does not care, so that maps stay like this from one convolution
to the next.

Lavin and Gray, Fast algorithms for convolutional neural networks, CVPR 2016. The matrices are those
of Cook and Toom for any points (Barabasz et al., Error analysis and improving the accuracy of
Winograd convolution for deep neural networks, ACM TOMS 2020).
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Collection, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from cxrfeat.features.network.truncation import without_values
from cxrfeat.features.runtimes.kept_conversion import NotRunError

Matrix = npt.NDArray[np.float64]
Size = tuple[int, int]

POINTS: dict[int, tuple[float, ...]] = {2: (0, 1, -1), 4: (0, 1, -1, 2, -2)}
"""Where polynomials are evaluated, by the number of outputs m. At the second, 1, every output takes
what is found as it is, and so the bias."""
FEWEST_CHANNELS = 32
"""With fewer, sums cost more than products."""
MANY_CHANNELS = 256
"""From these on, columns are filtered as well as rows, but two at once: four round too much in
bfloat16."""
FOUR_FROM = 28
"""Height from which four rows are filtered at once, which round more than two."""
_POINTWISE = (nn.BatchNorm2d, nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish, nn.Identity, nn.Dropout)
_POINTWISE_CALLS = (operator.add, operator.iadd, torch.add, torch.relu, nn.functional.relu)


class Phases(NamedTuple):
    """Into how many phases maps are cut: rows, and columns."""

    down: int
    across: int


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


def to_phases(maps: Tensor, phases: Phases) -> Tensor:
    """Cut maps (B, C, H, W) into phases: (B, C, H / down, down * W), of each row its columns.

    Channels lie innermost meanwhile, as OpenVINO has them, so that it need not move them.
    """
    images, channels, height, width = map(int, maps.shape)
    down, across = phases
    inner = maps.permute(0, 2, 3, 1)
    if across > 1:
        inner = inner.reshape(images, height, width // across, across, channels).transpose(2, 3)
    return inner.reshape(images, height // down, down * width, channels).permute(0, 3, 1, 2)


def from_phases(maps: Tensor, phases: Phases) -> Tensor:
    """Undo `to_phases`."""
    images, channels, rows, columns = map(int, maps.shape)
    down, across = phases
    apart = maps.reshape(images, channels, rows * down, across, columns // (down * across))
    return apart.transpose(3, 4).reshape(images, channels, rows * down, columns // down)


class Winograd(nn.Module):
    """A 3 x 3 convolution of stride 1, padded by 1, of maps that lie in phases.

    Parameters
    ----------
    convolution : Conv2d
    phases : Phases
        Keys of `POINTS`; across may be 1.
    """

    def __init__(self, convolution: nn.Conv2d, phases: Phases) -> None:
        super().__init__()
        self._phases = phases
        weight = convolution.weight.detach().double().numpy()  # (K, C, 3, 3)
        kernels, channels = weight.shape[:2]
        filters = np.einsum("nr,kcrs->nkcs", matrices(phases.down)[1], weight)
        bias = np.zeros((phases.down + 2, kernels))
        if convolution.bias is not None:
            bias[1] = convolution.bias.detach().double().numpy()
        if phases.across > 1:  # to (n across, n down, K, C, 1)
            filters = np.einsum("ns,mkcs->nmkc", matrices(phases.across)[1], filters)[..., None]
            bias = np.stack([np.zeros_like(bias), bias, *[np.zeros_like(bias)] * phases.across])
        groups, taps = bias.size // kernels, filters.shape[-1]
        self.products = nn.Conv2d(
            groups * channels, groups * kernels, (1, taps), padding=(0, taps // 2), groups=groups
        )
        self.products.load_state_dict({
            "weight": torch.from_numpy(filters.reshape(-1, channels, 1, taps)),
            "bias": torch.from_numpy(bias.reshape(-1)),
        })  # fmt: skip
        self.requires_grad_(False)

    def forward(self, maps: Tensor) -> Tensor:
        """Convolve maps (B, C, H / down, down * W), as `to_phases` gives them."""
        down, across = self._phases
        above, *_, below = phases = maps.chunk(down, 3)
        before = nn.functional.pad(below[:, :, :-1], (0, 0, 1, 0))
        behind = nn.functional.pad(above[:, :, 1:], (0, 0, 0, 1))
        data = _sums(matrices(down)[0], [before, *phases, behind], 1)
        if across > 1:
            left, *_, right = phases = data.chunk(across, 3)
            before = nn.functional.pad(right[..., :-1], (1, 0))
            behind = nn.functional.pad(left[..., 1:], (0, 1))
            data = _sums(matrices(across)[0], [before, *phases, behind], 1)
        found = self.products(data)
        if across > 1:
            found = _sums(matrices(across)[2], found.chunk(across + 2, 1), 3)
        return _sums(matrices(down)[2], found.chunk(down + 2, 1), 3)


def _sums(factors: Matrix, maps: Sequence[Tensor], along: int) -> Tensor:
    """Return the sums of maps with the factors of each row, one after the other."""
    sums = []
    for row in factors.tolist():
        terms = [one if factor == 1 else factor * one
                 for factor, one in zip(row, maps, strict=True) if factor]  # fmt: skip
        sums.append(sum(terms[1:], start=terms[0]))
    return torch.cat(sums, along)


def filtered(module: fx.GraphModule, shape: tuple[int, ...]) -> fx.GraphModule:
    """Have the convolutions of a network computed by `Winograd` where it saves products.

    Parameters
    ----------
    module : GraphModule
        In evaluation mode, on the CPU; it is changed.
    shape : tuple of int
        Of its input.

    Raises
    ------
    NotRunError
        There is no such convolution.
    """
    sizes = _sizes(module, shape)
    modules: dict[str, Any] = dict(module.named_modules())
    nodes = list(module.graph.nodes)
    calls = Counter(node.target for node in nodes if node.op == "call_module")
    convolutions = {
        node: modules[node.target]
        for node in nodes
        if node in sizes and calls[node.target] == 1 and _suits(modules[node.target])
    }
    by_size = _phases([(sizes[node], one) for node, one in convolutions.items()])
    if not by_size:
        raise NotRunError("it has no 3 x 3 convolution that Winograd's filtering makes faster")
    phases = {
        node: by_size[sizes[node]]
        for node in nodes
        if sizes.get(node) in by_size and (node in convolutions or _pointwise(node, modules, sizes))
    }
    _leave_ends(phases, nodes, convolutions.keys())
    for node in convolutions.keys() & phases.keys():
        parent, _, last = str(node.target).rpartition(".")
        setattr(module.get_submodule(parent), last, Winograd(convolutions[node], phases[node]))
    _connect(module, phases, sizes)
    module.recompile()
    return module


def _connect(
    module: fx.GraphModule,
    phases: dict[fx.Node, Phases],
    sizes: dict[fx.Node, Size],
) -> None:
    """Cut maps into phases, and put them together again, where one step's are not the next's."""
    moved: dict[tuple[fx.Node, Phases | None], fx.Node] = {}

    def as_taken(given: fx.Node, taken: Phases | None) -> fx.Node:
        if given not in sizes or phases.get(given) == taken:
            return given
        if (given, taken) not in moved:
            move, cut = (to_phases, taken) if taken else (from_phases, phases[given])
            with module.graph.inserting_after(given):
                moved[given, taken] = module.graph.call_function(move, (given, cut))
        return moved[given, taken]

    for node in list(module.graph.nodes):
        node.args = fx.node.map_arg(node.args, partial(as_taken, taken=phases.get(node)))


def _phases(convolutions: Sequence[tuple[Size, nn.Conv2d]]) -> dict[Size, Phases]:
    """Choose phases for maps of each size that can be cut, by what gives maps of this size."""
    chosen: dict[Size, Phases] = {}
    for size, one in convolutions:
        height, width = size
        many = max(one.in_channels, one.out_channels) >= MANY_CHANNELS
        # Behind the last ones nothing averages what they round.
        both = many and width % 2 == 0 and size != convolutions[-1][0]
        if height % 2 == 0:
            down = 4 if height % 4 == 0 and height >= FOUR_FROM else 2
            chosen[size] = max(Phases(down, 2 if both else 1), chosen.get(size, Phases(1, 1)))
    return chosen


def _suits(module: nn.Module) -> bool:
    return (
        isinstance(module, nn.Conv2d)
        and module.kernel_size == (3, 3)
        and module.stride == module.dilation == module.padding == (1, 1)
        and module.groups == 1
        and module.padding_mode == "zeros"
        and min(module.in_channels, module.out_channels) >= FEWEST_CHANNELS
    )


def _pointwise(node: fx.Node, modules: dict[str, Any], sizes: dict[fx.Node, Size]) -> bool:
    """Whether a step looks at one place of its maps alone, each of the size that it gives."""
    if any(sizes.get(one) != sizes[node] for one in node.all_input_nodes):
        return False
    if node.op == "call_function":
        over_channels = node.target is torch.cat and node.args[1:] == (1,)
        return node.target in _POINTWISE_CALLS or over_channels
    module = modules.get(str(node.target)) if node.op == "call_module" else None
    if isinstance(module, nn.Conv2d):
        return module.kernel_size == module.stride == (1, 1) and module.padding == (0, 0)
    return isinstance(module, _POINTWISE)


def _leave_ends(
    phases: dict[fx.Node, Phases], nodes: list[fx.Node], convolutions: Collection[fx.Node]
) -> None:
    """Leave as they are what no convolution follows and what takes maps put together anyway.

    A stage of ResNet50 ends with maps that go to the next one's first convolution and to its
    shortcut: they are put together once, before both.
    """
    followed: set[fx.Node] = set()
    for node in reversed(nodes):
        if node in phases and (node in convolutions or followed & node.users.keys()):
            followed.add(node)
    for node in nodes:
        together = all(
            given not in phases or any(user not in phases for user in given.users)
            for given in node.all_input_nodes
        )
        if together and node not in followed:
            phases.pop(node, None)


def _sizes(module: fx.GraphModule, shape: tuple[int, ...]) -> dict[fx.Node, Size]:
    """Return the height and width of every map."""
    empty = without_values(module)
    with torch.inference_mode():
        ShapeProp(empty).propagate(torch.zeros(*shape, device="meta"))
    shapes: dict[fx.Node, tuple[int, ...]] = {
        node: getattr(same.meta.get("tensor_meta"), "shape", ())
        for node, same in zip(module.graph.nodes, empty.graph.nodes, strict=True)
    }
    return {node: (found[2], found[3]) for node, found in shapes.items() if len(found) == 4}
