"""Drawn pictures, a network opened in any way, and what torchvision makes of them."""

import numpy as np
import torch

from cxrfeat.features import Extractor, WeightsChoice, open_extractor
from cxrfeat.features.network.architecture import build
from cxrfeat.features.network.backbones import expected_input
from cxrfeat.features.network.pooling import pool
from cxrfeat.features.network.truncation import truncate
from cxrfeat.features.runtimes.recipe import RUNTIMES, Recipe
from cxrfeat.features.runtimes.runners import RUNNERS

NAME = "squeezenet1_1"
RANDOM = WeightsChoice("random")
CPU = torch.device("cpu")
CONVERTED = [name for name in RUNNERS if name in RUNTIMES]
EVERY = ["torch", *CONVERTED]
"""What ``--runtime`` can mean."""


def pictures(count: int, size: int = 64) -> np.ndarray:
    return np.random.default_rng(0).random((count, size, size), np.float32)


def opened(name: str = NAME, size: int = 64, **options) -> Extractor:
    return open_extractor(name, weights=RANDOM, image_size=size, device="cpu", **options)


def plain_torch(name: str, images: np.ndarray, pooling: str = "avg") -> np.ndarray:
    """The network as torchvision has it: nothing folded, default layout."""
    size, expected = images.shape[1], expected_input(name)
    cut = truncate(build(name), size, stages=pooling == "multi")
    recipe = Recipe(size, expected.mean, expected.std, pooling, "fp32")
    with torch.inference_mode():
        return pool(cut.module(torch.from_numpy(recipe.normalise(images))), pooling)


def relative_error(ours: np.ndarray, reference: np.ndarray) -> float:
    return float(
        (np.linalg.norm(ours - reference, axis=1) / np.linalg.norm(reference, axis=1)).max()
    )
