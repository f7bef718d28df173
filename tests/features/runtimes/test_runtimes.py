"""What runs a network decides the time, not the meaning: torch, ncnn and OpenVINO, on the CPU."""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cxrfeat.errors import InputError, MissingExtraError
from cxrfeat.features import POOLINGS, Extractor, WeightsChoice, open_extractor
from cxrfeat.features.network.architecture import build
from cxrfeat.features.network.backbones import expected_input
from cxrfeat.features.network.pooling import TOKEN_POOLINGS, pool
from cxrfeat.features.network.truncation import truncate
from cxrfeat.features.runtimes import (
    benchmark,
    checking,
    kept_conversion,
    ncnn_convert,
    openvino_runtime,
    select,
)
from cxrfeat.features.runtimes.checking import Yardstick
from cxrfeat.features.runtimes.converting import converted
from cxrfeat.features.runtimes.kept_conversion import OPENVINO, Conversion, NotRunError
from cxrfeat.features.runtimes.recipe import LAYOUTS, Recipe
from cxrfeat.features.runtimes.runners import RUNNERS
from cxrfeat.features.runtimes.torch_forward import folded
from cxrfeat.features.runtimes.torch_runtime import Torch

NAME = "squeezenet1_1"
RANDOM = WeightsChoice("random")
CPU = torch.device("cpu")
EVERY = ["torch", *RUNNERS]


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


@pytest.mark.parametrize("runtime", EVERY)
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "efficientnet_lite0"])
def test_every_runtime_gives_torchs_embedding(name: str, runtime: str) -> None:
    images = pictures(3, 96)
    extractor = opened(name, 96, runtime=runtime)
    assert extractor.environment()["runtime"].startswith(runtime)
    assert relative_error(extractor(images), plain_torch(name, images)) < 1e-5


def test_the_threads_that_torch_rounds_by_stand_in_the_environment() -> None:
    by_torch = opened(runtime="torch")
    threads = torch.get_num_threads()
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            assert by_torch.environment()["threads"] == str(number)
    finally:
        torch.set_num_threads(threads)
    for name in RUNNERS:  # an image on one core, whatever their number
        assert "threads" not in opened(runtime=name).environment()


@pytest.mark.parametrize("pooling", sorted(POOLINGS.keys() - set(TOKEN_POOLINGS)))
def test_every_pooling_is_the_same_in_every_runtime(pooling: str) -> None:
    images = pictures(2)
    reference = plain_torch("resnet18", images, pooling)
    for runtime in EVERY:
        ours = opened("resnet18", pooling=pooling, runtime=runtime)(images)
        assert relative_error(ours, reference) < 1e-5


def test_every_runtime_gives_vgg16s_embedding_of_radiographs_with_real_weights(
    vgg16_weights: Path, radiographs: Path
) -> None:
    from cxrfeat.images import read_image, resize

    files = sorted(radiographs.rglob("*.jp*g"))[:3]
    images = np.stack([resize(read_image(file).pixels, 224) for file in files])
    vgg16 = partial(
        open_extractor, "vgg16", weights=WeightsChoice("file", str(vgg16_weights)), device="cpu"
    )
    exact = vgg16(runtime="torch")(images)
    for name in RUNNERS:
        assert 0 < relative_error(vgg16(runtime=name)(images), exact) < 1e-5
    in_bf16 = vgg16(runtime="openvino", precision="bf16")(images)
    assert 1e-5 < relative_error(in_bf16, exact) < 1e-2


@pytest.mark.parametrize("runtime", EVERY)
def test_a_row_has_the_same_bits_in_any_batch_and_any_thread(runtime: str) -> None:
    extractor = opened("resnet18", runtime=runtime)
    images = pictures(9)
    together = extractor(images)
    for batch in (1, 2, 4, 5):
        parts = [extractor(images[i : i + batch]) for i in range(0, len(images), batch)]
        np.testing.assert_array_equal(np.concatenate(parts), together)
    np.testing.assert_array_equal(extractor(images[::-1]), together[::-1])
    if extractor.side_by_side:
        with ThreadPoolExecutor(6) as threads:
            rows = list(threads.map(lambda i: extractor(images[i % 9][None])[0], range(36)))
        np.testing.assert_array_equal(np.stack(rows), np.tile(together, (4, 1)))
    assert extractor(images[:0]).shape == (0, extractor.dimension)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_folding_batch_normalisation_leaves_none_behind_a_convolution(layout: str) -> None:
    cut = truncate(build("resnet18"), 64)
    recipe = Recipe(64, (0.5,) * 3, (0.25,) * 3, "avg", "fp32")
    before = {name: tensor.clone() for name, tensor in cut.module.state_dict().items()}
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in called(folded(cut.module)))
    assert sum(isinstance(m, torch.nn.BatchNorm2d) for m in called(cut.module)) == 20
    images = pictures(2)
    with torch.inference_mode():
        expected = pool(cut.module(torch.from_numpy(recipe.normalise(images))), "avg")
    ours = Torch(cut.module, recipe, layout)(images)
    assert relative_error(ours, expected) < 1e-5
    for name, tensor in cut.module.state_dict().items():
        assert torch.equal(tensor, before[name])


def called(module: torch.fx.GraphModule) -> list[torch.nn.Module]:
    nodes = [node for node in module.graph.nodes if node.op == "call_module"]
    return [module.get_submodule(str(node.target)) for node in nodes]


# --- conversion


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("CXRFEAT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def conversions(monkeypatch) -> list[list[str]]:
    """The converter's calls."""
    calls: list[list[str]] = []
    original = subprocess.run

    def counting(command, **options):
        calls.append(command)
        return original(command, **options)

    monkeypatch.setattr(ncnn_convert.subprocess, "run", counting)
    return calls


@pytest.fixture
def ncnn_alone(monkeypatch) -> None:
    """OpenVINO would run what ncnn does not."""
    monkeypatch.delitem(RUNNERS, "openvino")


def test_a_network_is_converted_once_for_its_weights(cache, conversions) -> None:
    first = opened(runtime="ncnn")(pictures(2))
    again = opened(runtime="ncnn", pooling="max")
    assert len(conversions) == 1
    assert again(pictures(2)).shape == first.shape
    open_extractor(
        NAME, weights=WeightsChoice("random", seed=1), image_size=64, device="cpu", runtime="ncnn"
    )
    assert len(conversions) == 2


@pytest.mark.parametrize("name", ["network.bin", "network.param", "about.json"])
def test_a_damaged_conversion_is_made_again(cache, conversions, name: str) -> None:
    before = opened(runtime="ncnn")(pictures(2))
    (kept,) = cache.rglob(name)
    content = bytearray(kept.read_bytes())
    content[len(content) // 2] ^= 0xFF
    kept.write_bytes(content)
    np.testing.assert_array_equal(opened(runtime="ncnn")(pictures(2)), before)
    assert len(conversions) == 2


def test_what_a_faster_process_has_converted_stays_where_it_is(cache, monkeypatch) -> None:
    """That process may be about to read it."""
    original, of_faster = subprocess.run, list[int]()

    def slower(command, **options):
        done = original(command, **options)
        if not of_faster:
            of_faster.append(0)
            opened(runtime="ncnn")
            (kept,) = cache.rglob("about.json")
            of_faster[0] = kept.parent.stat().st_ino
        return done

    monkeypatch.setattr(ncnn_convert.subprocess, "run", slower)
    opened(runtime="ncnn")
    (kept,) = cache.rglob("about.json")
    assert kept.parent.stat().st_ino == of_faster[0]


def test_a_conversion_that_differs_from_torch_is_not_used(cache, ncnn_alone, monkeypatch) -> None:
    monkeypatch.setitem(checking.BOUNDS, "fp32", 1e-12)
    extractor = opened()
    assert extractor.environment()["runtime"].startswith("torch")
    assert any("differs from torch by" in note for note in extractor.notes)
    with pytest.raises(InputError, match="use --runtime torch"):
        opened(runtime="ncnn")


def test_a_converter_that_was_killed_says_nothing_about_the_network(
    cache, ncnn_alone, monkeypatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(
            ncnn_convert.subprocess,
            "run",
            lambda command, **options: subprocess.CompletedProcess(command, -9, b"", b""),
        )
        extractor = opened()
        assert extractor.environment()["runtime"].startswith("torch")
    assert opened(runtime="ncnn").environment()["runtime"].startswith("ncnn")


def test_a_network_that_the_converter_cannot_take_runs_with_torch_and_is_remembered(
    cache, ncnn_alone, monkeypatch
) -> None:
    calls = []

    def failing(command, **options):
        calls.append(command)
        return subprocess.CompletedProcess(command, 1, b"", b"")

    monkeypatch.setattr(ncnn_convert.subprocess, "run", failing)
    for _ in range(2):
        extractor = opened()
        assert extractor.environment()["runtime"].startswith("torch")
        assert any("pnnx cannot convert it" in note for note in extractor.notes)
    assert len(calls) == 1


@pytest.mark.parametrize(("name", "extra"), [("ncnn", "cpu"), ("openvino", "openvino")])
def test_without_the_extra_torch_runs_and_asking_for_it_names_the_extra(
    name: str, extra: str, monkeypatch
) -> None:
    monkeypatch.setattr(kept_conversion, "find_spec", lambda name: None)
    assert opened().environment()["runtime"].startswith("torch")
    with pytest.raises(MissingExtraError, match=rf"cxrfeat\[{extra}\]"):
        opened(runtime=name)


def test_a_cache_that_cannot_be_written_costs_the_speed_alone(tmp_path, monkeypatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("CXRFEAT_CACHE", str(tmp_path / "file"))
    extractor = opened()
    assert any("cannot be kept" in note for note in extractor.notes)
    reference = plain_torch(NAME, pictures(2))
    assert relative_error(extractor(pictures(2)), reference) < 1e-5


@pytest.mark.parametrize("name", RUNNERS)
def test_an_error_of_the_network_itself_is_not_read_as_the_converters(cache, name: str) -> None:
    class Broken(torch.nn.Module):
        def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor]:
            return (pictures.reshape(7, -1),)

    module, recipe = torch.fx.symbolic_trace(Broken()), Recipe(32, (0.5,), (0.25,), "avg", "fp32")
    with pytest.raises(RuntimeError, match="is invalid for input of size"):
        converted(name, module, "", recipe, Yardstick(module, recipe))


@pytest.mark.parametrize("name", RUNNERS)
def test_what_cannot_be_traced_is_refused_with_the_reason(cache, monkeypatch, name: str) -> None:
    def failing(*given: object, **options: object) -> None:
        raise RuntimeError("no such operator\nand more")

    monkeypatch.setattr(torch.jit, "trace", failing)
    with pytest.raises(InputError, match=r"torch cannot trace it \(no such operator\)"):
        opened(runtime=name)


def test_a_converter_that_writes_nothing_is_refused(cache, ncnn_alone, monkeypatch) -> None:
    done = subprocess.CompletedProcess([], 0, b"", b"")
    monkeypatch.setattr(ncnn_convert.subprocess, "run", lambda *_, **__: done)
    with pytest.raises(InputError, match="it wrote nothing"):
        opened(runtime="ncnn")


# --- OpenVINO


def test_openvino_tells_nobody_that_it_is_used() -> None:
    """Its package for that sends a message whenever OpenVINO is imported."""
    script = (
        "import sys\n"
        "from cxrfeat.features.runtimes.openvino_runtime import openvino\n"
        "openvino()\n"
        "assert 'openvino' in sys.modules\n"
        "print([name for name in sys.modules if name.startswith('openvino_telemetry')])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_openvino_has_run_once_before_threads_use_it(monkeypatch) -> None:
    """Two threads whose runs were the first of a process waited for each other for ever."""
    ran: list[str] = []
    original = openvino_runtime.OpenVino.maps

    def told(self, image):
        ran.append(threading.current_thread().name)
        return original(self, image)

    monkeypatch.setattr(openvino_runtime.OpenVino, "maps", told)
    extractor = opened(runtime="openvino")
    assert ran[-1:] == [threading.current_thread().name]
    before = len(ran)
    extractor(pictures(2))
    assert all(name.startswith("network") for name in ran[before:])


def test_openvino_gives_the_same_bits_on_any_number_of_cores(monkeypatch) -> None:
    rows = []
    for cores in (1, 3):
        monkeypatch.setattr(openvino_runtime, "available_cores", lambda cores=cores: cores)
        rows.append(opened("resnet18", runtime="openvino")(pictures(4)))
    np.testing.assert_array_equal(*rows)


def test_a_processor_without_bf16_does_not_run_it_in_float32_under_that_name(monkeypatch) -> None:
    """OpenVINO would compute in float32 there, and say so only when asked."""
    compiled = SimpleNamespace(get_property=lambda _: SimpleNamespace(to_string=lambda: "f32"))
    core = SimpleNamespace(read_model=lambda _: None, compile_model=lambda *_: compiled)
    monkeypatch.setattr(openvino_runtime, "_core", lambda: core)
    with pytest.raises(NotRunError, match="computes in f32 here, not in bf16"):
        openvino_runtime.OpenVino(Path(), 1, Recipe(32, (0.5,), (0.25,), "avg", "bf16"))
    made = Conversion(1, [], {"fp32": 1e-6}, {"fp32": 1e-5})
    assert OPENVINO.refusal(made, "fp32") == ""
    assert OPENVINO.refusal(made, "bf16") == "openvino does not compute in bf16 here"


# --- precisions


def test_fp16_is_refused_on_the_cpu_and_bf16_stays_within_a_hundredth() -> None:
    with pytest.raises(InputError, match="fp16 needs a GPU"):
        opened(precision="fp16")
    exact = opened("resnet18", runtime="torch")(pictures(2))
    for runtime in (*EVERY, "auto"):
        rough = opened("resnet18", runtime=runtime, precision="bf16")(pictures(2))
        assert 1e-6 < relative_error(rough, exact) < 1e-2


@pytest.mark.parametrize("name", RUNNERS)
def test_bf16_is_not_refused_for_what_rounding_alone_does(name: str) -> None:
    """Random weights make this network sensitive: 1.1e-2 with any runtime that is right."""
    extractor = opened("mobilenet_v3_small", runtime=name, precision="bf16")
    assert any(re.search(r"differ from fp32 by 1\.\de-02", note) for note in extractor.notes)


class Wrong(Torch):
    """What computes in bfloat16, and is wrong as told."""

    off = 0.0

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return super().__call__(images) * np.float32(1 + self.off)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small"])
def test_what_is_wrong_in_bf16_is_not_excused_by_rounding(name: str) -> None:
    expected = expected_input(name)
    cut = truncate(build(name), 64).module
    recipe = Recipe(64, expected.mean, expected.std, "avg", "bf16")
    yardstick, runtime = Yardstick(cut, recipe), Wrong(cut, recipe)
    for off, refused in ((0.0, False), (0.03, True), (np.nan, True)):
        runtime.off = off
        error = yardstick.error_of(runtime)
        assert (not error <= yardstick.bound("bf16", error)) == refused
    assert yardstick.bound("bf16", 1.0) < 0.03
    assert yardstick.bound("fp32", 1.0) == 1e-5


def test_a_network_that_bf16_makes_nothing_of_is_refused(monkeypatch) -> None:
    """Whatever rounding does: nothing could be told from a wrong runtime."""
    monkeypatch.setitem(checking.LARGEST, "bf16", 1e-3)
    monkeypatch.setitem(checking.BOUNDS, "bf16", 1e-4)
    module = truncate(build("resnet18"), 64).module
    yardstick = Yardstick(module, Recipe(64, (0.5,) * 3, (0.25,) * 3, "avg", "bf16"))
    assert yardstick.bound("bf16", 2e-3) == 1e-3


@pytest.mark.parametrize(
    ("bf16", "fp32", "extra", "told"),
    [
        (44.0, 27.0, True, ""),
        (28.0, 27.0, True, "(28.0 against 27.0 images/s): use --precision fp32"),
        (23.0, 27.0, False, "--precision fp32, or pip install 'cxrfeat[openvino]'"),
        (None, 27.0, True, ""),
    ],
)
def test_a_precision_that_is_not_faster_here_says_so(
    monkeypatch, bf16: float | None, fp32: float, extra: bool, told: str
) -> None:
    def measured(graph: str, recipe: Recipe, candidates: dict) -> benchmark.Fastest:
        return benchmark.Fastest(
            candidates["torch NCHW"](), bf16 if recipe.precision == "bf16" else fp32
        )

    monkeypatch.setattr(select, "fastest", measured)
    monkeypatch.setattr(select, "has_bfloat16", lambda: True)
    if not extra:
        monkeypatch.setattr(kept_conversion, "find_spec", lambda name: None)
    notes = [note for note in opened(precision="bf16").notes if "not faster" in note]
    assert len(notes) == bool(told)
    assert told in "".join(notes)


def test_a_processor_without_bf16_says_so_without_a_trial(monkeypatch) -> None:
    measured = []

    def fastest(graph: str, recipe: Recipe, candidates: dict) -> benchmark.Fastest:
        measured.append(recipe.precision)
        return benchmark.Fastest(candidates["torch NCHW"](), 1.0)

    monkeypatch.setattr(select, "fastest", fastest)
    monkeypatch.setattr(select, "has_bfloat16", lambda: False)
    notes = opened(precision="bf16").notes
    assert any("no bf16 of its own; fp32 may be as fast" in note for note in notes)
    assert measured == ["bf16"]


def test_a_precision_that_is_too_far_from_float32_says_so(cache, monkeypatch) -> None:
    monkeypatch.setitem(checking.BOUNDS, "bf16", 1e-9)
    for runtime in ("torch", "openvino"):
        notes = opened("resnet18", runtime=runtime, precision="bf16").notes
        assert any("differ from fp32 by" in note for note in notes)


# --- the fastest


class Timed:
    """A runtime that takes a known time, by a clock of its own."""

    side_by_side = False

    def __init__(self, name: str, seconds: float, clock: "Clock") -> None:
        self.name, self._seconds, self._clock = name, seconds, clock

    def __call__(self, images: np.ndarray) -> np.ndarray:
        self._clock.now += self._seconds
        return np.zeros((len(images), 1), np.float32)


class Clock:
    """Time that passes only in `Timed`."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def timed(cache, monkeypatch) -> Callable[..., str]:
    clock = Clock()
    monkeypatch.setattr(benchmark, "time", clock)

    def fastest_of(**seconds: float) -> str:
        recipe = Recipe(32, (0.5,) * 3, (0.25,) * 3, "avg", "fp32")
        candidates = {
            name: (lambda name=name, each=each: Timed(name, each, clock))
            for name, each in seconds.items()
        }
        return benchmark.fastest("graph", recipe, candidates).runtime.name

    return fastest_of


def test_the_fastest_runtime_is_taken_and_kept(timed, cache) -> None:
    assert timed(ncnn=2.0, NCHW=1.0, channels_last=3.0) == "NCHW"
    assert timed(ncnn=0.1, NCHW=1.0, channels_last=3.0) == "NCHW"  # measured before
    (kept,) = (cache / "fastest").glob("*.json")
    told = json.loads(kept.read_text())
    assert told["fastest"] == "NCHW"
    assert told["images_per_second"]["ncnn"] == 2.0
    kept.write_text("{")
    assert timed(ncnn=0.1, NCHW=1.0, channels_last=3.0) == "ncnn"


def test_a_small_lead_is_noise(timed) -> None:
    assert timed(ncnn=1.0, NCHW=0.9, channels_last=0.95) == "ncnn"


def test_the_first_runtime_is_taken_where_nothing_can_be_kept(timed, cache) -> None:
    cache.write_text("in the way")
    assert timed(ncnn=2.0, NCHW=1.0) == "ncnn"


@pytest.mark.parametrize("runtime", RUNNERS)
def test_a_network_that_is_kept_to_the_end_does_not_end_the_process_with_a_signal(
    runtime: str,
) -> None:
    """`predict` keeps its extractors; ncnn's allocators were gone before their networks."""
    script = (
        "import numpy as np\n"
        "from cxrfeat import features, images\n"
        "from cxrfeat.prediction.reopened_extractor import reopen_extractor\n"
        "from cxrfeat.features.runtimes.runners import RUNNERS\n"
        f"[RUNNERS.pop(name) for name in list(RUNNERS) if name != '{runtime}']\n"
        f"ready = features.prepare_extractor('efficientnet_lite0', runtime='{runtime}')\n"
        "image = images.reading_spec(ready.description.framing)\n"
        "kept = reopen_extractor({**ready.description.spec, 'image': image})\n"
        "kept(np.zeros((1, kept.image_size, kept.image_size), np.float32))\n"
        "print(kept.environment()['runtime'])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.startswith(runtime)
    assert (done.returncode, done.stderr) == (0, "")
