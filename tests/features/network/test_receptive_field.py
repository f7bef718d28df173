"""The maps before pooling are those that are pooled, and their cells lie where they look."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from cxrfeat.features import Extractor, WeightsChoice, open_extractor
from cxrfeat.features.network.architecture import build
from cxrfeat.features.network.receptive_field import _Tracked, grids, structure
from cxrfeat.features.network.truncation import truncate


def random_extractor(
    name: str, pooling: str = "avg", size: int | None = None, runtime: str = "torch"
) -> Extractor:
    return open_extractor(
        *(name,), weights=WeightsChoice("random"), pooling=pooling, image_size=size, device="cpu",
        runtime=runtime,
    )  # fmt: skip


@pytest.mark.parametrize("runtime", ["torch", "ncnn"])
@pytest.mark.parametrize("pooling", ["avg", "multi", "max", "flatten"])
@pytest.mark.parametrize("images", [1, 3])
def test_maps_come_with_the_very_embeddings_of_the_extractor(
    pooling: str, images: int, runtime: str
) -> None:
    extractor = random_extractor("resnet18", pooling, 96, runtime)
    batch = np.random.default_rng(0).random((images, 96, 96), dtype=np.float32)
    embeddings, maps = extractor.with_maps(batch)
    assert len(maps) == (5 if pooling == "multi" else 1)
    assert maps[-1].shape == (images, 512, 3, 3)
    np.testing.assert_array_equal(embeddings, extractor(batch))
    if pooling in ("avg", "multi"):
        averages = np.concatenate([one.mean(axis=(2, 3)) for one in maps], axis=1)
        np.testing.assert_allclose(averages, embeddings, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "start", "step", "cells"),
    [("vgg16", 15.5, 32, 7), ("resnet50", 0, 32, 7), ("densenet121", 14, 32, 7)],
)
def test_centres_of_known_networks(name: str, start: float, step: float, cells: int) -> None:
    (grid,) = grids(structure(name, 224, "avg"), 224) or []
    assert (grid.start, grid.step, grid.cells, grid.side) == (start, step, cells, 224)


@pytest.mark.parametrize(
    ("name", "side"), [("resnet18", 512), ("vgg11", 512), ("efficientnet_lite0", 1024)]
)
def test_a_cell_looks_around_its_centre(name: str, side: int) -> None:
    """With even weights and no nonlinearity the gradient is symmetrical around the centre.

    The picture is so large that the middle cell sees no border.
    """
    network = build(name)
    for module in list(network.modules()):
        for key, child in module.named_children():
            if isinstance(child, nn.ReLU | nn.ReLU6 | nn.BatchNorm2d):
                setattr(module, key, nn.Identity())
            elif isinstance(child, nn.MaxPool2d):
                mean = nn.AvgPool2d(child.kernel_size, child.stride, child.padding)
                setattr(module, key, mean)
    for parameter in network.parameters():
        parameter.data.fill_(0.0 if parameter.ndim == 1 else 1.0 / parameter[0].numel())
    cut = truncate(network, side).module
    tracked = _Tracked(cut, side)
    image = torch.zeros(1, 3, side, side, requires_grad=True)
    (final,) = cut(image)
    tracked.run(torch.zeros(1, 3, side, side))
    (grid,) = tracked.at_output
    middle = grid.cells // 2
    final[0, :, middle, middle].sum().backward()
    assert image.grad is not None
    seen = image.grad[0].abs().sum(dim=0)
    seen = seen / seen.sum()
    pixels = torch.arange(side, dtype=torch.float32)
    expected = grid.start + middle * grid.step
    assert float((seen.sum(dim=0) * pixels).sum()) == pytest.approx(expected, abs=0.1)
    assert float((seen.sum(dim=1) * pixels).sum()) == pytest.approx(expected, abs=0.1)


def test_poolings_and_networks_without_places_have_no_grid() -> None:
    assert random_extractor("resnet18", "max", 64).grids() is None
    assert random_extractor("resnet18", "flatten", 64).grids() is None
    assert grids(structure("vit_b_32", 224, "avg"), 224) is None
