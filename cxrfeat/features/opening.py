"""Open a network with torch: build, load, cut off, and choose what runs it."""

from __future__ import annotations

import gc
from dataclasses import dataclass, replace

import torch
from torch import fx

from cxrfeat.features.description import PREPROCESSING_VERSION, Description
from cxrfeat.features.network.cutting import cut_off
from cxrfeat.features.network.families import family_of
from cxrfeat.features.network.pooling import dimension
from cxrfeat.features.runtimes import Recipe, Runtime
from cxrfeat.features.runtimes.select import choose
from cxrfeat.features.weights.find import Source
from cxrfeat.features.weights.load import load, require_all, tensors_sha256


@dataclass(frozen=True)
class Cut:
    """A network with its weights, cut off before its classifier, and what it is."""

    description: Description
    module: fx.GraphModule


def cut(backbone: str, source: Source, recipe: Recipe) -> Cut:
    """Load a network up to the layer that is pooled.

    Parameters
    ----------
    backbone : str
    source : Source
        Of its weights.
    recipe : Recipe

    Raises
    ------
    InputError, WeightsError
        As `open_extractor` says.
    """
    loaded = load(backbone, source)
    truncated = cut_off(backbone, loaded.network, recipe.size, recipe.pooling, recipe.channels)
    require_all(loaded, truncated.module)
    # The classifier, half a gigabyte of VGG's, has to go before the runtime takes its memory; what
    # traced the network still refers to it in a circle.
    del loaded
    gc.collect()
    length = dimension(truncated.shapes, recipe.pooling)
    spec = {
        "backbone": backbone,
        "layer": truncated.layers if len(truncated.layers) > 1 else truncated.layers[0],
        "pooling": recipe.pooling,
        "dimension": length,
        "weights": {"name": source.name, "sha256": tensors_sha256(truncated.module)},
        "preprocessing": {
            "version": PREPROCESSING_VERSION,
            "channels": "grey" if recipe.channels == 1 else "grey, repeated three times",
            "mean": list(recipe.mean),
            "std": list(recipe.std),
        },
        "precision": recipe.precision,
    }
    if not _is_convertible(backbone):  # another version of a user's code may compute other numbers
        family = family_of(backbone)
        assert family is not None
        spec["package"] = " ".join(family[0].versions(family[1]))
    described = Description(
        *(backbone, source.name, recipe.size, length, spec),
        crop=source.input.crop,
        resize=source.input.resize,
    )
    return Cut(described, truncated.module)


def opened(
    backbone: str,
    source: Source,
    recipe: Recipe,
    device: str,
    runtime: str,
    made: Cut | None = None,
) -> tuple[Description, Runtime]:
    """Return what the extractor is, and what runs it.

    Parameters
    ----------
    backbone, source, recipe
        As `cut` takes them.
    device : "cpu", "cuda" or "mps"
    runtime : str
        One of `RUNTIMES`.
    made : Cut, optional
        What `cut` made of them already.

    Raises
    ------
    InputError, MissingExtraError, WeightsError
        As `open_extractor` says.
    """
    made = made or cut(backbone, source, recipe)
    chosen = choose(
        made.module,
        recipe,
        backbone=backbone,
        tensors_sha256=made.description.spec["weights"]["sha256"],
        device=torch.device(device),
        asked=runtime,
        refusal="" if _is_convertible(backbone) else "what it computes is known to its code alone",
    )
    return replace(made.description, notes=chosen.notes), chosen.runtime


def _is_convertible(backbone: str) -> bool:
    family = family_of(backbone)
    return family is None or family[0].convertible
