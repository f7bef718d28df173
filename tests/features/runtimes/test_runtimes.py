"""What runs a network decides the time, not the meaning: torch, ncnn and OpenVINO, on the CPU."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from cxrfeat.features import POOLINGS, WeightsChoice, open_extractor
from cxrfeat.features.network.architecture import build
from cxrfeat.features.network.pooling import TOKEN_POOLINGS, pool
from cxrfeat.features.network.truncation import truncate
from cxrfeat.features.runtimes.recipe import LAYOUTS, OPENVINO_WINOGRAD, Recipe
from cxrfeat.features.runtimes.runners import RUNNERS
from cxrfeat.features.runtimes.torch_forward import folded
from cxrfeat.features.runtimes.torch_runtime import Torch
from tests.features.runtimes.made import (
    CONVERTED,
    EVERY,
    opened,
    pictures,
    plain_torch,
    relative_error,
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
    for name in CONVERTED:  # an image on one core, whatever their number
        assert "threads" not in opened(runtime=name).environment()


@pytest.mark.parametrize("pooling", sorted(POOLINGS.keys() - set(TOKEN_POOLINGS)))
def test_every_pooling_is_the_same_in_every_runtime(pooling: str) -> None:
    images = pictures(2)
    reference = plain_torch("resnet18", images, pooling)
    for runtime in (*EVERY, OPENVINO_WINOGRAD):
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
    for name, bound in (("openvino", 1e-2), (OPENVINO_WINOGRAD, 1.5e-2)):
        in_bf16 = vgg16(runtime=name, precision="bf16")(images)
        assert 1e-5 < relative_error(in_bf16, exact) < bound


@pytest.mark.parametrize("runtime", [*EVERY, OPENVINO_WINOGRAD])
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


@pytest.mark.parametrize("runtime", CONVERTED)
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
