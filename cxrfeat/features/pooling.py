"""Turn feature maps into one vector an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from cxrfeat.errors import InputError


def average(maps: Sequence[Tensor]) -> Tensor:
    """Average the final map over its area: (B, C, H, W) -> (B, C)."""
    return maps[-1].mean(dim=(2, 3))


def maximum(maps: Sequence[Tensor]) -> Tensor:
    """Take the largest value of the final map: (B, C, H, W) -> (B, C)."""
    return maps[-1].amax(dim=(2, 3))


def average_and_maximum(maps: Sequence[Tensor]) -> Tensor:
    """Join average and maximum: (B, C, H, W) -> (B, 2 C)."""
    return torch.cat([average(maps), maximum(maps)], dim=1)


def every_stage(maps: Sequence[Tensor]) -> Tensor:
    """Join the averages of every stage's last map: (B, C1 + C2 + ...)."""
    return torch.cat([m.mean(dim=(2, 3)) for m in maps], dim=1)


def flatten(maps: Sequence[Tensor]) -> Tensor:
    """Keep every value of the final map: (B, C, H, W) -> (B, C H W), as torch flattens."""
    # contiguous: a channels_last map would flatten in the same order, but as a view it cannot.
    return maps[-1].contiguous().flatten(1)


POOLINGS: dict[str, Callable[[Sequence[Tensor]], Tensor]] = {
    "avg": average,
    "max": maximum,
    "avgmax": average_and_maximum,
    "multi": every_stage,
    "flatten": flatten,
}


def pool(maps: Sequence[Tensor], pooling: str) -> Tensor:
    """Pool the maps of a truncated network in float32.

    Parameters
    ----------
    maps : sequence of Tensor
        (B, C, H, W) each, the final one last; or one (B, C) that the network pooled itself.
    pooling : str
        A key of `POOLINGS`.
    """
    maps = [m.float() for m in maps]
    if maps[-1].ndim == 2:
        return maps[-1]
    return POOLINGS[pooling](maps)


def dimension(shapes: Sequence[tuple[int, ...]], pooling: str) -> int:
    """Return the length of the pooled vector of maps of these (C, H, W) shapes.

    Raises
    ------
    InputError
        If the network classifies from a token, so that there is no map to pool.
    """
    if len(shapes[-1]) == 1:
        if pooling != "avg":
            raise InputError(
                f"pooling '{pooling}' needs a feature map, and this network has none (it "
                "classifies from a token): use --pool avg, which keeps the vector of that token"
            )
        return shapes[-1][0]
    with torch.inference_mode():
        return int(pool([torch.zeros(1, *shape) for shape in shapes], pooling).shape[1])
