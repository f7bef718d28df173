"""A network takes grey pictures instead of normalised channels, and gives the same."""

import numpy as np
import pytest
import torch
from torch import fx, nn

from cxrfeat.features.runtimes.grey_input import taking_grey
from cxrfeat.features.runtimes.recipe import Recipe
from tests.features.runtimes.made import pictures

RECIPE = Recipe(32, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "avg", "fp32")
GREY = Recipe(32, (0.5,), (0.25,), "avg", "fp32")


class Between(nn.Module):
    """A step before the first convolution, and the picture once more behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)

    def forward(self, channels: torch.Tensor) -> torch.Tensor:
        return self.first(torch.relu(channels)) * channels.mean()


class Again(nn.Module):
    """Two convolutions of the picture, of which one comes twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.again = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, channels: torch.Tensor) -> torch.Tensor:
        return self.first(channels) + self.again(self.again(channels))


@pytest.mark.parametrize(
    ("network", "recipe", "planes"),
    [
        (nn.Sequential(nn.Conv2d(3, 8, 7, stride=2, padding=3)), RECIPE, 2),
        (nn.Sequential(nn.Conv2d(3, 8, 4, stride=4, bias=False)), RECIPE, 2),
        (nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, padding_mode="reflect")), RECIPE, 3),
        (nn.Sequential(nn.Conv2d(3, 6, 3, padding=1, groups=3)), RECIPE, 3),
        (nn.Sequential(nn.ReLU(), nn.Conv2d(3, 8, 3)), RECIPE, 3),
        (nn.Sequential(nn.Conv2d(1, 8, 3, padding=1)), GREY, 1),
        (Between(), RECIPE, 3),
        (Again(), RECIPE, 3),
    ],
)
def test_it_gives_what_the_network_gives(network: nn.Module, recipe: Recipe, planes: int) -> None:
    torch.manual_seed(0)
    module = fx.symbolic_trace(network.eval().requires_grad_(False))
    images = pictures(2, 32)
    with torch.inference_mode():
        expected = module(torch.from_numpy(recipe.normalise(images)))
        ours = taking_grey(module, recipe)(torch.from_numpy(recipe.centre(images)))
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)
    assert next(m for m in module.modules() if isinstance(m, nn.Conv2d)).in_channels in (planes, 3)
    taken = [m.in_channels for m in module.modules() if isinstance(m, nn.Conv2d)]
    assert (2 in taken) == (planes == 2)
