"""Networks of a user's own: entry points of the group ``cxrfeat.encoders``."""

from __future__ import annotations

import os
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from cxrfeat.errors import InputError
from cxrfeat.features.network.family import Encoder, Family
from cxrfeat.features.network.torchvision_catalogue import Input, Pretrained
from cxrfeat.framing import CROPS, RESIZES

if TYPE_CHECKING:
    from torch import Tensor, nn

GROUP = "cxrfeat.encoders"
BUILT_IN = "built-in"
"""The weights of an encoder whose `build` makes them itself."""


@cache
def _installed() -> dict[str, EntryPoint]:
    found: dict[str, EntryPoint] = {}
    for one in entry_points(group=GROUP):
        if one.name in found and one.value != found[one.name].value:
            raise InputError(
                f"two packages have an encoder '{one.name}': {_package(found[one.name])} and"
                f" {_package(one)}; remove one of them"
            )
        found[one.name] = one
    return found


def _package(one: EntryPoint) -> str:
    return "a package without a name" if one.dist is None else f"{one.dist.name} {one.dist.version}"


@cache
def encoder(name: str) -> Encoder:
    """Import an encoder by its name.

    Raises
    ------
    InputError
        It cannot be imported, or is no `Encoder` that can be used.
    """
    point = _installed()[name]
    where = f"encoder '{name}' of {_package(point)}"
    try:
        found = point.load()
    except Exception as error:  # whatever the user's own code makes of it
        raise InputError(f"{where} cannot be imported ({error}): mend {point.value}") from error
    if not isinstance(found, Encoder):
        raise InputError(
            f"{where} is a {type(found).__name__}: {point.value} must be a cxrfeat.Encoder"
        )
    if (
        found.crop not in CROPS
        or found.resize not in RESIZES
        or len(found.mean) not in (1, 3)
        or len(found.std) != len(found.mean)
        or min(found.std) <= 0
    ):
        raise InputError(
            f"{where} needs mean and std of 1 or 3 channels, std above 0, a crop of"
            f" {', '.join(CROPS)} and a resize of {', '.join(RESIZES)}"
        )
    return found


def weights(name: str) -> dict[str, Pretrained]:
    """Return the one set of weights of an encoder."""
    given = encoder(name)
    file = "" if given.weights is None else os.fspath(given.weights)
    return {
        Path(file).stem if file else BUILT_IN: Pretrained(
            "",
            Input(
                given.size,
                tuple(float(value) for value in given.mean),
                tuple(float(value) for value in given.std),
                given.crop,
                given.resize,
            ),
            file=file,
            pretraining=None if given.pretraining is None else tuple(given.pretraining),
            licence=given.licence,
            citation=given.citation,
        )
    }


def build(name: str, size: int) -> nn.Module:
    """Make the network, as its package does."""
    return encoder(name).build()


def translate(network: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Take a user's tensors as they are."""
    return tensors


def outputs(network: nn.Module, pooling: str) -> nn.Module:
    """Return a module that gives what `pooling` takes of a user's network."""
    from cxrfeat.features.network.enclosing import Own  # imports torch

    return Own(network, pooling)


def package_of(name: str) -> str:
    """Name the package that an encoder comes from, with its version."""
    return _package(_installed()[name])


FAMILY = Family(
    title="of installed packages (entry points)",
    names=lambda: sorted(_installed()),
    weights=weights,
    build=build,
    translate=translate,
    outputs=outputs,
    versions=lambda name: (package_of(name),),
    convertible=False,
    random=lambda name: encoder(name).weights is not None,
)
