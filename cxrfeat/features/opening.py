"""Open a network with torch: build, load, cut off, and choose what runs it."""

from __future__ import annotations

import gc

import torch

from cxrfeat.features.description import PREPROCESSING_VERSION, Description
from cxrfeat.features.locating import Source
from cxrfeat.features.pooling import dimension
from cxrfeat.features.runtimes import Recipe, Runtime
from cxrfeat.features.runtimes.choosing import choose
from cxrfeat.features.truncate import truncate
from cxrfeat.features.weights import load, require_all, tensors_sha256


def opened(
    backbone: str, source: Source, recipe: Recipe, device: str, runtime: str
) -> tuple[Description, Runtime]:
    """Return what the extractor is, and what runs it.

    Parameters
    ----------
    backbone : str
    source : Source
        Of its weights.
    recipe : Recipe
    device : "cpu", "cuda" or "mps"
    runtime : str
        One of `RUNTIMES`.

    Raises
    ------
    InputError, MissingExtraError, WeightsError
        As `open_extractor` says.
    """
    loaded = load(backbone, source)
    truncated = truncate(loaded.network, recipe.size, stages=recipe.pooling == "multi")
    require_all(loaded, truncated.module)
    # The classifier, half a gigabyte of VGG's, has to go before the runtime takes its memory; what
    # traced the network still refers to it in a circle.
    del loaded
    gc.collect()
    sha256 = tensors_sha256(truncated.module)
    length = dimension(truncated.shapes, recipe.pooling)
    chosen = choose(
        truncated.module,
        recipe,
        backbone=backbone,
        tensors_sha256=sha256,
        device=torch.device(device),
        asked=runtime,
    )
    spec = {
        "backbone": backbone,
        "layer": truncated.layers if len(truncated.layers) > 1 else truncated.layers[0],
        "pooling": recipe.pooling,
        "dimension": length,
        "weights": {"name": source.name, "sha256": sha256},
        "preprocessing": {
            "version": PREPROCESSING_VERSION,
            "channels": "grey, repeated three times",
            "mean": list(recipe.mean),
            "std": list(recipe.std),
        },
        "precision": recipe.precision,
    }
    description = Description(backbone, source.name, recipe.size, length, spec, chosen.notes)
    return description, chosen.runtime
