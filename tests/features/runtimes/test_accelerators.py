"""An accelerator gives the rows that the CPU gives, in the precision that was asked for.

Where there is none, `Card` is one that computes on the CPU, and is wrong as told; what only a real
one can show skips there.
"""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cxrfeat.errors import InputError
from cxrfeat.features import WeightsChoice, batch_memory, prepare_extractor, preparing
from cxrfeat.features.network.architecture import build
from cxrfeat.features.network.truncation import truncate
from cxrfeat.features.runtimes import accelerator_runtime, arithmetic, select, torch_forward
from cxrfeat.features.runtimes.accelerator_runtime import (
    Accelerator,
    Lane,
    largest_block,
    rows_of_each,
)
from cxrfeat.features.runtimes.arithmetic import computing_in
from cxrfeat.features.runtimes.recipe import Recipe
from cxrfeat.features.runtimes.torch_forward import Forward
from cxrfeat.features.runtimes.torch_runtime import Torch

NAME = "squeezenet1_1"
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(scope="module")
def module() -> torch.fx.GraphModule:
    return truncate(build("resnet18"), 64).module


def recipe(precision: str = "fp32") -> Recipe:
    return Recipe(64, (0.5,) * 3, (0.25,) * 3, "avg", precision)


def pictures(count: int) -> np.ndarray:
    return np.random.default_rng(0).random((count, 64, 64), np.float32)


class Card(Accelerator):
    """An accelerator whose rows are off by a share, and by another one where a block ends."""

    off = 0.0
    at_end = 0.0

    def __init__(self, module, recipe, device) -> None:
        super().__init__(module, recipe, CPU)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        rows = super().__call__(images) * np.float32(1 + self.off)
        rows[7::8] *= np.float32(1 + self.at_end)
        return rows


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch) -> None:
    """Those of a batch are told in one call, however slow they are."""
    monkeypatch.setattr(accelerator_runtime, "BLOCK", 8)
    monkeypatch.setattr(accelerator_runtime, "FAST_SECONDS", np.inf)


@pytest.fixture
def card(monkeypatch) -> type[Card]:
    made = type("Made", (Card,), {})
    monkeypatch.setattr(select, "Accelerator", made)
    return made


def chosen(module, precision: str) -> select.Chosen:
    return select.choose(
        module, recipe(precision), backbone="resnet18", tensors_sha256="", device=CUDA
    )


# --- the precision


def state() -> dict[str, object]:
    backends = torch.backends
    return {
        "deterministic": backends.cudnn.deterministic,
        "benchmark": backends.cudnn.benchmark,
        "convolutions": backends.cudnn.conv.fp32_precision,
        "products": backends.cuda.matmul.fp32_precision,
        "on the CPU": backends.mkldnn.matmul.fp32_precision,
    }


def in_float32(tf32: bool = False) -> dict[str, object]:
    gpu = "tf32" if tf32 else "ieee"
    return {
        "deterministic": True,
        "benchmark": False,
        "convolutions": gpu,
        "products": gpu,
        "on the CPU": "ieee",
    }


def test_float32_is_float32_while_a_network_runs_and_the_process_stays_as_it_was(module) -> None:
    seen = []
    hook = module.get_submodule("layer1.0.conv1").register_forward_pre_hook(
        lambda *_: seen.append(state())
    )
    before = state()
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("medium")
    try:
        users = state()
        Torch(module, recipe())(pictures(2))
        assert seen == [in_float32()]
        assert state() == users != before
    finally:
        hook.remove()
        torch.backends.cudnn.benchmark = False
        for owner in (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul):
            owner.fp32_precision = "none"
    assert state() == before


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16", "fp16"])
def test_only_tf32_allows_tf32_also_where_an_error_ends_it(precision: str) -> None:
    before = state()
    seen = []
    with contextlib.suppress(KeyError), computing_in(precision):
        seen.append(state())
        raise KeyError
    assert seen == [in_float32(tf32=precision == "tf32")]
    assert state() == before


def test_an_older_torch_is_told_by_its_own_names(monkeypatch) -> None:
    cudnn = SimpleNamespace(deterministic=False, benchmark=True, allow_tf32=True)
    matmul = SimpleNamespace(allow_tf32=False)
    backends = SimpleNamespace(cudnn=cudnn, cuda=SimpleNamespace(matmul=matmul))
    monkeypatch.setattr(arithmetic, "torch", SimpleNamespace(backends=backends))
    for precision, tf32 in (("fp32", False), ("tf32", True)):
        with computing_in(precision):
            assert (cudnn.allow_tf32, matmul.allow_tf32) == (tf32, tf32)
            assert (cudnn.deterministic, cudnn.benchmark) == (True, False)
        assert (cudnn.allow_tf32, matmul.allow_tf32) == (True, False)
        assert (cudnn.deterministic, cudnn.benchmark) == (False, True)


@pytest.mark.parametrize(
    ("device", "capability", "hip"),
    [("cpu", (9, 0), None), ("mps", (9, 0), None), ("cuda", (7, 5), None), ("cuda", (9, 0), "6.2")],
)
def test_tf32_is_refused_where_there_is_none(monkeypatch, device, capability, hip) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    monkeypatch.setattr(torch.version, "hip", hip)
    monkeypatch.setattr(preparing, "device_type", lambda _: device)
    with pytest.raises(InputError, match=r"tf32 needs an NVIDIA GPU.*--precision fp32"):
        prepare_extractor(NAME, weights=WeightsChoice("random"), precision="tf32")


def test_tf32_is_a_precision_of_its_own_in_the_spec(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 0))
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(preparing, "device_type", lambda _: "cuda")
    options = {"weights": WeightsChoice("random"), "image_size": 64}
    specs = [
        prepare_extractor(NAME, precision=precision, **options).description.spec
        for precision in ("fp32", "tf32")
    ]
    assert [spec["precision"] for spec in specs] == ["fp32", "tf32"]


# --- the rows are those of the CPU


@pytest.mark.parametrize(
    ("precision", "off", "refused"),
    [
        ("fp32", 1e-6, False),
        ("fp32", 1e-3, True),  # what TF32 does
        ("tf32", 1e-3, False),
        ("tf32", 2e-2, True),
        ("fp32", np.nan, True),
    ],
)
def test_an_accelerator_is_held_to_the_cpus_float32(module, card, precision, off, refused) -> None:
    card.off = off
    if not refused:
        assert chosen(module, precision).notes == ()
        return
    figure = "inf" if np.isnan(off) else f"{off:.1e}"
    bound = f"{select.BOUNDS[precision]:.0e}"
    with pytest.raises(
        InputError, match=rf"resnet18 on cuda in {precision} .* by {figure}.* {bound}.*--device cpu"
    ):
        chosen(module, precision)


def test_an_accelerator_may_do_in_bf16_what_rounding_does_and_no_more(module, card) -> None:
    assert chosen(module, "bf16").notes == ()
    card.off = 3e-2
    with pytest.raises(InputError, match=r"resnet18 on cuda in bf16 .* by 3\.\de-02 on drawn"):
        chosen(module, "bf16")


def test_the_bounds_name_every_precision() -> None:
    from cxrfeat.features import PRECISIONS

    assert set(select.BOUNDS) == set(PRECISIONS)


# --- in any company


@pytest.mark.parametrize("kind", [Torch, Card])
def test_a_row_has_the_same_bits_in_any_batch(module, kind: type) -> None:
    runtime = kind(module, recipe()) if kind is Torch else kind(module, recipe(), CUDA)
    images = pictures(35)
    together = runtime(images)
    for batch in (1, 3, 8, 32, 35):
        parts = [runtime(images[i : i + batch]) for i in range(0, len(images), batch)]
        np.testing.assert_array_equal(np.concatenate(parts), together)
    rows, maps = runtime.with_maps(images)
    np.testing.assert_array_equal(rows, together)
    assert len(maps[0]) == 35


def test_a_row_that_depends_on_its_batch_says_so_and_by_how_much(module, card) -> None:
    card.at_end = 1e-6
    made = chosen(module, "fp32")
    assert "differs by up to 9.5e-07 with its batch" in made.notes[0]
    assert "rows differ by up to 9.5e-07" in made.runtime.name  # stands in the environment
    card.at_end = 0.0
    assert "differ" not in chosen(module, "fp32").runtime.name


def test_several_networks_give_each_what_it_gives_alone(module) -> None:
    networks = [Card(module, recipe(), CUDA), Card(module, recipe("bf16"), CUDA)]
    images = pictures(35)
    for one, rows in zip(networks, rows_of_each(networks, images), strict=True):
        np.testing.assert_array_equal(rows, one(images))


# --- memory


@pytest.mark.parametrize(("room", "block"), [(100, 32), (32, 32), (31, 16), (3, 2), (1, 1)])
def test_a_block_is_halved_until_memory_takes_it(room: int, block: int) -> None:
    def run(count: int) -> None:
        if count > room:
            raise torch.OutOfMemoryError("no room")

    assert largest_block(run, 32) == block


def test_no_room_for_one_image_is_said_in_words() -> None:
    def run(count: int) -> None:
        raise torch.OutOfMemoryError("no room")

    with pytest.raises(InputError, match="--device cpu"):
        largest_block(run, 32)


def test_memory_that_runs_out_later_ends_the_run_in_words(module, monkeypatch) -> None:
    runtime = Card(module, recipe(), CUDA)

    def start(*given: object, **options: object) -> list[torch.Tensor]:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(Lane, "start_all", start)
    for given in (runtime, lambda images: list(rows_of_each([runtime, runtime], images))):
        with pytest.raises(InputError, match="the same command goes on"):
            given(pictures(2))


# --- several calls at once


def test_calls_from_several_threads_give_what_one_after_the_other_gives(module) -> None:
    runtime = Card(module, recipe(), CUDA)
    batches = [pictures(30)[start : start + 10] for start in (0, 10, 20)]
    with ThreadPoolExecutor(runtime.at_once) as calls:
        at_once = list(calls.map(runtime, batches))
    np.testing.assert_array_equal(
        np.concatenate(at_once), np.concatenate([runtime(batch) for batch in batches])
    )


def test_weights_are_halved_once_and_give_the_bits_that_autocast_gives(module, monkeypatch) -> None:
    halved = Forward(module, recipe("bf16"), CPU, "channels_last")
    kinds = {type(m): m.weight.dtype for m in halved._module.modules() if hasattr(m, "weight")}
    assert kinds[torch.nn.Conv2d] == torch.bfloat16
    grey = torch.from_numpy(pictures(4))
    monkeypatch.setattr(torch_forward, "halve", lambda *_: None)
    (expected,) = Forward(module, recipe("bf16"), CPU, "channels_last")(grey)
    (found,) = halved(grey)
    assert found.dtype == torch.float32
    np.testing.assert_array_equal(found.numpy(), expected.numpy())


# --- a real one


@pytest.fixture
def cuda() -> torch.device:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    return CUDA


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_real_one_gives_the_rows_of_the_cpu_in_any_batch(module, cuda, precision: str) -> None:
    runtime = Accelerator(module, recipe(precision), cuda)
    assert runtime._lane.by_batch is not None
    images = pictures(70)
    rows, exact = runtime(images), Torch(module, recipe())(images)
    errors = np.linalg.norm(rows - exact, axis=1) / np.linalg.norm(exact, axis=1)
    assert errors.max() <= select.BOUNDS[precision]
    np.testing.assert_array_equal(np.concatenate([runtime(images[:3]), runtime(images[3:])]), rows)
    there, maps = runtime.with_maps(images)
    np.testing.assert_array_equal(there, rows)
    assert len(maps[0]) == 70
    fetched = batch_memory(images.shape, pinned=runtime.pinned)
    fetched[:] = images
    assert torch.from_numpy(fetched).is_pinned()
    with ThreadPoolExecutor(4) as calls:
        for again in calls.map(runtime, 20 * [images, fetched, fetched[:13], fetched[:32]]):
            np.testing.assert_array_equal(again, rows[: len(again)])
