"""The families of networks beside torchvision's and the packaged ones: one entry each."""

from __future__ import annotations

from cxrfeat.features.network import own, timm_networks, xrv
from cxrfeat.features.network.family import Family

FAMILIES: dict[str, Family] = {
    "xrv": xrv.FAMILY,
    "timm": timm_networks.FAMILY,
    "own": own.FAMILY,
}
"""By the prefix of their names, as in ``xrv:densenet121``."""


def family_of(backbone: str) -> tuple[Family, str] | None:
    """Return the family of a backbone and its name there; None for torchvision's and packaged."""
    prefix, colon, name = backbone.partition(":")
    return (FAMILIES[prefix], name) if colon and prefix in FAMILIES else None


def has_random_weights(backbone: str) -> bool:
    """Tell whether a backbone can be had with random weights, as a control."""
    family = family_of(backbone)
    return family is None or family[0].random(family[1])


def names_of(prefix: str) -> list[str]:
    """Return the full names of one family's networks.

    Raises
    ------
    MissingExtraError
        Its package is not installed.
    """
    return [f"{prefix}:{name}" for name in FAMILIES[prefix].names()]
