"""Winograd's filtering gives what torch's own convolution gives, in float32 and in bfloat16."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import fx, nn

from cxrfeat.errors import InputError
from cxrfeat.features.runtimes import winograd
from cxrfeat.features.runtimes.checking import Yardstick
from cxrfeat.features.runtimes.kept_conversion import NotRunError
from cxrfeat.features.runtimes.recipe import TORCH_WINOGRAD
from cxrfeat.features.runtimes.winograd import POINTS, Winograd, filtered, matrices
from tests.features.runtimes.made import opened, pictures, relative_error

NETWORK = "vgg11"
SHAPE = (1, 32, 60, 60)


@pytest.mark.parametrize("outputs", POINTS)
def test_the_matrices_filter_exactly_and_are_exact_in_bfloat16(outputs: int) -> None:
    of_data, of_filters, of_outputs = matrices(outputs)
    random = np.random.default_rng(0)
    values, taps = random.integers(-9, 9, outputs + 2), random.integers(-9, 9, 3)
    ours = of_outputs @ ((of_data @ values) * (of_filters @ taps))
    np.testing.assert_allclose(ours, np.correlate(values, taps), rtol=0, atol=1e-12)
    for exact in (np.kron(of_data, of_data), np.kron(of_outputs, of_outputs)):
        rounded = torch.from_numpy(exact).bfloat16().double().numpy()
        np.testing.assert_array_equal(rounded, exact)


@settings(max_examples=40, deadline=None)
@given(
    outputs=st.sampled_from(sorted(POINTS)),
    images=st.integers(1, 2),
    channels=st.integers(1, 3),
    kernels=st.integers(1, 3),
    height=st.integers(1, 40),
    width=st.one_of(st.integers(1, 40), st.just(4 * winograd.TILES + 1)),
    bias=st.booleans(),
    rectified=st.booleans(),
)
def test_it_convolves_maps_of_any_shape_as_torch_does(
    outputs: int, images: int, channels: int, kernels: int, height: int, width: int,
    bias: bool, rectified: bool,
) -> None:  # fmt: skip
    torch.manual_seed(height * width)
    convolution = nn.Conv2d(channels, kernels, 3, padding=1, bias=bias)
    maps = torch.randn(images, channels, height, width)
    with torch.inference_mode():
        ours = Winograd(convolution, outputs, rectified=rectified, dtype=torch.float32)(maps)
        expected = convolution(maps)
    torch.testing.assert_close(ours, expected.relu() if rectified else expected,
                               rtol=1e-4, atol=2e-5)  # fmt: skip


class Several(nn.Module):
    """Convolutions that may be filtered, and such as must stay as they are."""

    def __init__(self) -> None:
        super().__init__()
        self.followed, self.relu = nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(inplace=True)
        self.shared, self.twice = nn.Conv2d(32, 32, 3, padding=1), nn.Conv2d(32, 32, 3, padding=1)
        self.strided = nn.Conv2d(32, 32, 3, padding=1, stride=2)
        self.grouped = nn.Conv2d(32, 32, 3, padding=1, groups=2)
        self.dilated = nn.Conv2d(32, 32, 3, padding=1, dilation=2)
        self.bare = nn.Conv2d(32, 32, 3)
        self.mirrored = nn.Conv2d(32, 32, 3, padding=1, padding_mode="reflect")
        self.few = nn.Conv2d(32, 4, 3, padding=1)
        self.small = nn.Conv2d(32, 64, 3, padding=1)

    def forward(self, maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        maps = self.relu(self.followed(maps))
        before = self.shared(maps)
        maps = before + torch.relu(before)
        maps = self.twice(self.twice(maps))
        maps = self.mirrored(self.bare(self.dilated(self.grouped(self.strided(maps)))))
        return self.small(maps), self.few(maps)


def test_only_convolutions_that_it_computes_are_replaced_and_what_follows_stays() -> None:
    torch.manual_seed(0)
    network = fx.symbolic_trace(Several().eval().requires_grad_(False))
    maps = torch.randn(SHAPE)
    with torch.inference_mode():
        expected = network(maps)
        ours = filtered(network, SHAPE, torch.float32)(maps)
    for one, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    tiles = {name: tuple(one.filters.shape) for name, one in network.named_modules()
             if isinstance(one, Winograd)}  # fmt: skip
    assert tiles == {"followed": (36, 32, 32), "shared": (36, 32, 32), "small": (16, 32, 64)}
    called = [str(node.target) for node in network.graph.nodes if node.op == "call_module"]
    assert "relu" not in called


def test_a_network_without_such_a_convolution_is_refused(cache) -> None:
    with pytest.raises(NotRunError, match="no 3 x 3 convolution"):
        filtered(fx.symbolic_trace(nn.Sequential(nn.Conv2d(3, 64, 3))), (1, 3, 64, 64), torch.float)
    with pytest.raises(InputError, match=r"no 3 x 3 convolution .*; use --runtime torch"):
        opened("mobilenet_v3_small", runtime=TORCH_WINOGRAD, precision="bf16")


def test_rows_are_those_of_torch_and_the_same_bits_in_any_batch_and_thread() -> None:
    images = pictures(5)
    extractor = opened(NETWORK, runtime=TORCH_WINOGRAD, precision="bf16")
    assert extractor.runtime == TORCH_WINOGRAD
    assert extractor.environment()["runtime"].endswith("cpu, winograd")
    together = extractor(images)
    assert relative_error(together, opened(NETWORK, runtime="torch")(images)) < 1e-2
    np.testing.assert_array_equal(extractor(images[::-1]), together[::-1])
    with ThreadPoolExecutor(4) as threads:
        rows = list(threads.map(lambda number: extractor(images[number % 5][None])[0], range(20)))
    np.testing.assert_array_equal(np.stack(rows), np.tile(together, (4, 1)))
    with_maps, (maps,) = extractor.with_maps(images)
    np.testing.assert_array_equal(with_maps, together)
    assert maps.shape[:2] == (5, extractor.dimension)
    again = opened(NETWORK, runtime=TORCH_WINOGRAD, precision="bf16")
    np.testing.assert_array_equal(again(images), together)


def test_it_opens_without_making_the_network_from_its_second_use_on() -> None:
    opened(NETWORK, runtime=TORCH_WINOGRAD, precision="bf16")
    script = (
        "import sys\n"
        "from cxrfeat.features import WeightsChoice, open_extractor\n"
        f"made = open_extractor({NETWORK!r}, weights=WeightsChoice('random'), image_size=64,\n"
        f"                      device='cpu', runtime={TORCH_WINOGRAD!r}, precision='bf16')\n"
        "print(made.runtime, 'cxrfeat.features.opening' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (f"{TORCH_WINOGRAD} False\n", "")


def test_float32_is_left_to_others(cache) -> None:
    with pytest.raises(InputError, match="computes in bf16 alone; use --runtime torch"):
        opened(NETWORK, runtime=TORCH_WINOGRAD)


def test_a_thread_that_runs_it_has_as_many_threads_afterwards() -> None:
    extractor = opened(NETWORK, runtime=TORCH_WINOGRAD, precision="bf16")
    before = torch.get_num_threads()
    extractor(pictures(1))
    assert torch.get_num_threads() == before
    with ThreadPoolExecutor(1) as threads:
        threads.submit(extractor, pictures(1)).result()
        assert threads.submit(torch.get_num_threads).result() == before


def test_what_it_gives_is_checked_once(cache, monkeypatch) -> None:
    checks = []
    original = Yardstick.error_of_maps

    def counted(yardstick: Yardstick, maps: list) -> float:
        checks.append(len(maps))
        return original(yardstick, maps)

    monkeypatch.setattr(Yardstick, "error_of_maps", counted)
    for _ in range(2):
        opened(NETWORK, runtime=TORCH_WINOGRAD, precision="bf16")
    assert checks == [3, 3]  # in float32 and in bfloat16, once
    kept = sorted(path.name for path in (cache / "winograd").rglob("*.*"))
    assert kept == ["about.json", "bf16.pt"]  # what float32 was checked with is gone


def test_what_is_wrong_by_less_than_bfloat16_rounds_is_not_used(cache, monkeypatch) -> None:
    right = winograd.matrices

    def slightly_wrong(outputs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        of_data, of_filters, of_outputs = right(outputs)
        return of_data, 1.0005 * of_filters, of_outputs

    monkeypatch.setattr(winograd, "matrices", slightly_wrong)
    with pytest.raises(InputError, match=r"winograd in fp32 differs from torch .* --runtime torch"):
        opened(NETWORK, runtime=TORCH_WINOGRAD, precision="bf16")
    chosen = opened(NETWORK, runtime="torch", precision="bf16")
    assert chosen.runtime in ("torch NCHW", "torch channels_last")
