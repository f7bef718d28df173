"""Each image is read once, and everything that an audit asks of pictures comes of that."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cxrfeat
from cxrfeat import images
from cxrfeat.auditing.asked_of_pictures import CORNER_MARK, WHOLE, Asked
from cxrfeat.auditing.networks import Networks, open_networks
from cxrfeat.auditing.picture_checks import picture_checks, picture_marks
from cxrfeat.auditing.pictures import find_sources, look_at_pictures
from cxrfeat.auditing.seen import BLANK, BORDER
from cxrfeat.comparison.loaded_study import load_study
from cxrfeat.errors import InputError
from cxrfeat.evaluation.study.study import Study
from cxrfeat.extraction.sources import ImageSource
from cxrfeat.images.drawing.phantom import CLASSES, Anatomy, draw_phantom
from cxrfeat.images.masking import OUTER_FRAME, masked, with_corner_mark
from cxrfeat.results.audit import Verdict

N, SIDE = 18, 96


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synthetic radiographs in class folders, embedded by a small network."""
    root = tmp_path_factory.mktemp("pictures")
    for number in range(N):
        random = np.random.default_rng(number)
        pixels = draw_phantom(Anatomy.random(random), CLASSES[number % 3], random, SIDE)
        place = root / "images" / CLASSES[number % 3]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.round(pixels * 255).astype(np.uint8)).save(place / f"{number:02d}.png")
    cxrfeat.extract(
        root / "images", backbone=["squeezenet1_1"], weights=["random:1"], image_size=64,
        out=root / "embeddings",
    )  # fmt: skip
    return root


@pytest.fixture(scope="module")
def study(folder: Path) -> Study:
    return load_study(folder / "embeddings")


@pytest.fixture(scope="module")
def networks(study: Study) -> Networks:
    return open_networks(study.extractors, device="cpu")


class Counting:
    """A source that counts how often it is read."""

    def __init__(self, inner: ImageSource, reads: Counter[str]) -> None:
        self.inner, self.id, self.reads = inner, inner.id, reads

    def read(self, limit: int) -> bytes:
        self.reads[self.id] += 1
        return self.inner.read(limit)


def seen_from(folder: Path, study: Study, networks: Networks, asked: Asked | None = None):
    sources = find_sources(study, folder / "images")
    return look_at_pictures(study, sources, networks.reading, asked, workers=2, batch_size=4)


def everything(networks: Networks) -> Asked:
    return Asked(
        shown={WHOLE: networks.audited, OUTER_FRAME: networks.audited},
        marked=np.array([1, 4]),
        copies={"mirrored": (np.array([0, 7]), lambda picture, row: picture[:, ::-1].copy())},
        embedded=networks.audited,
        fingerprint=lambda picture: (hashlib.sha256(picture).hexdigest(), int(picture.shape[0])),
    )


def test_one_read_of_each_image_gives_everything(
    folder: Path, study: Study, networks: Networks
) -> None:
    (name,) = networks.audited
    network = networks.audited[name]
    reads: Counter[str] = Counter()
    found = find_sources(study, folder / "images")
    sources = {id_: Counting(source, reads) for id_, source in found.items()}
    told = []
    seen = look_at_pictures(
        study, sources, networks.reading, everything(networks), workers=2, batch_size=4,
        progress=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    assert reads == Counter(study.ids)
    assert told[-1] == (N, N)
    assert seen.rows.tolist() == list(range(N))

    # To the bit what extracting gave: the same reading, resizing and network.
    assert np.array_equal(seen.X[WHOLE, name], study.extractors[0].X)
    pixels = images.read_image(folder / "images" / study.ids[4]).pixels
    square = images.resize(pixels, 64)
    frame = masked(square, OUTER_FRAME, (SIDE, SIDE))
    assert np.array_equal(seen.X[OUTER_FRAME, name][4], network(frame[None])[0])

    assert np.isfinite(seen.X[CORNER_MARK, name]).all(axis=1).nonzero()[0].tolist() == [1, 4]
    marked = with_corner_mark(pixels)
    assert np.array_equal(seen.X[CORNER_MARK, name][4], network(images.resize(marked, 64)[None])[0])
    assert np.array_equal(seen.small_marked[4], images.resize(marked, 32))
    assert np.array_equal(seen.small[4], images.resize(pixels, 32))
    assert seen.grey[4] == pytest.approx([pixels.mean(), pixels.std()], abs=1e-6)

    (copies,) = seen.copies
    assert copies.kind == "mirrored"
    assert copies.rows.tolist() == [0, 7]
    mirrored = images.read_image(folder / "images" / study.ids[7]).pixels[:, ::-1].copy()
    assert copies.prints.pixels[1] == hashlib.sha256(mirrored).hexdigest()
    assert np.array_equal(copies.X[name][1], network(images.resize(mirrored, 64)[None])[0])
    assert seen.prints is not None
    assert seen.prints.readable.all()
    assert seen.files[4] is not None
    assert seen.files[4].numbers["width"] == SIDE
    assert seen.files[4].words["format"] == "PNG"
    assert {"reading", f"{OUTER_FRAME} {name}", f"mirrored {name}"} <= set(seen.seconds)


def test_networks_in_batches_see_the_same(
    folder: Path, study: Study, networks: Networks, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_by_one = seen_from(folder, study, networks, everything(networks))
    for network in networks.audited.values():
        monkeypatch.setattr(network, "side_by_side", not network.side_by_side)
    in_batches = seen_from(folder, study, networks, everything(networks))
    for key, X in one_by_one.X.items():
        assert np.array_equal(X, in_batches.X[key], equal_nan=True)
    (first,), (second,) = one_by_one.copies, in_batches.copies
    assert all(np.array_equal(first.X[name], second.X[name]) for name in first.X)


@pytest.fixture
def damaged(folder: Path, study: Study, tmp_path: Path) -> Path:
    """The same folder with one image gone, one changed and one that cannot be read."""
    for id_ in study.ids:
        target = tmp_path / "images" / id_
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((folder / "images" / id_).read_bytes())
    (tmp_path / "images" / study.ids[0]).unlink()
    changed = tmp_path / "images" / study.ids[1]
    changed.write_bytes((folder / "images" / study.ids[2]).read_bytes())
    broken = tmp_path / "images" / study.ids[3]
    broken.write_bytes(broken.read_bytes()[:200])
    return tmp_path


def test_what_is_not_the_image_that_was_extracted_is_left_out_and_said(
    damaged: Path, study: Study, networks: Networks
) -> None:
    seen = seen_from(damaged, study, networks, everything(networks))
    assert seen.why_not[0] == "not found"
    assert seen.why_not[1] == "changed"
    assert seen.why_not[3] not in ("", "not found", "changed")
    assert seen.rows.tolist() == [2, *range(4, N)]
    assert np.isnan(seen.small[[0, 1, 3]]).all()
    assert np.isnan(seen.X[WHOLE, study.extractors[0].name][[0, 1, 3]]).all()
    assert seen.prints is not None
    assert not seen.prints.readable[[0, 1, 3]].any()
    assert seen.copies[0].rows.tolist() == [7]
    said = " ".join(seen.notes)
    assert "1 of 18 images were not found" in said
    assert "no longer what was extracted" in said
    assert "cannot be read" in said


def test_other_images_altogether_are_refused(study: Study, tmp_path: Path) -> None:
    Image.new("L", (40, 40)).save(tmp_path / "other.png")
    with pytest.raises(InputError, match=r"none of the 18 images is there.*--images"):
        find_sources(study, tmp_path)


def test_an_archive_will_do(folder: Path, study: Study, networks: Networks, tmp_path: Path) -> None:
    import shutil

    packed = shutil.make_archive(str(tmp_path / "all"), "zip", folder / "images")
    seen = look_at_pictures(study, find_sources(study, packed), networks.reading, workers=1)
    assert len(seen.rows) == N


def test_odd_pictures_are_listed_and_what_the_detectors_see_is_tried(
    folder: Path, study: Study, networks: Networks
) -> None:
    seen = seen_from(folder, study, networks)
    small = seen.small.copy()
    small[2] = np.rot90(small[2], 2)
    small[5] = 1 - small[5]
    seen = replace(seen, small=small)
    seen.warnings[BLANK][6] = True
    viewed = replace(study, meta={"view": np.array(["PA"] * 17 + ["LL"])})
    marks = picture_marks(viewed, seen)
    assert np.array_equal(marks.pop(BORDER), seen.warnings[BORDER])
    rows = {name: np.flatnonzero(flags).tolist() for name, flags in marks.items()}
    assert rows == {
        BLANK: [6], "turned": [2], "inverted": [5], "cropped": [], "lateral": [17],
    }  # fmt: skip
    checks = {check.code.removeprefix("pictures-"): check for check in picture_checks(viewed, seen)}
    assert checks["turned"].verdict is Verdict.FOUND
    assert checks["turned"].candidates[0].ids == [study.ids[2]]
    assert [proof.recall for proof in checks["turned"].proofs] == [1.0, 1.0]
    assert checks["inverted"].proofs[0].precision == 1.0
    assert checks["lateral"].verdict is Verdict.FOUND
    (untested,) = (c for c in picture_checks(study, seen) if c.code == "pictures-lateral")
    assert untested.verdict is Verdict.UNTESTED
