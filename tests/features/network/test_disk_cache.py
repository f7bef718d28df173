"""From its second use on, a network opens without torch, and is the same."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from cxrfeat.features import Extractor, WeightsChoice, add_weights, open_extractor
from cxrfeat.features.network import disk_cache, torchvision_catalogue
from cxrfeat.features.network.architecture import build

NAME = "squeezenet1_1"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("CXRFEAT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def opened(choice: WeightsChoice | None = None, **options) -> Extractor:
    choice = choice or WeightsChoice("random")
    options = {"image_size": 64, "device": "cpu", "runtime": "ncnn"} | options
    return open_extractor(NAME, weights=choice, **options)


def is_made_again(monkeypatch) -> list[str]:
    """Every extractor that is made with torch from now on."""
    from cxrfeat.features import opening

    made = []
    original = opening.opened

    def counting(backbone, *rest):
        made.append(backbone)
        return original(backbone, *rest)

    monkeypatch.setattr(opening, "opened", counting)
    return made


def pictures(count: int) -> np.ndarray:
    return np.random.default_rng(0).random((count, 64, 64), np.float32)


@pytest.mark.parametrize("runtime", ["ncnn", "openvino"])
def test_the_second_command_imports_no_torch_and_gives_the_same_file(
    tmp_path, runtime: str
) -> None:
    from PIL import Image

    (tmp_path / "images").mkdir()
    for number, picture in enumerate(pictures(3)):
        Image.fromarray((picture * 255).astype(np.uint8)).save(
            tmp_path / "images" / f"{number}.png"
        )
    code = (
        "import json, sys, cxrfeat\n"
        f"result = cxrfeat.extract('images', backbone=['{NAME}'], weights=['random'], "
        f"image_size=64, device='cpu', runtime='{runtime}', out=sys.argv[1])\n"
        "heavy = [name for name in ('torch', 'torchvision', 'sklearn') if name in sys.modules]\n"
        "rows = cxrfeat.load(result.files[0].path)\n"
        "print(json.dumps([heavy, result.files[0].fingerprint, rows.numpy().tolist()]))"
    )
    told = []
    for out in ("first", "second"):
        done = subprocess.run(
            [sys.executable, "-c", code, out],
            cwd=tmp_path, capture_output=True, text=True, timeout=300, check=True,
        )  # fmt: skip
        told.append(json.loads(done.stdout))
    (first, *file), (second, *same_file) = told
    assert "torch" in first
    assert second == []
    assert file == same_file


def test_what_is_kept_is_the_extractor_that_was_made(monkeypatch) -> None:
    made = is_made_again(monkeypatch)
    for options in ({}, {"pooling": "multi"}, {"image_size": 96}, {"runtime": "auto"}):
        first, second = opened(**options), opened(**options)
        assert second.description == first.description
        size = first.image_size
        images = np.random.default_rng(1).random((2, size, size), np.float32)
        np.testing.assert_array_equal(second(images), first(images))
    assert len(made) in (4, 5)  # with "auto", torch may be the fastest, and is not kept


def test_other_weights_under_the_same_name_are_another_extractor(tmp_path, monkeypatch) -> None:
    made = is_made_again(monkeypatch)
    path = tmp_path / "mine.pth"
    choice = WeightsChoice("file", str(path))
    hashes = set()
    for seed in (1, 2):
        torch.save(build(NAME, seed).state_dict(), path)
        path.with_suffix(".json").unlink(missing_ok=True)
        add_weights(path, NAME, 64, None, None)
        hashes |= {opened(choice).spec["weights"]["sha256"] for _ in range(2)}
    assert len(hashes) == len(made) == 2


def test_another_preprocessing_of_the_same_file_is_another_extractor(tmp_path) -> None:
    path = tmp_path / "mine.pth"
    torch.save(build(NAME).state_dict(), path)
    add_weights(path, NAME, 64, None, None)
    choice = WeightsChoice("file", str(path))
    first = opened(choice)
    sidecar = json.loads(path.with_suffix(".json").read_text())
    sidecar["input"]["mean"] = [0.5, 0.5, 0.5]
    path.with_suffix(".json").write_text(json.dumps(sidecar))
    assert opened(choice).spec["preprocessing"]["mean"] == [0.5, 0.5, 0.5]
    assert first.spec["preprocessing"]["mean"] != [0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    "content",
    [
        *("", "[]", "{}", '{"runs": "nowhere"}', '{"runtime": "torch", "runs": "nowhere"}'),
        *('{"runtime": "ncnn", "runs": "nowhere"}', '{"runtime": "openvino", "runs": 3}'),
    ],
)
def test_a_damaged_record_is_made_again(cache: Path, monkeypatch, content: str) -> None:
    first = opened()
    (record,) = (cache / "extractors").iterdir()
    whole = record.read_text()
    record.write_text(content)
    made = is_made_again(monkeypatch)
    assert opened().description == first.description
    assert made == [NAME]
    assert record.read_text() == whole


def test_a_change_of_the_package_makes_everything_again(monkeypatch) -> None:
    opened()
    made = is_made_again(monkeypatch)
    monkeypatch.setattr(disk_cache, "makers", lambda: "another version")
    opened()
    assert made == [NAME]


def test_the_registry_that_is_kept_is_torchvisions(cache: Path) -> None:
    torchvision_catalogue.networks.cache_clear()
    fresh = torchvision_catalogue.networks()
    (path,) = (cache / "torchvision").iterdir()
    torchvision_catalogue.networks.cache_clear()
    assert torchvision_catalogue.networks() == fresh == torchvision_catalogue._from_torchvision()
    path.write_text('{"vgg16": {}}')
    torchvision_catalogue.networks.cache_clear()
    assert torchvision_catalogue.networks() == fresh


def test_where_nothing_can_be_kept_it_is_made_each_time(tmp_path: Path, monkeypatch) -> None:
    """A service account's home is often /dev/null, below which there is not even nothing."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("CXRFEAT_CACHE", str(tmp_path / "file" / "cache"))
    torchvision_catalogue.networks.cache_clear()
    assert NAME in torchvision_catalogue.networks()
    assert opened(runtime="torch").dimension == 512
