"""Winograd's filtering gives what torch's own convolution gives."""

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import fx, nn

from cxrfeat.errors import InputError
from cxrfeat.features.network.architecture import build
from cxrfeat.features.network.truncation import truncate
from cxrfeat.features.runtimes import winograd
from cxrfeat.features.runtimes.checking import Yardstick
from cxrfeat.features.runtimes.kept_conversion import NotRunError
from cxrfeat.features.runtimes.recipe import OPENVINO_WINOGRAD
from cxrfeat.features.runtimes.winograd import (
    POINTS,
    Phases,
    Winograd,
    filtered,
    from_phases,
    matrices,
    to_phases,
)
from tests.features.runtimes.made import opened

NETWORK = "vgg11"
SHAPE = (1, 32, 32, 36)


@pytest.mark.parametrize("outputs", POINTS)
def test_the_matrices_filter_exactly(outputs: int) -> None:
    of_data, of_filters, of_outputs = matrices(outputs)
    random = np.random.default_rng(0)
    values, taps = random.integers(-9, 9, outputs + 2), random.integers(-9, 9, 3)
    ours = of_outputs @ ((of_data @ values) * (of_filters @ taps))
    np.testing.assert_allclose(ours, np.correlate(values, taps), rtol=0, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    phases=st.builds(Phases, st.sampled_from([2, 4]), st.sampled_from([1, 2, 4])),
    images=st.integers(1, 2),
    channels=st.integers(1, 3),
    kernels=st.integers(1, 3),
    rows=st.integers(1, 7),
    columns=st.integers(1, 7),
    bias=st.booleans(),
)
def test_it_convolves_maps_of_any_shape_as_torch_does(
    phases: Phases, images: int, channels: int, kernels: int, rows: int, columns: int, bias: bool
) -> None:
    torch.manual_seed(rows * columns)
    convolution = nn.Conv2d(channels, kernels, 3, padding=1, bias=bias)
    maps = torch.randn(images, channels, rows * phases.down, columns * phases.across)
    cut = to_phases(maps, phases)
    torch.testing.assert_close(from_phases(cut, phases), maps, rtol=0, atol=0)
    with torch.inference_mode():
        ours = from_phases(Winograd(convolution, phases)(cut), phases)
        torch.testing.assert_close(ours, convolution(maps), rtol=1e-4, atol=1e-5)


class Several(nn.Module):
    """Convolutions that may be filtered, such as must stay as they are, and steps between them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.relu = nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(inplace=True)
        self.norm, self.point = nn.BatchNorm2d(64), nn.Conv2d(64, 32, 1)
        self.large, self.few = nn.Conv2d(32, 256, 3, padding=1), nn.Conv2d(256, 4, 3, padding=1)
        self.odd = nn.Conv2d(4, 32, 1, stride=(7, 1))
        self.twice, self.uncut = nn.Conv2d(32, 32, 3, padding=1), nn.Conv2d(32, 32, 3, padding=1)
        self.strided = nn.Conv2d(32, 32, 3, padding=1, stride=2)
        self.grouped = nn.Conv2d(32, 32, 3, padding=1, groups=2)
        self.dilated = nn.Conv2d(32, 32, 3, padding=1, dilation=2)
        self.bare = nn.Conv2d(32, 32, 3)
        self.mirrored = nn.Conv2d(32, 32, 3, padding=1, padding_mode="reflect")

    def forward(self, maps: torch.Tensor) -> tuple[torch.Tensor, ...]:
        others = (self.strided, self.grouped, self.dilated, self.bare, self.mirrored)
        unlike = [other(maps) for other in others]
        unlike.append(maps * maps.mean((2, 3), keepdim=True))
        first = self.relu(self.first(maps))
        maps = self.norm(torch.cat([first, torch.relu(maps + first)], 1))
        maps = self.twice(self.twice(self.point(maps) + 1))
        pooled = nn.functional.max_pool2d(maps, 3, 1, 1) + maps
        few = self.few(self.large(maps))
        return few, self.uncut(self.odd(few)), pooled, maps, *unlike


def test_only_convolutions_that_it_computes_are_replaced_and_the_others_give_the_same() -> None:
    torch.manual_seed(0)
    network = fx.symbolic_trace(Several().eval().requires_grad_(False))
    maps = torch.randn(SHAPE)
    with torch.inference_mode():
        expected = network(maps.clone())
        ours = filtered(network, SHAPE)(maps.clone())
    for one, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    groups = {name: one.products.groups for name, one in network.named_modules()
              if isinstance(one, Winograd)}  # fmt: skip
    assert groups == {"first": 24, "large": 24}


def test_maps_stay_in_phases_from_one_convolution_to_the_next() -> None:
    """Cutting them, and putting them together, costs as much as is gained."""
    moves = {}
    for name in ("resnet50", "vgg11", "densenet121"):
        network = filtered(truncate(build(name), 224).module, (1, 3, 224, 224))
        targets = [node.target for node in network.graph.nodes]
        moves[name] = [targets.count(to_phases), targets.count(from_phases)]
    assert moves == {
        "resnet50": [1 + 2 + 2, 3],  # a stage's first maps, and those of its shortcut; its last
        "vgg11": [4, 4],  # between pooling layers
        "densenet121": [3, 3],
    }


def test_a_network_without_such_a_convolution_is_refused() -> None:
    depthwise = truncate(build("mobilenet_v3_small"), 64).module
    of_odd_sides = truncate(build("squeezenet1_1"), 64).module
    for network in (depthwise, of_odd_sides):
        with pytest.raises(NotRunError, match="no 3 x 3 convolution"):
            filtered(network, (1, 3, 64, 64))


def test_what_is_asked_for_and_cannot_be_had_is_told(cache) -> None:
    with pytest.raises(InputError, match=r"no 3 x 3 convolution .*; use --runtime torch"):
        opened("mobilenet_v3_small", runtime=OPENVINO_WINOGRAD)


def test_it_opens_without_making_the_network_from_its_second_use_on() -> None:
    first = opened(NETWORK, runtime=OPENVINO_WINOGRAD, precision="bf16")
    assert first.runtime == OPENVINO_WINOGRAD
    assert first.environment()["runtime"].endswith("cpu, winograd")
    script = (
        "import sys\n"
        "from cxrfeat.features import WeightsChoice, open_extractor\n"
        f"made = open_extractor({NETWORK!r}, weights=WeightsChoice('random'), image_size=64,\n"
        f"                      device='cpu', runtime={OPENVINO_WINOGRAD!r}, precision='bf16')\n"
        "print(made.runtime, 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (f"{OPENVINO_WINOGRAD} False\n", "")


def test_what_is_wrong_by_less_than_bfloat16_rounds_is_not_used(cache, monkeypatch) -> None:
    right: Callable[[int], tuple[np.ndarray, ...]] = winograd.matrices

    def slightly_wrong(outputs: int) -> tuple[np.ndarray, ...]:
        of_data, of_filters, of_outputs = right(outputs)
        return of_data, 1.0005 * of_filters, of_outputs

    monkeypatch.setattr(winograd, "matrices", slightly_wrong)
    with pytest.raises(InputError, match=r"winograd in fp32 differs from torch .* --runtime torch"):
        opened(NETWORK, runtime=OPENVINO_WINOGRAD, precision="bf16")
    monkeypatch.setattr(Yardstick, "error_of_maps", lambda *_: 0.0)
    assert opened(NETWORK, runtime="openvino", precision="bf16").runtime == "openvino"
