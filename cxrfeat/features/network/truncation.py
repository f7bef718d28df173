"""Cut a classification network off at the layer that is pooled.

The rule is the same for every network, so that none needs an entry of its own: trace the network
(torch.fx), start where its classifier begins, and walk back to the last map that still has a
height and a width. The adaptive pooling that stands before a classifier is passed over, because
pooling is ours to choose.
A network that classifies from a token instead of a map (vision transformers) has no such map;
its embedding is the vector that its classifier gets.
"""

from __future__ import annotations

import copy
import math
import operator
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torchvision.models.feature_extraction import NodePathTracer

from cxrfeat.errors import InputError

# What torchvision (and the packaged networks) call the part that turns features into classes.
HEAD_NAMES = ("classifier", "fc", "head", "heads", "_fc")

Network = TypeVar("Network", bound=nn.Module)

NO_TOKENS = "needs a class token and patches, which this network lacks: use --pool avg"

_NO_STAGES = (
    "pooling 'multi' needs stages of feature maps, which this network lacks: use --pool avg"
)


@dataclass(frozen=True)
class Truncated:
    """A network up to its last feature map.

    Attributes
    ----------
    module : GraphModule
        Takes (B, C, S, S); returns a tuple of maps, one for each of `layers`.
    layers : list of str
        Where the maps come from, in torchvision's node names; the last one is the final map.
    shapes : list of tuple of int
        (C, H, W) of each map, or (C,) for a network that classifies from a token.
    """

    module: fx.GraphModule
    layers: list[str]
    shapes: list[tuple[int, ...]]


def truncate(
    network: nn.Module, size: int, *, stages: bool = False, tokens: str = "", channels: int = 3
) -> Truncated:
    """Cut `network` off before its head.

    Parameters
    ----------
    network : Module
        In evaluation mode; it is not changed.
    size : int
        Side of the square input in pixels.
    stages : bool
        Also return the map at the end of every stage (for ``--pool multi``).
    tokens : str
        One of `TOKEN_POOLINGS`: return what it takes of a network of tokens.
    channels : int
        Of the input.

    Raises
    ------
    InputError
        If the network does not take images of this size, or has no stages of maps or no tokens.
    """
    tracer = NodePathTracer()
    graph = tracer.trace(network)
    empty = fx.GraphModule(without_values(network), graph)
    try:
        with torch.inference_mode():
            ShapeProp(empty).propagate(torch.zeros(1, channels, size, size, device="meta"))
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"{type(network).__name__} does not take images of {size} x {size} pixels: "
            "leave --image-size out to use the size of its weights"
        ) from error
    names = {node: name for node, name in tracer.node_to_qualname.items() if name}
    if tokens:
        kept, shapes, layers = _of_tokens(graph, names, tokens)
    else:
        final = _final_map(graph, names)
        kept = [*_stage_ends(graph, final), final] if stages else [final]
        shapes = [tuple(_shape(node))[1:] for node in kept]
        layers = [names.get(node, node.name) for node in kept]

    for node in list(graph.nodes):
        if node.op == "output":
            graph.erase_node(node)
    graph.output(tuple(kept))
    graph.eliminate_dead_code()
    module = fx.GraphModule(network, graph).eval().requires_grad_(False)
    return Truncated(module, layers, shapes)


def without_values(network: Network) -> Network:
    """Copy a network's structure alone: shapes pass through it without computing or memory."""
    tensors = [*network.parameters(), *network.buffers()]
    empty = {id(tensor): torch.empty_like(tensor, device="meta") for tensor in tensors}
    for parameter in network.parameters():
        empty[id(parameter)] = nn.Parameter(empty[id(parameter)], requires_grad=False)
    return copy.deepcopy(network, empty)


def _of_tokens(
    graph: fx.Graph, names: dict[fx.Node, str], pooling: str
) -> tuple[list[fx.Node], list[tuple[int, ...]], list[str]]:
    """Return the class token and the patches before the classifier: nodes, shapes and names."""
    node = _head_of(graph, names).all_input_nodes[0]
    while len(_shape(node)) == 2:
        node = node.all_input_nodes[0]
    if len(_shape(node)) != 3:
        raise InputError(f"pooling '{pooling}' {NO_TOKENS}")
    _, count, channels = _shape(node)
    side = math.isqrt(count - 1)
    with graph.inserting_before(next(one for one in graph.nodes if one.op == "output")):
        token = graph.call_function(operator.getitem, (node, (slice(None), 0)))
        patches = graph.call_function(patch_map, (node, 1))
    of = names.get(node, node.name)
    parts: list[tuple[fx.Node, tuple[int, ...], str]] = [
        (token, (channels,), f"{of}: class token"),
        (patches, (channels, side, side), f"{of}: patches"),
    ]
    chosen = {"token": parts[:1], "patches": parts[1:]}.get(pooling, parts)
    nodes, shapes, layers = zip(*chosen, strict=True)
    return list(nodes), list(shapes), list(layers)


def patch_map(tokens: Tensor, prefix: int) -> Tensor:
    """Lay the tokens of patches out as a map: (B, T, C) -> (B, C, H, W), the prefix left out."""
    batch, count, channels = tokens.shape
    side = math.isqrt(count - prefix)
    return tokens[:, prefix:].transpose(1, 2).reshape(batch, channels, side, side)


def _head_of(graph: fx.Graph, names: dict[fx.Node, str]) -> fx.Node:
    return next(node for node in graph.nodes if names.get(node, "").split(".")[0] in HEAD_NAMES)


def _final_map(graph: fx.Graph, names: dict[fx.Node, str]) -> fx.Node:
    vector = node = _head_of(graph, names).all_input_nodes[0]
    while len(_shape(node)) in (2, 4):
        if len(_shape(node)) == 4 and _area(node) > 1 and "adaptive" not in _operation(graph, node):
            return node
        node = node.all_input_nodes[0]
    return vector  # made from a token, not from a map


def _stage_ends(graph: fx.Graph, final: fx.Node) -> list[fx.Node]:
    """Return the last map of every stage before `final`.

    A stage ends where the resolution falls; a pooling layer counts with the stage it ends. Only
    maps that every path runs through count, so that no half of a residual block is taken.
    """
    if len(_shape(final)) != 4:
        raise InputError(_NO_STAGES)
    ends: list[fx.Node] = []
    current: fx.Node | None = None
    for node in _unavoidable(graph, final):
        shape, operation = _shape(node), _operation(graph, node)
        if len(shape) != 4 or shape[1] <= 3 or "pad" in operation:
            continue  # reshaped for shuffling; the image itself; a map about to be convolved
        if shape[2] != shape[3]:
            raise InputError(_NO_STAGES)  # channels stand last: no (C, H, W) map
        if current is not None and _area(node) < _area(current):
            end = node if "pool" in operation else current
            if end not in ends:  # two reductions in a row end one stage
                ends.append(end)
        current = node
    return [node for node in ends if node is not final]


def _unavoidable(graph: fx.Graph, final: fx.Node) -> list[fx.Node]:
    """Return the computed nodes that lie on every path from the image to `final`, in order."""
    position = {node: i for i, node in enumerate(graph.nodes)}
    ancestors, waiting = {final}, [final]
    while waiting:
        for node in waiting.pop().all_input_nodes:
            if node not in ancestors and node.op != "get_attr":
                ancestors.add(node)
                waiting.append(node)
    path = sorted((n for n in ancestors if len(_shape(n)) > 1), key=position.__getitem__)
    unavoidable, reach = [], 0
    for node in path:
        # Nothing before this node is still needed after it: every path runs through it.
        if reach <= position[node] and node.op != "placeholder":
            unavoidable.append(node)
        reach = max([reach, *(position[user] for user in node.users if user in ancestors)])
    return unavoidable


def _operation(graph: fx.Graph, node: fx.Node) -> str:
    """Return what a node does, in lower case: a module's class or a function's name."""
    if node.op == "call_module":
        owner = graph.owning_module
        assert owner is not None
        return type(owner.get_submodule(str(node.target))).__name__.lower()
    return str(getattr(node.target, "__name__", node.target)).lower()


def _shape(node: fx.Node) -> tuple[int, ...]:
    return tuple(getattr(node.meta.get("tensor_meta"), "shape", ()))


def _area(node: fx.Node) -> int:
    return _shape(node)[2] * _shape(node)[3]
