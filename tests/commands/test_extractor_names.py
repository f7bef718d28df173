"""Two weights of one backbone are two extractors, with a file and a name each."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

import cxrfeat
from cxrfeat import features
from cxrfeat.errors import InputError, SpecMismatchError
from cxrfeat.extraction.file_names import Wanted, check_names, name_files
from cxrfeat.features import WeightsChoice, assign_each
from cxrfeat.features.network.architecture import build
from tests.test_cli import run

NAME = "squeezenet1_1"
OPTIONS = {"backbone": [NAME], "device": "cpu", "runtime": "torch"}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for label in range(2):
        (tmp_path / "images" / str(label)).mkdir(parents=True)
        for number in range(8):
            pixels = np.random.default_rng((label, number)).integers(0, 120, (70, 70), np.uint8)
            Image.fromarray(pixels + 60 * label).save(
                tmp_path / "images" / str(label) / f"{number}.png"
            )
    return tmp_path / "images"


def write_weights(path: Path, seed: int, backbone: str = NAME) -> Path:
    path.parent.mkdir(exist_ok=True)
    save_file(build(backbone, seed).state_dict(), path)
    described = {"backbone": backbone, "input": {"size": 64, "mean": [0.5] * 3, "std": [0.25] * 3}}
    path.with_suffix(".json").write_text(json.dumps(described))
    return path


@pytest.fixture
def one(tmp_path: Path) -> Path:
    return write_weights(tmp_path / "one.safetensors", 1)


@pytest.fixture
def other(tmp_path: Path) -> Path:
    return write_weights(tmp_path / "other.safetensors", 2)


def stems(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.h5"))


def test_two_weights_of_a_backbone_are_extracted_at_once_compared_and_predicted(
    images, one, other, tmp_path
) -> None:
    weights = [f"{NAME}={one}", f"{NAME}={other}"]
    result = cxrfeat.extract(images, weights=weights, out=tmp_path / "e", **OPTIONS)
    assert [file.name for file in result.files] == [f"{NAME}-one", f"{NAME}-other"]
    assert [file.weights for file in result.files] == ["one", "other"]
    assert result.read == 16
    assert len({file.fingerprint for file in result.files}) == 2

    fitted = cxrfeat.fit(
        tmp_path / "e", head=["logreg"], out=tmp_path / "run", report=False, cv=2, jobs=1,
        combine=[f"{NAME}-one+{NAME}-other"],
    )  # fmt: skip
    names = {row.extractor for row in fitted.ranking}
    assert names == {f"{NAME}-one", f"{NAME}-other", f"{NAME}-one+{NAME}-other"}

    again = cxrfeat.extract(images, weights=weights, out=tmp_path / "e", **OPTIONS)
    assert [(file.computed, file.reused) for file in again.files] == [(0, 16), (0, 16)]


def test_a_model_of_two_weights_of_a_backbone_finds_each_by_its_name(
    images, one, other, tmp_path
) -> None:
    from cxrfeat.prediction.embedded import reopen_all

    weights = [str(one), str(other)]
    result = cxrfeat.extract(images, weights=weights, out=tmp_path / "e", **OPTIONS)
    specs = {}
    for file in result.files:
        with cxrfeat.load(file.path) as embeddings:
            specs[file.name] = embeddings.spec
    for sources in (weights, weights[::-1], [str(tmp_path)]):
        opened = reopen_all(specs, weights=sources, device="cpu")
        assert [extractor.weights_name for extractor in opened.values()] == ["one", "other"]


def test_weights_of_a_file_have_the_backbones_name_while_it_is_free(
    images, one, other, tmp_path
) -> None:
    without = {key: value for key, value in OPTIONS.items() if key != "backbone"}
    first = cxrfeat.extract(images, weights=[str(one)], out=tmp_path / "e", **without)
    assert [file.name for file in first.files] == [NAME]
    second = cxrfeat.extract(images, weights=[str(other)], out=tmp_path / "e", **OPTIONS)
    assert second.files[0].name == f"{NAME}-other"
    assert any("has the weights one" in note for note in second.notes)
    both = cxrfeat.extract(images, weights=[str(other), str(one)], out=tmp_path / "e", **OPTIONS)
    assert [(file.name, file.reused) for file in both.files] == [(f"{NAME}-other", 16), (NAME, 16)]
    assert stems(tmp_path / "e") == [NAME, f"{NAME}-other"]


def described(name: str, choice: WeightsChoice, sha256: str) -> Wanted:
    spec = {"backbone": NAME, "weights": {"name": name, "sha256": sha256}}
    return Wanted(choice, features.Description(NAME, name, 224, 512, spec), ())


def test_the_pinned_weights_keep_the_backbones_name_beside_a_file(tmp_path) -> None:
    pinned = described("IMAGENET1K_V1", WeightsChoice("named", "IMAGENET1K_V1"), "a")
    mine = described("mine", WeightsChoice("file", "mine.pth"), "b")
    v2 = described("IMAGENET1K_V2", WeightsChoice("named", "IMAGENET1K_V2"), "c")
    control = described("random-seed-3", WeightsChoice("random", seed=3), "d")
    for wanted, names in (
        ([pinned, mine], [NAME, f"{NAME}-mine"]),
        ([mine, pinned], [f"{NAME}-mine", NAME]),
        ([mine, v2, control], [NAME, f"{NAME}-imagenet1k_v2", f"{NAME}-random3"]),
        ([pinned], [NAME]),
    ):
        assert name_files(wanted, tmp_path) == (names, [])


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        (f"{NAME}-RadImageNet", f"{NAME}-radimagenet"),
        ("Rad Image+Net (v2)", f"{NAME}-rad-image-net-v2"),
        (NAME, f"{NAME}-{NAME}"),
    ],
)
def test_a_name_is_made_of_the_files_name(tmp_path, stem: str, name: str) -> None:
    file = described(stem, WeightsChoice("file", f"{stem}.pth"), "a")
    rival = described("x", WeightsChoice("file", "x.pth"), "b")
    assert name_files([file, rival], tmp_path)[0] == [name, f"{NAME}-x"]


def test_files_of_one_name_in_two_folders_need_a_name(images, tmp_path) -> None:
    paths = [write_weights(tmp_path / place / "w.safetensors", n) for n, place in enumerate("ab")]
    weights = [str(path) for path in paths]
    with pytest.raises(InputError, match="--name"):
        cxrfeat.extract(images, weights=weights, out=tmp_path / "e", **OPTIONS)
    result = cxrfeat.extract(
        images, weights=weights, name=["first", "second"], out=tmp_path / "e", **OPTIONS
    )
    assert stems(tmp_path / "e") == ["first", "second"]
    assert [file.computed for file in result.files] == [16, 16]


def test_a_weights_file_that_changed_is_refused_with_the_mend(images, one, tmp_path) -> None:
    cxrfeat.extract(images, weights=[str(one)], out=tmp_path / "e", **OPTIONS)
    write_weights(one, 7)
    with pytest.raises(SpecMismatchError, match="--name") as caught:
        cxrfeat.extract(images, weights=[str(one)], out=tmp_path / "e", **OPTIONS)
    assert any(line.startswith("weights.sha256") for line in caught.value.difference)
    named = cxrfeat.extract(images, weights=[str(one)], name="new", out=tmp_path / "e", **OPTIONS)
    assert named.files[0].computed == 16


def test_a_name_that_a_file_of_other_weights_has_is_refused(images, one, other, tmp_path) -> None:
    cxrfeat.extract(images, weights=[str(one)], name="mine", out=tmp_path / "e", **OPTIONS)
    with pytest.raises(SpecMismatchError):
        cxrfeat.extract(images, weights=[str(other)], name="mine", out=tmp_path / "e", **OPTIONS)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["a"], "1 times for 2 extractors.*vgg16, resnet50"),
        (["a", "A"], "twice"),
        (["a", "b+c"], "letters"),
        (["a", "../b"], "letters"),
        (["a", ".b"], "letters"),
        (["a", "b.h5"], "leave out"),
        (["a", ""], "letters"),
    ],
)
def test_names_that_cannot_be_used_are_refused(names: list[str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        check_names(names, ["vgg16", "resnet50"])


def test_every_source_of_a_backbone_is_an_extractor_of_its_own(one, other) -> None:
    mine, theirs = WeightsChoice("file", str(one)), WeightsChoice("file", str(other))
    assert assign_each([NAME], [str(one), str(other)]) == [(NAME, mine), (NAME, theirs)]
    assert assign_each(["vgg16", NAME], [f"{NAME}=random", "IMAGENET1K_V1", str(one)]) == [
        ("vgg16", WeightsChoice("named", "IMAGENET1K_V1")),
        (NAME, WeightsChoice("random")),
        (NAME, mine),
    ]
    assert assign_each([NAME, NAME], [f"{NAME}=random", str(one)]) == [
        (NAME, WeightsChoice("random")),
        (NAME, mine),
    ]


@pytest.mark.parametrize(
    ("backbones", "sources"),
    [
        ([NAME], ["random", "IMAGENET1K_V1"]),
        ([NAME], ["IMAGENET1K_V1", f"{NAME}=random"]),
        ([NAME, NAME], []),
        ([NAME, NAME], ["random"]),
        ([NAME, NAME], [f"{NAME}=random"]),
    ],
)
def test_weights_that_would_override_others_are_refused_with_the_form(backbones, sources) -> None:
    with pytest.raises(InputError, match=f"--weights {NAME}=.* --weights {NAME}="):
        assign_each(backbones, sources)


def test_the_same_weights_twice_are_refused() -> None:
    with pytest.raises(InputError, match="twice"):
        assign_each([NAME], [f"{NAME}=random", f"{NAME}=random:0"])


def test_the_command_takes_two_weights_and_two_names(images, tmp_path) -> None:
    done = run(
        *("extract", "images", "--backbone", NAME, "--image-size", "64", "--device", "cpu"),
        *("--weights", f"{NAME}=random:1", "--weights", f"{NAME}=random:2"),
        *("--name", "one", "--name", "two", "--json"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert [file["name"] for file in json.loads(done.stdout)["files"]] == ["one", "two"]
    assert stems(tmp_path / "embeddings") == ["one", "two"]
