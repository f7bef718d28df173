"""One rule finds the pooled layer of every torchvision network."""

import numpy as np
import pytest
import torch
from torch import nn

from cxrfeat.errors import InputError
from cxrfeat.features.extractor import Extractor
from cxrfeat.features.network.architecture import build
from cxrfeat.features.network.backbones import PACKAGED, expected_input
from cxrfeat.features.network.embedding_dimensions import DIMENSIONS
from cxrfeat.features.network.pooling import POOLINGS, TOKEN_POOLINGS, dimension, pool
from cxrfeat.features.network.torchvision_catalogue import networks
from cxrfeat.features.network.truncation import HEAD_NAMES, truncate

# One network of every family; the slow test runs over all of them.
FAMILIES = [
    *("alexnet", "densenet121", "efficientnet_b0", "googlenet", "mnasnet0_5", "mobilenet_v2"),
    *("mobilenet_v3_small", "regnet_y_400mf", "resnet50", "shufflenet_v2_x0_5", "squeezenet1_1"),
    *("swin_t", "vgg16", "vit_b_32", "efficientnet_lite0", "convnext_tiny"),
    *("inception_v3", "maxvit_t", "swin_v2_t"),
]
# Over 300 million parameters: 1.2 to 2.6 GB each.
HUGE = {"regnet_y_128gf", "vit_h_14", "vit_l_16", "vit_l_32"}


def what_the_head_gets(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """torchvision's own forward pass, stopped where its classifier begins."""
    seen = []
    head = next(getattr(network, name) for name in HEAD_NAMES if hasattr(network, name))
    handle = head.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        network(images)
    handle.remove()
    return seen[0]


def pooled_reference(features: torch.Tensor, channels: int) -> torch.Tensor:
    if features.ndim == 2 and features.shape[1] != channels:  # VGG and AlexNet flatten their map
        side = round((features.shape[1] / channels) ** 0.5)
        features = features.reshape(-1, channels, side, side)
    return features.mean((2, 3)) if features.ndim == 4 else features


def check_against_torchvision(name: str) -> None:
    network = build(name)
    size = expected_input(name).size
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    cut = truncate(network, size)
    with torch.inference_mode():
        ours = torch.from_numpy(pool(cut.module(images), "avg"))
    reference = pooled_reference(what_the_head_gets(network, images), ours.shape[1])
    assert dimension(cut.shapes, "avg") == ours.shape[1]
    error = (ours - reference).norm() / reference.norm()
    assert error < 1e-5
    if name not in PACKAGED:
        assert DIMENSIONS[name] == ours.shape[1]


@pytest.mark.parametrize("name", FAMILIES)
def test_embedding_equals_what_torchvision_pools(name: str) -> None:
    check_against_torchvision(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({*networks(), *PACKAGED} - set(FAMILIES) - HUGE))
def test_every_other_embedding_equals_what_torchvision_pools(name: str) -> None:
    check_against_torchvision(name)


def test_every_backbone_has_its_dimension_in_the_table() -> None:
    assert set(DIMENSIONS) == set(networks())


def test_flattened_vgg16_is_the_25088_vector_that_its_classifier_gets() -> None:
    network = build("vgg16")
    images = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        ours = torch.from_numpy(pool(truncate(network, 224).module(images), "flatten"))
    assert ours.shape == (2, 25_088)
    torch.testing.assert_close(ours, what_the_head_gets(network, images), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "widths"),
    [
        ("vgg16", [64, 128, 256, 512, 512]),
        ("resnet50", [64, 256, 512, 1024, 2048]),
        ("densenet121", [64, 128, 256, 512, 1024]),
        ("efficientnet_lite0", [96, 144, 240, 672, 1280]),
        ("shufflenet_v2_x0_5", [24, 48, 96, 1024]),
    ],
)
def test_multi_pools_the_last_map_of_every_stage(name: str, widths: list[int]) -> None:
    cut = truncate(build(name), 224, stages=True)
    assert [shape[0] for shape in cut.shapes] == widths
    assert dimension(cut.shapes, "multi") == sum(widths)


def test_stages_are_torchvisions_own_layers() -> None:
    network = build("resnet50")
    images = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        maps = truncate(network, 224, stages=True).module(images)
        x = network.maxpool(network.relu(network.bn1(network.conv1(images))))
        expected = [x]
        for layer in (network.layer1, network.layer2, network.layer3, network.layer4):
            x = layer(x)
            expected.append(x)
    torch.testing.assert_close(list(maps), expected)


@pytest.mark.parametrize("pooling", ["max", "avgmax", "flatten", "multi"])
def test_a_token_network_pools_itself_and_says_so(pooling: str) -> None:
    network = build("vit_b_32")
    with pytest.raises(InputError, match="--pool avg"):
        dimension(truncate(network, 224, stages=pooling == "multi").shapes, pooling)


def test_a_network_with_channels_last_has_no_stages() -> None:
    with pytest.raises(InputError, match="--pool avg"):
        truncate(build("swin_t"), 224, stages=True)


def test_a_size_that_a_network_cannot_take_is_refused_in_words() -> None:
    with pytest.raises(InputError, match="96 x 96 pixels: leave --image-size out"):
        truncate(build("vit_b_32"), 96)


def test_poolings_equal_their_definition_in_numpy() -> None:
    rng = np.random.default_rng(0)
    early = rng.normal(size=(3, 4, 8, 8)).astype(np.float32)
    final = rng.normal(size=(3, 5, 7, 7)).astype(np.float32)
    token = rng.normal(size=(3, 5)).astype(np.float32)
    average, largest = final.mean((2, 3)), final.max((2, 3))
    expected = {
        "avg": average,
        "max": largest,
        "avgmax": np.hstack([average, largest]),
        "multi": np.hstack([early.mean((2, 3)), average]),
        "flatten": final.reshape(3, -1),
    }
    of_tokens = {
        "token": token,
        "patches": average,
        "tokenpatches": np.hstack([token, average]),
    }
    assert expected.keys() | of_tokens.keys() == POOLINGS.keys()
    assert of_tokens.keys() == set(TOKEN_POOLINGS)
    for pooling, reference in of_tokens.items():
        maps = {"token": [token], "patches": [final]}.get(pooling, [token, final])
        np.testing.assert_allclose(pool(maps, pooling), reference, rtol=1e-5, atol=1e-6)
    channels_last = torch.from_numpy(final).to(memory_format=torch.channels_last)
    for pooling, reference in expected.items():
        for maps in ([early, final], [torch.from_numpy(early), channels_last]):
            np.testing.assert_allclose(pool(maps, pooling), reference, rtol=1e-5, atol=1e-6)


def frozen_extractor(name: str, runtime: str = "auto") -> Extractor:
    from cxrfeat.features import WeightsChoice, open_extractor

    choice = WeightsChoice("random")
    return open_extractor(name, weights=choice, device="cpu", runtime=runtime)


@pytest.mark.parametrize(
    "name",
    [
        *("resnet50", "efficientnet_lite0"),
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("vgg16", "densenet121")),
    ],
)
def test_frozen_a_row_depends_on_its_own_image_alone(name: str) -> None:
    extractor = frozen_extractor(name, "ncnn")
    images = np.random.default_rng(0).random((5, 224, 224), np.float32)
    together = extractor(images)
    assert together.shape == (5, extractor.dimension)
    assert np.isfinite(together).all()
    order = [3, 0, 4, 2, 1]
    np.testing.assert_array_equal(extractor(images[order]), together[order])
    np.testing.assert_array_equal(
        np.concatenate([extractor(images[:2]), extractor(images[2:])]), together
    )
    alone = np.concatenate([extractor(image[None]) for image in images])
    np.testing.assert_array_equal(alone, together)


def test_frozen_nothing_in_the_network_changes_by_use() -> None:
    from cxrfeat.features.weights.load import tensors_sha256

    extractor = frozen_extractor("resnet50", "torch")
    module = extractor._runtime._forward._module
    assert not module.training
    assert not any(m.training for m in module.modules())
    assert not any(parameter.requires_grad for parameter in module.parameters())
    before = tensors_sha256(module)
    first = extractor(np.full((3, 224, 224), 0.25, np.float32))
    extractor(np.random.default_rng(0).random((4, 224, 224), np.float32))
    again = extractor(np.full((3, 224, 224), 0.25, np.float32))
    assert tensors_sha256(module) == before
    np.testing.assert_array_equal(first, again)
