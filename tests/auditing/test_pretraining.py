"""Weights that were trained on the data are named as a leak."""

import json
from pathlib import Path

import numpy as np
import pytest

from cxrfeat.auditing.pretraining import (
    ALIASES,
    PARTS,
    in_common,
    plain_name,
    pretraining_checks,
)
from cxrfeat.errors import WeightsError
from cxrfeat.evaluation.study.study import Extractor, Study
from cxrfeat.features import stated_pretraining
from cxrfeat.features.weights.sidecar import read_sidecar
from cxrfeat.results.audit import Check, Verdict


def weights_file(folder: Path, pretraining: object = None) -> Path:
    """A sidecar with its file; nothing here loads the tensors."""
    path = folder / "chest.safetensors"
    path.write_bytes(b"tensors")
    sidecar = {"backbone": "vgg16", "input": {"size": 224, "mean": [0.5] * 3, "std": [0.25] * 3}}
    if pretraining is not None:
        sidecar["pretraining"] = pretraining
    path.with_suffix(".json").write_text(json.dumps(sidecar))
    return path


def asked(
    name: str,
    collections: list[str],
    *,
    sources: list[str] | None = None,
    weights: Path | None = None,
) -> Check:
    study = Study(
        ids=["a", "b"], classes=["x", "y"], kind="multiclass", labels=np.eye(2, dtype=np.float32),
        sha256=["", ""], meta={} if sources is None else {"source": np.array(sources)},
        extractors=[], notes=[],
    )  # fmt: skip
    spec = {"backbone": "vgg16", "weights": {"name": name}}
    extractor = Extractor("net", np.zeros((2, 3), np.float32), False, spec, "")
    (check,) = pretraining_checks(
        study, [extractor], collections, None if sources is None else "source",
        weights=[] if weights is None else [str(weights)],
    )  # fmt: skip
    return check


def test_the_same_collection_under_another_name_is_a_leak(tmp_path: Path) -> None:
    path = weights_file(tmp_path, ["ImageNet", "NIH ChestX-ray14"])
    check = asked("chest", ["ChestX-ray8"], weights=path)
    assert check.verdict is Verdict.FOUND
    assert "a leak" in check.answer
    assert "NIH ChestX-ray14" in check.answer
    assert check.candidates[0].facts["weights trained on"] == "NIH ChestX-ray14"


def test_a_collection_that_was_made_of_another_is_a_leak(tmp_path: Path) -> None:
    path = weights_file(tmp_path, ["NIH ChestX-ray14"])
    check = asked("chest", [], sources=["hospital", "RSNA"], weights=tmp_path)
    assert check.verdict is Verdict.FOUND
    assert "holds images of" in check.answer
    assert path.stem == "chest"


def test_another_collection_is_none(tmp_path: Path) -> None:
    path = weights_file(tmp_path, ["CheXpert"])
    check = asked("chest", ["our hospital"], weights=path)
    assert check.verdict is Verdict.NOT_FOUND
    assert "CheXpert" in check.answer


def test_where_nothing_is_stated_it_could_not_be_tested(tmp_path: Path) -> None:
    stated_not = asked("chest", ["CheXpert"], weights=weights_file(tmp_path))
    nowhere = asked("elsewhere", ["CheXpert"])
    of_what = asked("IMAGENET1K_V1", [])
    for check, needed in (
        (stated_not, "pretraining"),
        (nowhere, "--weights"),
        (of_what, "name it"),
    ):
        assert check.verdict is Verdict.UNTESTED
        assert needed in check.answer


def test_photographs_and_random_numbers_are_no_radiographs() -> None:
    assert asked("IMAGENET1K_V1", ["CheXpert"]).verdict is Verdict.NOT_FOUND
    assert asked("random-seed-3", []).verdict is Verdict.NOT_FOUND
    assert stated_pretraining("vgg16", "IMAGENET1K_SWAG_E2E_V1") == ["ImageNet", "Instagram"]


def test_names_are_compared_by_letters_and_digits() -> None:
    assert in_common("MIMIC-CXR", "mimic_cxr_jpg") == "the same collection"
    assert in_common("COVIDx", "RSNA pneumonia")
    assert in_common("COVIDx", "COVID-19 Radiography Database")
    assert not in_common("PadChest", "CheXpert")


@pytest.mark.parametrize(
    ("other", "known"),
    [
        ("nih", "NIH ChestX-ray14"),
        ("NIH Chest X-rays", "NIH ChestX-ray14"),
        ("NIH-CXR14", "NIH ChestX-ray14"),
        ("CXR8", "NIH ChestX-ray14"),
        ("chex", "CheXpert"),
        ("CheXpert-v1.0-small", "CheXpert"),
        ("mimic_ch", "MIMIC-CXR"),
        ("pc", "PadChest"),
        ("BIMCV-PadChest", "PadChest"),
        ("Chest X-Ray Images (Pneumonia)", "Kermany pneumonia"),
        ("COVID-19 Image Data Collection", "covid-chestxray-dataset"),
    ],
)
def test_collections_go_by_the_names_that_others_give_them(other: str, known: str) -> None:
    assert in_common(other, known) == "the same collection"


def test_every_name_is_of_one_collection_and_every_part_is_known() -> None:
    names = [name for others in ALIASES.values() for name in others]
    assert len(names) == len(set(names))
    assert all(name == plain_name(name) for name in names)
    assert set(PARTS).union(*PARTS.values()) <= set(ALIASES)


def test_collections_of_collections_hold_what_their_parts_hold() -> None:
    for whole, parts in PARTS.items():
        for part in parts:
            assert PARTS.get(part, frozenset()) - {"Kermany pneumonia"} <= parts, (whole, part)
    assert in_common("SIIM-ACR Pneumothorax", "RSNA") == "both hold images of NIH ChestX-ray14"
    assert in_common("COVIDx CXR-4", "MIDRC-RICORD-1c")


@pytest.mark.parametrize("wrong", ["ImageNet", [1], [""], {"a": 1}])
def test_a_sidecar_lists_names(tmp_path: Path, wrong: object) -> None:
    with pytest.raises(WeightsError, match="pretraining"):
        read_sidecar(weights_file(tmp_path, wrong))
