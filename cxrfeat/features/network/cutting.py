"""Take of any network what a pooling needs: traced and cut off, or enclosed as it is."""

from __future__ import annotations

from torch import nn

from cxrfeat.features.network.enclosing import enclose
from cxrfeat.features.network.families import family_of
from cxrfeat.features.network.pooling import TOKEN_POOLINGS
from cxrfeat.features.network.truncation import Truncated, truncate


def cut_off(
    backbone: str, network: nn.Module, size: int, pooling: str = "avg", channels: int = 3
) -> Truncated:
    """Cut a network off before its classifier, with the maps that `pooling` takes.

    Parameters
    ----------
    backbone : str
        Its name.
    network : Module
        In evaluation mode; it is not changed.
    size, channels : int
        Of the images.
    pooling : str
        A key of `POOLINGS`.

    Raises
    ------
    InputError
        If the network does not take such images, or has not what the pooling takes.
    """
    family = family_of(backbone)
    if family is None or family[0].outputs is None:
        return truncate(
            network,
            size,
            stages=pooling == "multi",
            tokens=pooling if pooling in TOKEN_POOLINGS else "",
            channels=channels,
        )
    of, name = family
    made = family[0].outputs(network, pooling).eval()
    identity = " ".join(map(str, (*of.versions(name), name, pooling)))
    return enclose(made, (1, channels, size, size), pooling, identity)
