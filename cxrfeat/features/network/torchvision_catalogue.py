"""torchvision's own registry of classification networks, as plain data.

It is torchvision's, not a second one: it is read from there once for each version and kept, because
importing torchvision takes seconds, and naming a network should not.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from cxrfeat.features.network import disk_cache

PINNED = "IMAGENET1K_V1"
"""The default weights of every network that has them."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Input:
    """What a network expects: pixels scaled to 0..1, minus `mean`, over `std`, per channel.

    `mean` and `std` are in the network's own channel order, one number for each channel that it
    takes. A radiograph is grey, and the same picture goes into every channel, so nothing else about
    the order matters. `crop` and `resize` are those of `cxrfeat.framing.Framing`.
    """

    size: int
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    crop: str = "none"
    resize: str = "bilinear"


@dataclass(frozen=True)
class Pretrained:
    """One set of weights of a network.

    Attributes
    ----------
    url : str
        Where torchvision has the file; "" for weights from elsewhere.
    input : Input
        The preprocessing that belongs to them.
    file : str
        What the file is called where it is looked for, or its path; "" where torchvision says so.
    hub, hub_file : str
        The repository of the Hugging Face hub that has it, and what it is called there; or "".
    pretraining : tuple of str or None
        The collections that they were trained on; None where nothing states it.
    licence, citation : str
        As far as something states them.
    """

    url: str
    input: Input
    file: str = ""
    hub: str = ""
    hub_file: str = ""
    pretraining: tuple[str, ...] | None = None
    licence: str = ""
    citation: str = ""


@dataclass(frozen=True)
class Listed:
    """A network of torchvision's registry.

    Attributes
    ----------
    weights : dict of str to Pretrained
        By torchvision's names, the pinned default first.
    gflops : float
        Multiply-adds of one image, in 1e9.
    parameters : int
        Of the whole network.
    """

    weights: dict[str, Pretrained]
    gflops: float
    parameters: int


@cache
def networks() -> dict[str, Listed]:
    """Return torchvision's classification networks by name."""
    path = disk_cache.cache_folder() / "torchvision" / f"{disk_cache.makers()}.json"
    try:
        return {name: _listed(content) for name, content in disk_cache.read(path).items()}
    except (AttributeError, LookupError, TypeError):
        found = _from_torchvision()
        disk_cache.write(path, {name: asdict(listed) for name, listed in found.items()})
        return found


def _listed(content: Any) -> Listed:
    weights = {name: pretrained_of(one) for name, one in content["weights"].items()}
    return Listed(weights, content["gflops"], content["parameters"])


def pretrained_of(content: Any) -> Pretrained:
    """Read weights back as they were kept."""
    given, stated = content["input"], content["pretraining"]
    expected = Input(**{**given, "mean": tuple(given["mean"]), "std": tuple(given["std"])})
    trained_on = None if stated is None else tuple(stated)
    return Pretrained(**{**content, "input": expected, "pretraining": trained_on})


def _from_torchvision() -> dict[str, Listed]:
    from torchvision import models

    found = {}
    for name in models.list_models(module=models):
        # V2 was trained for accuracy with label smoothing and mixing, which costs transfer.
        entries = sorted(models.get_model_weights(name), key=lambda e: e.name != PINNED)
        weights = {}
        for entry in entries:
            preset = entry.transforms()
            expected = Input(int(preset.crop_size[0]), tuple(preset.mean), tuple(preset.std))
            weights[entry.name] = Pretrained(str(entry.url), expected)
        meta = entries[0].meta
        found[name] = Listed(weights, meta["_ops"], meta["num_params"])
    return found
