"""Networks beside torchvision's give what their own packages compute with the same tensors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import cxrfeat
from cxrfeat import images
from cxrfeat.errors import InputError, MissingExtraError, UnknownNameError, WeightsError
from cxrfeat.features import (
    WeightsChoice,
    add_weights,
    fetch_weights,
    is_backbone,
    locate_weights,
    open_extractor,
    stated_pretraining,
)
from cxrfeat.features.network import timm_networks
from cxrfeat.features.network.families import FAMILIES
from cxrfeat.framing import Framing
from tests.test_cli import run

TINY = "timm:vit_tiny_patch16_224"
RANDOM = WeightsChoice("random")


def opened(name: str, choice: WeightsChoice = RANDOM, **options):
    return open_extractor(name, weights=choice, device="cpu", runtime="torch", **options)


def pictures(count: int, size: int) -> np.ndarray:
    return np.random.default_rng(0).random((count, size, size), np.float32)


def relative_error(ours: np.ndarray, reference: np.ndarray) -> float:
    return float(
        np.max(np.linalg.norm(ours - reference, axis=1) / np.linalg.norm(reference, axis=1))
    )


def normalised(squares: np.ndarray, spec: dict) -> torch.Tensor:
    mean, std = (np.array(spec["preprocessing"][key], np.float32) for key in ("mean", "std"))
    shape = (1, -1, 1, 1)
    return torch.from_numpy((squares[:, None] - mean.reshape(shape)) / std.reshape(shape))


@pytest.fixture(scope="module")
def xrv():
    with pytest.MonkeyPatch.context() as patch:  # it turns warnings off for the whole process
        patch.setattr("warnings.filterwarnings", lambda *args, **options: None)
        return pytest.importorskip(
            "torchxrayvision", reason="compares with torchxrayvision, which is not installed"
        )


@pytest.fixture(scope="module")
def timm():
    return pytest.importorskip("timm", reason="compares with timm, which is not installed")


def write_sidecar(path: Path, backbone: str, **more) -> None:
    given = {"size": 224, "mean": [0.5] * 3, "std": [0.25] * 3} | more
    path.with_suffix(".json").write_text(json.dumps({"backbone": backbone, "input": given}))


@pytest.fixture(scope="module")
def densenet(xrv, tmp_path_factory):
    """A network of torchxrayvision's, and ours with its tensors."""
    torch.manual_seed(1)
    theirs = xrv.models.DenseNet().eval()
    for module in theirs.modules():  # running averages as training leaves them
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    weights = tmp_path_factory.mktemp("xrv") / "densenet.safetensors"
    save_file(theirs.state_dict(), weights)
    write_sidecar(
        weights, "xrv:densenet121", mean=[0.5], std=[1 / 2048], crop="centre", resize="gaussian"
    )
    return theirs, opened("xrv:densenet121", WeightsChoice("file", str(weights)))


@pytest.mark.parametrize("shape", [(700, 500), (420, 611), (224, 224), (150, 190)])
def test_torchxrayvisions_densenet_gives_its_own_features2(xrv, densenet, tmp_path, shape) -> None:
    """Its rows, from a file on: its centre crop, its resizing, its grey scale, its network."""
    theirs, ours = densenet
    stored = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    Image.fromarray(stored).save(tmp_path / "one.png")
    own = xrv.datasets.normalize(stored.astype(np.float32), 255)[None]
    own = xrv.datasets.XRayResizer(224)(xrv.datasets.XRayCenterCrop()(own))
    with torch.no_grad():
        reference = theirs.features2(torch.from_numpy(own)[None]).numpy()
    radiograph = images.read_image(tmp_path / "one.png")
    row = ours(images.frame(radiograph.pixels, ours.framing)[None])
    assert ours.spec["preprocessing"]["channels"] == "grey"
    assert relative_error(row, reference) < 1e-5


def test_the_centre_crop_and_its_grey_scale_stand_in_sidecar_and_spec(tmp_path) -> None:
    tensors = FAMILIES["xrv"].build("densenet121", 224).state_dict()
    save_file(tensors, tmp_path / "mine.safetensors")
    add_weights(tmp_path / "mine.safetensors", "xrv:densenet121")
    given = json.loads((tmp_path / "mine.json").read_text())["input"]
    assert (given["crop"], given["resize"]) == ("centre", "gaussian")
    low, high = ((grey - given["mean"][0]) / given["std"][0] for grey in (0, 1))
    assert (low, high) == (-1024, 1024)
    spec = images.reading_spec(Framing(224, "centre", "gaussian"))
    assert spec["crop"] == "centre"
    assert "Gaussian" in spec["resize"]


def test_a_crop_takes_the_middle_square() -> None:
    tall = np.zeros((300, 100), np.float32)
    tall[100:200] = 1
    assert images.frame(tall, Framing(64, "centre")).min() == 1
    assert images.frame(tall, Framing(64)).mean() == pytest.approx(1 / 3, abs=0.02)


@pytest.fixture(scope="module")
def tiny(timm, tmp_path_factory):
    """A network of timm's, and a file of its tensors with its classifier, as on the hub."""
    torch.manual_seed(2)
    theirs = timm.create_model("vit_tiny_patch16_224", pretrained=False).eval()
    weights = tmp_path_factory.mktemp("timm") / "tiny.safetensors"
    save_file(theirs.state_dict(), weights)
    write_sidecar(weights, TINY)
    return theirs, weights


@pytest.mark.parametrize("pooling", ["avg", "token", "patches", "tokenpatches"])
def test_a_vision_transformer_of_timm_gives_its_own_tokens(tiny, pooling) -> None:
    theirs, weights = tiny
    ours = opened(TINY, WeightsChoice("file", str(weights)), pooling=pooling)
    squares = pictures(2, 224)
    with torch.no_grad():
        tokens = theirs.forward_features(normalised(squares, ours.spec))
        classified = theirs.forward_head(tokens, pre_logits=True)
    patches = tokens[:, 1:].mean(1)
    reference = {
        "avg": classified,
        "token": tokens[:, 0],
        "patches": patches,
        "tokenpatches": torch.cat([tokens[:, 0], patches], 1),
    }[pooling].numpy()
    assert ours.dimension == reference.shape[1]
    assert relative_error(ours(squares), reference) < 1e-5


@pytest.mark.parametrize("registers", [0, 4])
def test_a_dinov2_of_transformers_gives_its_own_tokens_through_timm(
    timm, tmp_path, registers
) -> None:
    """As RAD-DINO is stored; saved by transformers itself, so that the names are its own."""
    transformers = pytest.importorskip(
        "transformers", reason="compares with transformers, which is not installed"
    )
    sizes = {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6}
    torch.manual_seed(3)
    if registers:
        config = transformers.Dinov2WithRegistersConfig(
            **sizes, patch_size=14, image_size=56, num_register_tokens=registers
        )
        theirs = transformers.Dinov2WithRegistersModel(config).eval()
        name = "timm:vit_small_patch14_reg4_dinov2"
    else:
        config = transformers.Dinov2Config(**sizes, patch_size=14, image_size=56)
        theirs = transformers.Dinov2Model(config).eval()
        name = "timm:vit_small_patch14_dinov2"
    for parameter in theirs.parameters():  # so that no bias or token is zero
        torch.nn.init.normal_(parameter, std=0.05)
    theirs.save_pretrained(tmp_path)
    preprocessor = {
        "do_center_crop": True,
        "crop_size": {"height": 56, "width": 56},
        "image_mean": [0.53] * 3,
        "image_std": [0.26] * 3,
    }
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    weights = tmp_path / "model.safetensors"
    add_weights(
        weights,
        name,
        preprocessor=tmp_path / "preprocessor_config.json",
        pretraining=["MIMIC-CXR", "CheXpert"],
        licence="MIT",
        citation="a paper",
    )
    ours = opened(name, WeightsChoice("file", str(weights)), pooling="tokenpatches")
    assert ours.framing == Framing(56, "centre")
    assert stated_pretraining(name, "model", [str(weights)]) == ["MIMIC-CXR", "CheXpert"]
    squares = pictures(2, 56)
    with torch.no_grad():
        tokens = theirs(normalised(squares, ours.spec)).last_hidden_state
    reference = torch.cat([tokens[:, 0], tokens[:, 1 + registers :].mean(1)], 1).numpy()
    assert relative_error(ours(squares), reference) < 1e-5


def test_a_convolutional_network_of_timm_gives_its_own_last_map(timm) -> None:
    torch.manual_seed(0)
    theirs = timm.create_model("resnet10t", pretrained=False).eval()
    ours = opened("timm:resnet10t", image_size=96)
    module = ours._runtime._forward._module.network.encoder
    theirs.load_state_dict(module.state_dict(), strict=False)
    squares = pictures(2, 96)
    with torch.no_grad():
        reference = theirs.forward_features(normalised(squares, ours.spec)).mean((2, 3)).numpy()
    assert relative_error(ours(squares), reference) < 1e-5
    with pytest.raises(InputError, match="class token"):
        opened("timm:resnet10t", pooling="patches")


@pytest.mark.parametrize(
    "pooling",
    [
        pytest.param("token", marks=pytest.mark.slow),
        pytest.param("patches", marks=pytest.mark.slow),
        "tokenpatches",
    ],
)
def test_torchvisions_vision_transformer_has_the_same_poolings(pooling) -> None:
    from cxrfeat.features.network.architecture import build

    network = build("vit_b_32")
    seen: list[torch.Tensor] = []
    network.encoder.ln.register_forward_hook(lambda module, given, found: seen.append(found))
    ours = opened("vit_b_32", pooling=pooling)
    squares = pictures(1, 224)
    with torch.no_grad():
        network(normalised(squares, ours.spec))
    (tokens,) = seen
    token, patches = tokens[:, 0], tokens[:, 1:].mean(1)
    reference = {
        "token": token,
        "patches": patches,
        "tokenpatches": torch.cat([token, patches], 1),
    }[pooling].numpy()
    assert relative_error(ours(squares), reference) < 1e-5
    grids = ours.grids()
    assert (grids is not None and grids[0].cells == 7) == (pooling == "patches")


def test_a_network_without_tokens_refuses_their_poolings_in_words() -> None:
    with pytest.raises(InputError, match=r"class token and patches.*--pool avg"):
        opened("resnet18", pooling="token")


def test_names_of_families_are_checked(timm) -> None:
    assert is_backbone(TINY)
    assert is_backbone("xrv:densenet121")
    assert not is_backbone("timm:vit_tiny")
    with pytest.raises(UnknownNameError, match="did you mean timm:vit_tiny_patch16_224"):
        opened("timm:vit_tiny_patch16_22")
    with pytest.raises(UnknownNameError, match=f"--weights {TINY}=augreg_in21k"):
        opened(f"{TINY}.augreg_in21k")
    with pytest.raises(UnknownNameError, match="unknown backbone 'nosuch:net'"):
        opened("nosuch:net")


def test_without_timm_the_extra_is_named(monkeypatch) -> None:
    def missing(name: str) -> str:
        raise timm_networks.PackageNotFoundError(name)

    monkeypatch.setattr(timm_networks, "version", missing)
    timm_networks.networks.cache_clear()
    with pytest.raises(MissingExtraError, match=r"cxrfeat\[timm\]"):
        opened(TINY)


@pytest.mark.parametrize(
    ("tag", "stated"),
    [
        ("augreg_in21k_ft_in1k", ("ImageNet-21k", "ImageNet")),
        ("lvd142m", ("LVD-142M",)),
        ("laion2b_ft_in12k_in1k", ("LAION-2B", "ImageNet-21k", "ImageNet")),
        ("unheard_of", None),
    ],
)
def test_timms_tags_say_what_weights_were_trained_on(tag, stated) -> None:
    assert timm_networks.stated_in(tag) == stated


def test_named_weights_of_timm_are_found_in_a_folder_and_in_the_hubs_cache(
    tiny, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("CXRFEAT_WEIGHTS", str(tmp_path / "usb"))
    choice = WeightsChoice("named", "augreg_in21k_ft_in1k")
    with pytest.raises(WeightsError) as caught:
        opened(TINY, choice)
    for part in (str(tmp_path / "usb"), "weights fetch", "augreg_in21k_ft_in1k.safetensors"):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)

    cached = tmp_path / "hub" / "model.safetensors"
    cached.parent.mkdir()
    cached.write_bytes(tiny[1].read_bytes())
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda repo, file: str(cached))
    assert locate_weights(TINY, choice).path == cached
    extractor = opened(TINY, choice)
    assert extractor.weights_name == "augreg_in21k_ft_in1k"
    assert stated_pretraining(TINY, extractor.weights_name) == ["ImageNet-21k", "ImageNet"]

    monkeypatch.setattr("huggingface_hub.hf_hub_url", lambda repo, file: cached.as_uri())
    fetched = fetch_weights(TINY, choice, tmp_path / "usb")
    assert fetched.file == "vit_tiny_patch16_224.augreg_in21k_ft_in1k.safetensors"
    assert fetched.pretraining == ["ImageNet-21k", "ImageNet"]
    assert (
        opened(TINY, WeightsChoice("file", str(fetched.path))).spec["weights"]["sha256"]
        == (extractor.spec["weights"]["sha256"])
    )


def test_missing_weights_of_torchxrayvision_say_how_to_come_by_them(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("CXRFEAT_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match=r"weights convert nih-pc-chex.*--weights random"):
        opened("xrv:densenet121", WeightsChoice())
    assert stated_pretraining("xrv:densenet121", "densenet121-res224-rsna") == ["RSNA pneumonia"]


def test_backbones_lists_every_family(timm) -> None:
    listed = {one.name: one for one in cxrfeat.backbones()}
    assert listed["xrv:densenet121"].dimension == 1024
    assert listed["xrv:densenet121"].pretraining["densenet121-res224-nih"] == ["NIH ChestX-ray14"]
    assert {one.family for one in listed.values()} >= {"torchvision", "packaged"}
    tiny = cxrfeat.backbones("timm:vit_tiny_patch16_224")
    assert [one.name for one in tiny] == [TINY]
    assert "augreg_in21k_ft_in1k" in tiny[0].weights
    assert tiny[0].family == "timm"


def test_the_command_lists_them_by_family() -> None:
    done = run("backbones", "vgg16", "efficientnet_lite0", "vgg19", "xrv:")
    lines = [line.strip() for line in done.stdout.splitlines()]
    headings = ["torchvision:", "packaged:", "torchxrayvision:"]
    assert [line for line in lines if line.endswith(":")] == headings
    order = [line.split()[0] for line in lines if line.startswith(("vgg", "eff", "xrv"))]
    assert order == ["vgg16", "vgg19", "efficientnet_lite0", "xrv:densenet121"]


def test_two_weights_of_one_network_have_a_file_each(timm, tmp_path) -> None:
    (tmp_path / "images").mkdir()
    for number in range(2):
        grey = np.random.default_rng(number).integers(0, 256, (64, 64), np.uint8)
        Image.fromarray(grey).save(tmp_path / "images" / f"{number}.png")
    result = cxrfeat.extract(
        tmp_path / "images", backbone="timm:resnet10t", out=tmp_path / "embeddings",
        weights=["timm:resnet10t=random:1", "timm:resnet10t=random:2"], image_size=64,
        runtime="torch",
    )  # fmt: skip
    assert [file.path.name for file in result.files] == [
        "timm-resnet10t-random1-64.h5",
        "timm-resnet10t-random2-64.h5",
    ]


def test_naming_a_family_imports_nothing_heavy() -> None:
    code = "import sys, cxrfeat.features as f; f.is_backbone('xrv:densenet121'); print([m for m in"
    code += " ('torch', 'timm', 'transformers', 'huggingface_hub', 'sklearn') if m in sys.modules])"
    subprocess.run(  # torchvision's list is kept from now on
        [sys.executable, "-c", "import cxrfeat; cxrfeat.backbones('vgg16')"], check=True
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_explain_shows_what_a_cropping_network_sees(tmp_path) -> None:
    from cxrfeat import inputs
    from cxrfeat.commands.explain import _read
    from cxrfeat.extraction.sources import sources_of

    stored = np.zeros((90, 60), np.uint8)
    stored[15:75] = 255
    Image.fromarray(stored).save(tmp_path / "tall.png")
    (source,) = sources_of(inputs.find(tmp_path)).values()
    seen = {crop: _read(source, images.ReadingOptions(), Framing(32, crop)).radiograph
            for crop in ("none", "centre")}  # fmt: skip
    assert seen["none"].pixels.shape == (90, 60)
    assert (seen["centre"].height, seen["centre"].width) == seen["centre"].pixels.shape == (60, 60)
    assert seen["centre"].pixels.min() == 1
