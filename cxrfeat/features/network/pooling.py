"""Turn feature maps into one vector an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrfeat.errors import InputError

# A map here is an array of numpy or a tensor of torch, on whatever device it lies: both have
# these methods, and what is left after pooling is small.


def average(maps: Sequence[Any]) -> list[Any]:
    """Average the final map over its area: (B, C, H, W) -> (B, C)."""
    return [_over_area(maps[-1]).mean(axis=2)]


def maximum(maps: Sequence[Any]) -> list[Any]:
    """Take the largest value of the final map: (B, C, H, W) -> (B, C)."""
    area = _over_area(maps[-1])
    return [area.max(axis=2) if isinstance(area, np.ndarray) else area.amax(dim=2)]


def average_and_maximum(maps: Sequence[Any]) -> list[Any]:
    """Join average and maximum: (B, C, H, W) -> (B, 2 C)."""
    return [*average(maps), *maximum(maps)]


def every_stage(maps: Sequence[Any]) -> list[Any]:
    """Join the averages of every stage's last map: (B, C1 + C2 + ...)."""
    return [_over_area(one).mean(axis=2) for one in maps]


def flatten(maps: Sequence[Any]) -> list[Any]:
    """Keep every value of the final map: (B, C, H, W) -> (B, C H W), as torch flattens."""
    return [maps[-1].reshape(len(maps[-1]), -1)]


def token(maps: Sequence[Any]) -> list[Any]:
    """Keep the vector of the class token: (B, C)."""
    return [maps[0]]


def patches(maps: Sequence[Any]) -> list[Any]:
    """Average the tokens of all patches, laid out as a map: (B, C, H, W) -> (B, C)."""
    return average(maps)


def token_and_patches(maps: Sequence[Any]) -> list[Any]:
    """Join the class token and the average of the patches: (B, 2 C)."""
    return [*token(maps), *patches(maps)]


def _over_area(one: Any) -> Any:
    return one.reshape(*one.shape[:2], -1)


POOLINGS: dict[str, Callable[[Sequence[Any]], list[Any]]] = {
    "avg": average,
    "max": maximum,
    "avgmax": average_and_maximum,
    "multi": every_stage,
    "flatten": flatten,
    "token": token,
    "patches": patches,
    "tokenpatches": token_and_patches,
}

TOKEN_POOLINGS = ("token", "patches", "tokenpatches")
"""Poolings of networks that have a class token and tokens of patches."""

AVERAGED = ("avg", "multi", "patches")
"""Poolings that average maps, so that what is linear in the embedding is a sum over the maps."""


def pool(maps: Sequence[Any], pooling: str) -> npt.NDArray[np.float32]:
    """Pool the maps of a truncated network, where they lie.

    Parameters
    ----------
    maps : sequence of ndarray or Tensor, float32
        (B, C, H, W) each, the final one last; or one (B, C) that the network pooled itself.
    pooling : str
        A key of `POOLINGS`.

    Returns
    -------
    ndarray of float32, shape (B, D)
    """
    return np.concatenate(
        [
            part if isinstance(part, np.ndarray) else part.cpu().numpy()
            for part in pooled(maps, pooling)
        ],
        axis=1,
    )


def pooled(maps: Sequence[Any], pooling: str) -> list[Any]:
    """Pool maps as `pool` does; the parts of the vector, each (B, D'), still where the maps lie."""
    return [maps[-1]] if maps[-1].ndim == 2 else POOLINGS[pooling](maps)


def dimension(shapes: Sequence[tuple[int, ...]], pooling: str) -> int:
    """Return the length of the pooled vector of maps of these (C, H, W) shapes.

    Raises
    ------
    InputError
        If the network classifies from a token, so that there is no map to pool.
    """
    if len(shapes[-1]) == 1 and pooling not in ("avg", "token"):
        raise InputError(
            f"pooling '{pooling}' needs a feature map, and this network has none (it "
            "classifies from a token): use --pool avg, which keeps the vector of that token"
        )
    blank = [np.zeros((1, *shape), np.float32) for shape in shapes]
    return int(pool(blank, pooling).shape[1])
