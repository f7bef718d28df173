"""Weights are found, checked and loaded strictly, and nothing in them is executed."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from cxrfeat import features
from cxrfeat.errors import InputError, UnknownNameError, WeightsError
from cxrfeat.features import (
    WeightsChoice,
    assign_weights,
    named_backbones,
    open_extractor,
)
from cxrfeat.features.network.architecture import build
from cxrfeat.features.network.backbones import check_name, named_weights
from cxrfeat.features.weights.find import find
from cxrfeat.features.weights.load import load, tensors_sha256
from cxrfeat.features.weights.sidecar import read_sidecar

# Small and quick to build; its tensors stand in for a real download.
NAME = "squeezenet1_1"


def write_weights(folder: Path, backbone: str = NAME, *, seed: int = 5, suffix: str = ".pth"):
    """A file of a network's tensors with its sidecar."""
    path = folder / f"{backbone}{suffix}"
    tensors = build(backbone, seed).state_dict()
    if suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path)
    sidecar = {"backbone": backbone, "input": {"size": 224, "mean": [0.5] * 3, "std": [0.25] * 3}}
    path.with_suffix(".json").write_text(json.dumps(sidecar))
    return path


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """No cached weights, and a proxy that refuses at once."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("CXRFEAT_WEIGHTS", raising=False)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    torch.hub.set_dir(str(tmp_path / "torch" / "hub"))
    yield tmp_path
    torch.hub._hub_dir = None


def test_the_three_default_backbones_use_imagenet1k_v1() -> None:
    for name in ("vgg16", "vgg19", "resnet50"):
        assert next(iter(named_weights(name))) == "IMAGENET1K_V1"


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_local_file_brings_its_own_preprocessing(tmp_path, suffix) -> None:
    path = write_weights(tmp_path, suffix=suffix)
    extractor = open_extractor(NAME, weights=WeightsChoice("file", str(path)), device="cpu")
    assert extractor.spec["preprocessing"]["mean"] == [0.5] * 3
    assert extractor.spec["preprocessing"]["std"] == [0.25] * 3
    assert extractor.spec["weights"]["name"] == NAME
    assert not extractor.is_control


def test_the_hash_is_of_the_tensors_not_of_the_file(tmp_path) -> None:
    hashes = set()
    for suffix in (".pth", ".safetensors"):
        path = write_weights(tmp_path, suffix=suffix)
        hashes.add(tensors_sha256(load(NAME, find(NAME, WeightsChoice("file", str(path)))).network))
    assert len(hashes) == 1
    assert tensors_sha256(build(NAME, 6)) not in hashes


def test_real_vgg16_weights_load_and_need_no_classifier(vgg16_weights) -> None:
    choice = WeightsChoice("file", str(vgg16_weights))
    first = load("vgg16", find("vgg16", choice)).network.get_submodule("features.0").weight
    torch.testing.assert_close(
        first.contiguous(), load_file(vgg16_weights)["features.0.weight"], rtol=0, atol=0
    )
    assert open_extractor("vgg16", weights=choice, device="cpu").dimension == 512


def test_random_weights_are_seeded_and_called_random() -> None:
    def embed(seed: int) -> tuple[np.ndarray, features.Extractor]:
        extractor = open_extractor(NAME, weights=WeightsChoice("random", seed=seed), device="cpu")
        return extractor(np.full((2, 224, 224), 0.5, np.float32)), extractor

    (first, extractor), (again, _), (other, _) = embed(0), embed(0), embed(1)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert extractor.is_control
    assert extractor.weights_name == "random-seed-0"


def test_building_leaves_torchs_random_state_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    build(NAME, seed=9)
    assert torch.rand(1) == expected


def test_weights_of_another_network_are_refused_by_their_sidecar(tmp_path) -> None:
    path = write_weights(tmp_path, "squeezenet1_0")
    with pytest.raises(WeightsError, match=r"holds weights of squeezenet1_0.*--backbone squeeze"):
        load(NAME, find(NAME, WeightsChoice("file", str(path))))


def test_weights_of_another_network_are_refused_by_their_tensors(tmp_path) -> None:
    path = write_weights(tmp_path)
    torch.save(build("squeezenet1_0").state_dict(), path)
    with pytest.raises(WeightsError, match=r"another network than SqueezeNet.*size mismatch"):
        load(NAME, find(NAME, WeightsChoice("file", str(path))))
    torch.save({**build(NAME).state_dict(), "extra.weight": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match=r"'extra\.weight'"):
        load(NAME, find(NAME, WeightsChoice("file", str(path))))


def test_a_missing_tensor_below_the_pooled_layer_is_refused(tmp_path) -> None:
    path = write_weights(tmp_path)
    tensors = build(NAME).state_dict()
    del tensors["features.0.bias"]
    torch.save(tensors, path)
    with pytest.raises(WeightsError, match=r"lacks 1 tensors.*'features.0.bias'"):
        open_extractor(NAME, weights=WeightsChoice("file", str(path)))


class _Touch:
    """An object that leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (os.mkdir, (str(self.mark),))


def test_a_file_with_objects_is_refused_and_nothing_runs(tmp_path) -> None:
    path = write_weights(tmp_path)
    with path.open("wb") as file:
        pickle.dump({"features.0.weight": _Touch(tmp_path / "ran")}, file)
    with pytest.raises(WeightsError, match=r"squeezenet1_1\.pth"):
        load(NAME, find(NAME, WeightsChoice("file", str(path))))
    torch.save({"features.0.weight": _Touch(tmp_path / "ran")}, path)
    with pytest.raises(WeightsError, match="besides tensors"):
        load(NAME, find(NAME, WeightsChoice("file", str(path))))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("keep", [0, 10, 5000])
def test_a_truncated_file_is_refused(tmp_path, suffix, keep) -> None:
    path = write_weights(tmp_path, suffix=suffix)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(WeightsError, match=path.name):
        load(NAME, find(NAME, WeightsChoice("file", str(path))))


@pytest.mark.parametrize(
    "content",
    [
        *("", "{}", "[]", '{"backbone": "vgg16"}', '{"backbone": 3, "input": {}}'),
        '{"backbone": "vgg16", "input": {"size": 224, "mean": [0, 0, 0], "std": [0, 1, 1]}}',
    ],
)
def test_a_sidecar_that_says_too_little_is_refused(tmp_path, content) -> None:
    path = write_weights(tmp_path)
    path.with_suffix(".json").write_text(content)
    with pytest.raises(WeightsError, match="must hold"):
        read_sidecar(path)


def test_a_sidecar_with_another_hash_is_refused(tmp_path) -> None:
    path = write_weights(tmp_path)
    sidecar = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps({**sidecar, "sha256": "0" * 64}))
    with pytest.raises(WeightsError, match="another sha256"):
        read_sidecar(path)


def test_a_file_without_sidecar_names_the_command_that_writes_one(tmp_path) -> None:
    path = write_weights(tmp_path)
    path.with_suffix(".json").unlink()
    with pytest.raises(WeightsError, match="cxrfeat weights add"):
        load(NAME, find(NAME, WeightsChoice("file", str(path))))
    added = features.add_weights(path, NAME, None, None, None)
    assert added.sha256
    assert not open_extractor(NAME, weights=WeightsChoice("file", str(path))).is_control


def test_adding_weights_that_do_not_fit_leaves_no_sidecar(tmp_path) -> None:
    path = write_weights(tmp_path)
    path.with_suffix(".json").unlink()
    with pytest.raises(WeightsError):
        features.add_weights(path, "resnet18", None, None, None)
    assert not path.with_suffix(".json").exists()


def test_a_damaged_cached_file_is_named(offline) -> None:
    cache = offline / "torch" / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    (cache / "squeezenet1_1-b8a52dc0.pth").write_bytes(b"half a download")
    with pytest.raises(WeightsError, match=r"damaged.*remove it"):
        find(NAME, WeightsChoice())


def test_without_network_one_line_names_the_file_the_place_and_the_other_ways(offline) -> None:
    with pytest.raises(WeightsError) as caught:
        find("vgg19", WeightsChoice(folders=(offline / "usb",)))
    message = str(caught.value)
    assert "\n" not in message
    for part in (
        *("vgg19-dcbb9e9d.pth", str(offline / "usb"), "checkpoints", "cxrfeat weights fetch vgg19"),
        *("--weights random", "efficientnet_lite0"),
    ):
        assert part in message


def test_folders_are_searched_for_files_with_a_sidecar(offline, monkeypatch) -> None:
    folder = offline / "carried"
    folder.mkdir()
    write_weights(folder)
    assert find(NAME, WeightsChoice(folders=(folder,))).name == NAME
    monkeypatch.setenv("CXRFEAT_WEIGHTS", str(folder))
    assert find(NAME, WeightsChoice()).name == NAME


def test_packaged_weights_need_no_network(offline) -> None:
    extractor = open_extractor("efficientnet_lite0", device="cpu")
    assert extractor.dimension == 1280
    assert extractor.weights_name == "imagenet-efficientnet-lite0-57934424"
    # The network saw (x - 127) / 128 in training.
    mean, std = (extractor.spec["preprocessing"][key][0] * 255 for key in ("mean", "std"))
    assert (mean, std) == pytest.approx((127, 128))


def test_weights_are_assigned_by_name_by_sidecar_and_in_common(tmp_path) -> None:
    path = write_weights(tmp_path)
    backbones = ["vgg16", NAME, "resnet50"]
    chosen = assign_weights(backbones, [str(path), "resnet50=random:7", "IMAGENET1K_V1"])
    assert chosen[NAME] == WeightsChoice("file", str(path))
    assert chosen["resnet50"] == WeightsChoice("random", seed=7)
    assert chosen["vgg16"] == WeightsChoice("named", "IMAGENET1K_V1")
    everywhere = assign_weights(backbones, ["random", str(tmp_path)])
    assert {choice.kind for choice in everywhere.values()} == {"random"}
    assert all(choice.folders == (tmp_path,) for choice in everywhere.values())


def test_weights_for_a_backbone_that_is_not_extracted_are_refused(tmp_path) -> None:
    path = write_weights(tmp_path)
    with pytest.raises(WeightsError, match=f"--backbone {NAME}"):
        assign_weights(["vgg16"], [str(path)])
    with pytest.raises(InputError, match="--backbone vgg19"):
        assign_weights(["vgg16"], ["vgg19=random"])
    with pytest.raises(UnknownNameError, match="did you mean vgg19"):
        assign_weights(["vgg16"], ["vgg91=random"])
    with pytest.raises(WeightsError, match="no such file"):
        assign_weights(["vgg16"], [str(tmp_path / "none.pth")])


def test_a_name_that_the_backbone_has_no_weights_of_lists_those_it_has() -> None:
    with pytest.raises(UnknownNameError, match="IMAGENET1K_V1"):
        find("vgg19", WeightsChoice("named", "IMAGENET1K_V9"))


def test_wrong_names_bring_the_nearest_valid_ones() -> None:
    with pytest.raises(UnknownNameError, match="resnet50"):
        open_extractor("resnet-50")
    with pytest.raises(UnknownNameError, match="avgmax"):
        open_extractor(NAME, weights=WeightsChoice("random"), pooling="avgmx")
    with pytest.raises(UnknownNameError, match="bf16"):
        open_extractor(NAME, weights=WeightsChoice("random"), precision="bfloat16")
    with pytest.raises(InputError, match="bf16 or fp32"):
        open_extractor(NAME, weights=WeightsChoice("random"), precision="fp16", device="cpu")
    with pytest.raises(InputError, match="not available"):
        open_extractor(NAME, weights=WeightsChoice("random"), device="mps")
    with pytest.raises(InputError, match="32 pixels"):
        open_extractor(NAME, weights=WeightsChoice("random"), image_size=8)


def test_bf16_stays_near_fp32() -> None:
    choice = WeightsChoice("random")
    images = np.random.default_rng(0).random((2, 224, 224), np.float32)
    exact = open_extractor(NAME, weights=choice, device="cpu")(images)
    rough = open_extractor(NAME, weights=choice, device="cpu", precision="bf16")(images)
    error = np.linalg.norm(rough - exact) / np.linalg.norm(exact)
    assert 0 < error < 1e-2


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("VGG-16", "did you mean vgg16"),
        ("ResNet 50", "did you mean resnet50"),
        ("vgg16,vgg19", "--backbone vgg16 --backbone vgg19"),
        ("vgg19=random", "--backbone vgg19 --weights vgg19=random"),
        ("vg16", "did you mean vgg16"),
    ],
)
def test_a_backbone_in_other_words_is_told_what_to_type(name: str, meant: str) -> None:
    with pytest.raises(UnknownNameError) as error:
        check_name(name)
    assert meant in str(error.value)
    assert "valid names" not in str(error.value)


def test_weights_say_which_backbones_they_are_of(tmp_path) -> None:
    path = write_weights(tmp_path)
    named = named_backbones([str(path), "resnet50=random", str(tmp_path), "resnet50=random:1"])
    assert named == [NAME, "resnet50"]
    assert named_backbones(["random"]) == []
