"""A mark in a corner that is tied to a class: named, paid for in the score, and pointed at."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cxrfeat
from cxrfeat import images
from cxrfeat.auditing.asked_of_pictures import CORNER_MARK, Asked
from cxrfeat.auditing.corner_mark import FEWEST, RATE, corner_mark_check, deal
from cxrfeat.auditing.networks import open_networks
from cxrfeat.auditing.pictures import find_sources, look_at_pictures
from cxrfeat.auditing.seen import SMALL, Seen
from cxrfeat.comparison.loaded_study import load_study
from cxrfeat.evaluation.audit.attributes import attribute_checks
from cxrfeat.evaluation.audit.subject import Subject
from cxrfeat.evaluation.heads.registry import HEADS
from cxrfeat.evaluation.statistics import metrics
from cxrfeat.evaluation.study.design import Asked as Folds
from cxrfeat.evaluation.study.design import plan_comparison
from cxrfeat.images.drawing.phantom import CLASSES, Anatomy, draw_phantom
from cxrfeat.images.masking import MARK_AWAY, MARK_SIDE, with_corner_mark
from cxrfeat.results.audit import Check, Verdict
from tests.evaluation.audit.made_copies import subject


def planted(folder: Path, pictures: Path, weights: list[str], **options: object) -> Check:
    cxrfeat.extract(pictures, weights=weights, out=folder, name=["net"], **options)
    study, design = plan_comparison(load_study(folder), Folds())
    subject = Subject(study, design, HEADS["logreg"], metrics.metric("auroc"))
    networks = open_networks(study.extractors, weights=weights, device="cpu")
    dealt = deal(subject)
    asked = Asked(marked=dealt.to_mark, embedded=networks.audited)
    sources = find_sources(study, pictures)
    seen = look_at_pictures(study, sources, networks.reading, asked, workers=2)
    return corner_mark_check(subject, seen, dealt, "net", attribute_checks)


def figures(check: Check) -> dict[str, float]:
    return {figure.name: figure.value for figure in check.figures}


def assert_seen(check: Check) -> None:
    of = figures(check)
    assert check.verdict is Verdict.FOUND
    assert of["macro AUROC with the mark"] > 0.65
    assert of["macro AUROC of the same models without the mark"] < 0.6
    assert of["fall of macro AUROC where the mark's part is taken off"] > 0.15
    assert of["macro AUROC of the outer frame, 32 x 32 pixels"] > 0.75
    assert check.proofs[0].rate == RATE
    assert check.proofs[0].recall == 1


@pytest.fixture(scope="module")
def phantoms() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [draw_phantom(Anatomy.random(random), CLASSES[row % 3], random, 48) for row in range(80)]


def asked_of(phantoms: list[np.ndarray], sees_corners: bool) -> Check:
    """Ask by 8 x 8 grey values in place of a network."""
    n = len(phantoms)
    marked = [with_corner_mark(picture) for picture in phantoms]

    def resized(pictures: list[np.ndarray], side: int) -> np.ndarray:
        return np.stack([images.resize(picture, side) for picture in pictures])

    X, X_marked = (resized(of, 8).reshape(n, -1) for of in (phantoms, marked))
    small = resized(phantoms, SMALL)
    asked = subject({"net": X}, np.arange(n) % 3, head="lda")
    seen = Seen(
        why_not=[""] * n, files=[None] * n, grey=np.zeros((n, 2)), small=small,
        tiny=small[:, :8, :8], shapes=np.full((n, 2), 48), small_marked=resized(marked, SMALL),
        X={(CORNER_MARK, "net"): X_marked if sees_corners else X}, prints=None, copies=[],
        warnings={}, seconds={}, notes=[],
    )  # fmt: skip
    detect = partial(attribute_checks, control=False)
    return corner_mark_check(asked, seen, deal(asked), "net", detect)


def test_a_corner_mark_is_named_where_the_network_sees_corners(phantoms: list[np.ndarray]) -> None:
    assert_seen(asked_of(phantoms, True))


def test_a_corner_mark_that_the_network_does_not_see_is_not_named(
    phantoms: list[np.ndarray],
) -> None:
    """As where it is drawn nowhere, or its part is not taken off: the score is chance."""
    check = asked_of(phantoms, False)
    of = figures(check)
    assert check.verdict is Verdict.NOT_FOUND
    assert "proof that it is not used" in check.remedy
    assert of["macro AUROC with the mark"] < 0.65
    assert of["fall of macro AUROC where the mark's part is taken off"] < 0.1
    assert of["macro AUROC of the outer frame, 32 x 32 pixels"] > 0.75
    assert check.proofs[0].recall == 0


@pytest.mark.slow
def test_a_corner_mark_in_real_radiographs_is_named_and_the_score_falls_without_it(
    radiographs: Path, vgg16_weights: Path, tmp_path: Path
) -> None:
    assert_seen(planted(tmp_path, radiographs, [str(vgg16_weights)], backbone=["vgg16"]))


def small_set(radiographs: Path, folder: Path, count: int) -> list[Path]:
    """Copy radiographs, half as large a side, into two folders that mean nothing."""
    made = []
    for number, path in enumerate(sorted(radiographs.glob("*/Normal/*"))[:count]):
        pixels = images.resize(images.read_image(path).pixels, 224)
        target = folder / ("a" if number % 2 else "b") / f"{number:03d}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.round(pixels * 255).astype(np.uint8)).save(target)
        made.append(target)
    return made


def test_too_few_pictures_are_said(radiographs: Path, tmp_path: Path) -> None:
    small_set(radiographs, tmp_path / "images", FEWEST - 1)
    check = planted(
        tmp_path / "embeddings", tmp_path / "images", ["random:1"], backbone=["squeezenet1_1"],
        image_size=64,
    )  # fmt: skip
    assert check.verdict is Verdict.UNTESTED
    assert f"{FEWEST} are needed" in check.answer


def test_explain_points_at_the_corner(
    radiographs: Path, vgg16_weights: Path, tmp_path: Path
) -> None:
    """Real weights, a linear head, and a mark in 80 % of one of two classes that mean nothing."""
    made = small_set(radiographs, tmp_path / "images", 40)
    first = [path for path in made if path.parent.name == "a"]
    for path in first[: round(RATE * len(first))]:
        pixels = with_corner_mark(images.read_image(path).pixels)
        Image.fromarray(np.round(pixels * 255).astype(np.uint8)).save(path)
    source = [str(vgg16_weights)]
    cxrfeat.extract(tmp_path / "images", backbone=["vgg16"], weights=source, out=tmp_path / "e")
    cxrfeat.fit(tmp_path / "e", head=["logreg"], out=tmp_path / "run", cv=2, report=False)
    result = cxrfeat.explain(
        tmp_path / "run" / "model.skops", first[:6], class_="a", weights=source,
        out=tmp_path / "explained",
    )  # fmt: skip
    reach = (MARK_AWAY + MARK_SIDE) * 224 + 16  # half a cell of the map
    inside = [
        one.peak_x is not None and max(one.peak_x, one.peak_y or 0) <= reach
        for one in result.images
    ]
    assert inside == [True] * 6
