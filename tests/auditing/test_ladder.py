"""The ladder on real radiographs, and on files that are hardly any."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import cxrfeat
from cxrfeat.auditing.asked_of_pictures import Asked
from cxrfeat.auditing.ladder import control_checks, file_matrix, shown_for_ladder
from cxrfeat.auditing.networks import Networks, how_read, open_networks
from cxrfeat.auditing.picture_checks import picture_checks
from cxrfeat.auditing.pictures import find_sources, look_at_pictures
from cxrfeat.auditing.seen import FileFacts, Seen
from cxrfeat.comparison.loaded_study import load_study
from cxrfeat.evaluation.audit.control_checks import headline
from cxrfeat.evaluation.audit.subject import Subject
from cxrfeat.evaluation.heads.registry import HEADS
from cxrfeat.evaluation.statistics import metrics
from cxrfeat.evaluation.study.design import Asked as Folds
from cxrfeat.evaluation.study.design import plan_comparison
from cxrfeat.results.audit import Verdict


def subject_of(embeddings: Path, cv: int = 5) -> Subject:
    study, design = plan_comparison(load_study(embeddings), Folds(cv=cv))
    return Subject(study, design, HEADS["logreg"], metrics.metric("auroc"))


def look(subject: Subject, images: Path, networks: Networks | None = None) -> Seen:
    networks = networks or Networks(how_read(subject.study.extractors))
    asked = Asked(shown=shown_for_ladder(networks)) if networks.audited else None
    sources = find_sources(subject.study, images)
    return look_at_pictures(subject.study, sources, networks.reading, asked, workers=2)


def scores(table_rows: list[list]) -> dict[str, float]:
    return {row[0]: row[2] for row in table_rows}


@pytest.fixture(scope="module")
def some_radiographs(radiographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every fourth of the 317, in their folders."""
    root = tmp_path_factory.mktemp("some")
    for path in sorted(radiographs.glob("*/*/*"))[::4]:
        target = root / path.relative_to(radiographs)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(path)
    return root


def test_the_frame_of_some_real_radiographs_tells_the_classes_apart(
    some_radiographs: Path, tmp_path: Path
) -> None:
    cxrfeat.extract(
        some_radiographs, backbone=["squeezenet1_1"], weights=["random:1"], image_size=64,
        out=tmp_path, name=["net"],
    )  # fmt: skip
    subject = subject_of(tmp_path)
    networks = open_networks(subject.study.extractors, device="cpu")
    assert any("random weights itself" in note for note in networks.notes)
    checks, (ladder,) = control_checks(subject, look(subject, some_radiographs, networks), ["net"])
    blind, _ = checks
    of = scores(blind.tables[0].rows)
    assert list(of) == [
        "majority", "file metadata", "outer frame, 32 x 32 pixels", "outer frame through net",
        "centre masked, 32 x 32 pixels", "centre masked through net", "grey mean and spread",
        "8 x 8 pixels", "32 x 32 pixels", "net",
    ]  # fmt: skip
    assert blind.verdict is Verdict.FOUND
    assert of["outer frame, 32 x 32 pixels"] > 0.8
    assert of["majority"] == 0.5
    assert "Without seeing the lungs, 'outer frame" in headline(ladder)


@pytest.mark.slow
def test_the_ladder_of_all_317(radiographs: Path, vgg16_weights: Path, tmp_path: Path) -> None:
    weights = [str(vgg16_weights)]
    cxrfeat.extract(radiographs, backbone=["vgg16"], weights=weights, out=tmp_path)
    subject = subject_of(tmp_path)
    networks = open_networks(subject.study.extractors, weights=weights)
    checks, (ladder,) = control_checks(subject, look(subject, radiographs, networks), ["vgg16"])
    of = scores(checks[0].tables[0].rows)
    assert of["outer frame, 32 x 32 pixels"] == pytest.approx(0.949, abs=0.01)
    assert of["outer frame through vgg16"] == pytest.approx(0.971, abs=0.01)
    assert of["random weights of vgg16"] == pytest.approx(0.991, abs=0.01)
    assert of["vgg16"] == pytest.approx(0.996, abs=0.01)
    assert [check.verdict for check in checks] == [Verdict.FOUND, Verdict.FOUND]
    assert "'outer frame through vgg16' reaches 95%" in headline(ladder)


def test_files_that_are_hardly_radiographs_do_not_stop_it(real_dicom: Path, tmp_path: Path) -> None:
    files = sorted(real_dicom.glob("*.dcm"))
    for number, path in enumerate(files):
        target = tmp_path / "images" / f"class {number % 2}" / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(path)
    cxrfeat.extract(
        tmp_path / "images", backbone=["squeezenet1_1"], weights=["random:1"], image_size=64,
        modality=["any"], frame=0, out=tmp_path / "embeddings", name=["net"],
    )  # fmt: skip
    subject = subject_of(tmp_path / "embeddings", cv=2)
    networks = open_networks(subject.study.extractors, device="cpu")
    seen = look(subject, tmp_path / "images", networks)
    checks, _ = control_checks(subject, seen, ["net"])
    assert len(seen.rows) == len(subject.study) > 8
    assert checks[0].verdict is Verdict.UNTESTED
    assert len(picture_checks(subject.study, seen)) == 6


def test_metadata_that_says_nothing_is_a_level_of_its_own() -> None:
    def file(bits: int, **words: str) -> FileFacts:
        numbers = {"bytes": 1024.0, "height": 32.0, "width": 32.0, "bits": float(bits)}
        return FileFacts(numbers, {"format": "DICOM", **words})

    X = file_matrix([file(8), file(8, view="PA"), file(16, view=""), file(8, view="AP")])
    columns = {tuple(column) for column in X.T.round(3).tolist()}
    assert columns == {(3, 3, 4, 3), (1, 0, 1, 0), (0, 1, 0, 0), (0, 0, 0, 1)}
    assert file_matrix([file(8), file(8)]).shape == (2, 1)


def test_of_images_that_are_gone_the_rest_is_scored(some_radiographs: Path, tmp_path: Path) -> None:
    cxrfeat.extract(
        some_radiographs, backbone=["squeezenet1_1"], weights=["random:1"], image_size=64,
        out=tmp_path / "embeddings", name=["net"],
    )  # fmt: skip
    subject = subject_of(tmp_path / "embeddings")
    for id_ in subject.study.ids[::2]:
        target = tmp_path / "images" / id_
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((some_radiographs / id_).read_bytes())
    seen = look(subject, tmp_path / "images")
    assert seen.notes == [
        "40 of 80 images were not found below --images: their pictures were left out"
    ]
    checks, (ladder,) = control_checks(subject, seen, ["net"])
    assert len(ladder.full.contributions) == np.ceil(len(subject.study) / 2)
    assert checks[0].tables
