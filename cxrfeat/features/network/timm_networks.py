"""timm's networks (extra ``timm``): its own registry, and its vision transformers' tokens.

As torchvision's list, timm's is read once for each version and kept, because importing timm takes
seconds.
"""

from __future__ import annotations

import re
from dataclasses import asdict
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from cxrfeat.errors import MissingExtraError
from cxrfeat.features.network import disk_cache
from cxrfeat.features.network.dinov2 import from_transformers, in_transformers_layout
from cxrfeat.features.network.family import Family
from cxrfeat.features.network.torchvision_catalogue import Input, Pretrained, pretrained_of

if TYPE_CHECKING:
    from torch import Tensor, nn

_TRAINED_ON = {
    r"in1k": ("ImageNet",),
    r"in(21|22|12)k": ("ImageNet-21k",),
    r"lvd142m": ("LVD-142M",),
    r"lvd1689m": ("LVD-1689M",),
    r"laion2b": ("LAION-2B",),
    r"laion400m": ("LAION-400M",),
    r"openai": ("WIT-400M",),
    r"webli": ("WebLI",),
    r"datacompxl": ("DataComp-1B",),
    r"yfcc100m": ("YFCC100M",),
    r"cc12m": ("CC12M",),
    r"ig1b|swag": ("Instagram",),
}
"""What the parts of timm's tags say that weights were trained on."""


def stated_in(tag: str) -> tuple[str, ...] | None:
    """Name what a tag of timm says of pretraining; None where it says nothing that is known.

    >>> stated_in("augreg_in21k_ft_in1k")
    ('ImageNet-21k', 'ImageNet')
    """
    found: list[str] = []
    for part in re.split(r"[_.]", tag):
        for pattern, names in _TRAINED_ON.items():
            if re.fullmatch(pattern, part):
                found += names
    return tuple(dict.fromkeys(found)) or None


@cache
def networks() -> dict[str, dict[str, Pretrained]]:
    """Return timm's networks by name, each with its weights by tag, the default first.

    Raises
    ------
    MissingExtraError
    """
    try:
        installed = version("timm")
    except PackageNotFoundError:
        raise MissingExtraError("a backbone of timm", "timm") from None
    path = disk_cache.cache_folder() / "timm" / f"{installed}-{disk_cache.makers()}.json"
    try:
        return {
            name: {tag: pretrained_of(content) for tag, content in weights.items()}
            for name, weights in disk_cache.read(path).items()
        }
    except (AttributeError, LookupError, TypeError):
        found = _from_timm()
        disk_cache.write(
            path,
            {name: {tag: asdict(one) for tag, one in tags.items()} for name, tags in found.items()},
        )
        return found


def _from_timm() -> dict[str, dict[str, Pretrained]]:
    import timm

    found: dict[str, dict[str, Pretrained]] = {}
    for name in timm.list_models():
        default = timm.get_pretrained_cfg(name)
        found[name] = {} if default is None else {default.tag or "": _pretrained(name, default)}
    for full in timm.list_pretrained():
        name, _, tag = full.partition(".")
        if name in found:
            found[name].setdefault(tag, _pretrained(name, timm.get_pretrained_cfg(full)))
    return found


def _pretrained(name: str, given: Any) -> Pretrained:
    channels, size, _ = given.input_size
    return Pretrained(
        "",
        Input(size, tuple(given.mean[:channels]), tuple(given.std[:channels])),
        file=f"{name}.{given.tag}.safetensors" if given.tag else f"{name}.safetensors",
        hub=given.hf_hub_id or "",
        hub_file=given.hf_hub_filename or "model.safetensors",
        pretraining=stated_in(given.tag or ""),
        licence=given.license or "",
        citation=" ".join(filter(None, [given.paper_name, given.origin_url])),
    )


def build(name: str, size: int) -> nn.Module:
    """Make a network of timm without its classifier, for pictures of one size where that counts."""
    import timm

    expected = next(iter(networks()[name].values()), None)
    others: dict[str, Any] = {}
    if expected is not None and size != expected.input.size:
        others["img_size"] = size
    try:
        made: nn.Module = timm.create_model(name, pretrained=False, num_classes=0, **others)
    except TypeError:  # it takes pictures of any size
        made = timm.create_model(name, pretrained=False, num_classes=0)
    return made


def translate(network: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Name tensors as timm does, and leave out the classifier."""
    if in_transformers_layout(tensors):
        return from_transformers(tensors)
    given: Any = network
    named = given.pretrained_cfg.get("classifier") or ()
    heads = tuple(f"{head}." for head in ([named] if isinstance(named, str) else named))
    known = network.state_dict().keys()
    return {
        name: tensor
        for name, tensor in tensors.items()
        if name in known or not name.startswith(heads)
    }


def outputs(network: nn.Module, pooling: str) -> nn.Module:
    """Return a module that gives what `pooling` takes of a network of timm."""
    from cxrfeat.features.network.enclosing import Timm  # imports torch

    return Timm(network, pooling)


FAMILY = Family(
    title="timm",
    names=lambda: list(networks()),
    weights=lambda name: networks()[name],
    build=build,
    translate=translate,
    outputs=outputs,
    versions=lambda name: (f"timm {version('timm')}",),
    extra="timm",
)
