"""Near copies across folds are found in embeddings alone; where there are none, none is found."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from cxrfeat.commands.extract import extract
from cxrfeat.commands.fit import fit
from cxrfeat.evaluation.outcome import findings, near_copies
from cxrfeat.evaluation.outcome.near_copies import near_copies as search
from cxrfeat.results import Finding, FitResult
from tests.evaluation.made import write_file

PATIENTS, COPIES = 200, 3


def copied(dimension: int, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three near copies of each of 200 images, and whose they are."""
    random = np.random.default_rng(seed)
    patient = np.repeat(np.arange(PATIENTS), COPIES)
    X = random.normal(size=(PATIENTS, dimension))[patient]
    return (X + noise * random.normal(size=X.shape)).astype(np.float32), patient


def one_class(X: np.ndarray) -> np.ndarray:
    return np.zeros(len(X), dtype=np.intp)


def codes(result: FitResult) -> list[str]:
    return [finding.code for finding in result.findings]


def near(result: FitResult) -> Finding:
    return next(one for one in result.findings if one.code == findings.NEAR_DUPLICATES_ACROSS)


@pytest.mark.parametrize(
    ("dimension", "noise", "least"),
    [(8, 0.02, 0.99), (12, 0.05, 0.99), (12, 0.1, 0.95), (64, 0.3, 0.99), (512, 0.7, 0.95)],
)
def test_near_copies_are_found_and_little_else(dimension: int, noise: float, least: float) -> None:
    X, patient = copied(dimension, noise)
    y = np.random.default_rng(1).integers(0, 2, PATIENTS)[patient]
    found = search(X, y, None)
    right = patient[found.pairs[:, 0]] == patient[found.pairs[:, 1]]
    assert right.mean() >= 0.95
    assert len(np.unique(found.pairs[right])) >= least * len(X)
    assert (found.pairs[:, 0] < found.pairs[:, 1]).all()
    assert found.searched == len(X)


def in_512_dimensions(random: np.random.Generator, y: np.ndarray) -> np.ndarray:
    return random.normal(size=(len(y), 512))


def of_dimension_8(random: np.random.Generator, y: np.ndarray) -> np.ndarray:
    return random.normal(size=(len(y), 8)) @ random.normal(size=(8, 512))


def in_clusters(random: np.random.Generator, y: np.ndarray) -> np.ndarray:
    centres = 5 * random.normal(size=(3, 8))
    return (centres[y] + random.normal(size=(len(y), 8))) @ random.normal(size=(8, 128))


def in_clusters_of_ten(random: np.random.Generator, y: np.ndarray) -> np.ndarray:
    y[:] = np.arange(len(y)) // 10
    centres = 5 * random.normal(size=(y.max() + 1, 16))
    return (centres[y] + random.normal(size=(len(y), 16))) @ random.normal(size=(16, 64))


def with_heavy_tails(random: np.random.Generator, y: np.ndarray) -> np.ndarray:
    return np.exp(random.normal(size=(len(y), 64)))


@pytest.mark.parametrize(
    "independent",
    [in_512_dimensions, of_dimension_8, in_clusters, in_clusters_of_ten, with_heavy_tails],
)
@pytest.mark.parametrize("n", [60, 300])
def test_independent_images_give_no_pair(
    independent: Callable[[np.random.Generator, np.ndarray], np.ndarray], n: int
) -> None:
    draws, alarms = 40, 0
    for seed in range(draws):
        y = np.arange(n) % 3
        X = independent(np.random.default_rng(seed), y).astype(np.float32)
        alarms += bool(len(search(X, y, None).pairs))
    assert alarms <= 0.05 * draws


def test_two_images_of_a_rare_kind_are_no_copies() -> None:
    random = np.random.default_rng(0)
    X = random.normal(size=(300, 64))
    X[:2] += 3 * random.normal(size=64)  # e.g. the only two lateral views
    assert not len(search(X.astype(np.float32), one_class(X), None).pairs)


def test_an_image_twice_under_two_patients_is_found_beside_copies_of_each_patient() -> None:
    X, patient = copied(64, 0.3)
    X[0] = X[100] + 0.01 * np.random.default_rng(5).normal(size=64)
    names = np.array([f"p{number}" for number in patient])
    found = search(X, one_class(X), names).pairs.tolist()
    assert [0, 100] in found
    assert all(a == 0 and patient[b] == patient[100] for a, b in found)
    X, patient = copied(64, 0.3)
    assert not len(search(X, one_class(X), names).pairs)


def test_a_patients_own_images_say_how_near_is_near() -> None:
    """Of a patient images are all but equal, so what is merely alike is no copy."""
    random = np.random.default_rng(0)
    X, patient = copied(64, 0.01)
    X[0] = X[100] + 0.2 * random.normal(size=64)
    names = np.array([f"p{number}" for number in patient])
    assert not len(search(X, one_class(X), names).pairs)
    alone = np.unique(patient, return_index=True)[1]
    X[alone[0]] = X[alone[33]] + 0.2 * random.normal(size=64)
    assert len(search(X[alone], one_class(alone), names[alone]).pairs) == 1


def test_the_search_is_the_same_in_any_block(monkeypatch: pytest.MonkeyPatch) -> None:
    X, patient = copied(12, 0.05)
    whole = search(X, patient % 2, None)
    monkeypatch.setattr(near_copies, "BLOCK", 7 * len(X))
    parts = search(X, patient % 2, None)
    np.testing.assert_array_equal(whole.pairs, parts.pairs)
    np.testing.assert_allclose(whole.cosine, parts.cosine, atol=1e-6)


@pytest.mark.parametrize(("dimension", "noise"), [(12, 0.05), (600, 0.7)])
@pytest.mark.parametrize("block", [2**22, 5000])
def test_pairs_that_are_looked_for_first_are_those_of_all_neighbours(
    monkeypatch: pytest.MonkeyPatch, dimension: int, noise: float, block: int
) -> None:
    """As with more images than all neighbours can be looked at of; 600 dimensions are projected."""
    X, patient = copied(dimension, noise)
    names = np.array([f"p{number}" for number in patient])
    names[::3] = "one without a patient of its own"
    for patients in (None, names):
        every = search(X, one_class(X), patients)
        monkeypatch.setattr(near_copies, "EVERY", 0)
        monkeypatch.setattr(near_copies, "BLOCK", block)
        some = search(X, one_class(X), patients)
        monkeypatch.undo()
        assert len(every.pairs) > 150
        np.testing.assert_array_equal(some.pairs, every.pairs)
        np.testing.assert_allclose(some.cosine, every.cosine, atol=1e-5)
        assert some.searched == every.searched == len(X)


def test_looked_for_first_independent_images_are_no_copies_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(near_copies, "EVERY", 0)
    monkeypatch.setattr(near_copies, "SAMPLE", 100)
    alarms = 0
    for seed in range(20):
        X = np.random.default_rng(seed).normal(size=(400, 8)).astype(np.float32)
        alarms += bool(len(search(X, one_class(X), None).pairs))
    assert alarms <= 1


def test_a_heap_of_copies_does_not_hide_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    X, _ = copied(64, 0.3)
    X[:100] = X[0] + 0.01 * np.random.default_rng(1).normal(size=(100, 64))
    every = search(X, one_class(X), None)
    monkeypatch.setattr(near_copies, "EVERY", 0)
    monkeypatch.setattr(near_copies, "HEAP", 8)
    some = search(X, one_class(X), None)
    assert len(every.pairs) > 150
    np.testing.assert_array_equal(some.pairs, every.pairs)
    assert some.searched == len(X)


def test_beyond_the_work_there_is_time_for_images_are_drawn_and_it_is_said() -> None:
    X, patient = copied(12, 0.05)
    some = search(X, one_class(X), None, work=0.25 * len(X) ** 2 * 12)
    assert some.searched == 150
    right = patient[some.pairs[:, 0]] == patient[some.pairs[:, 1]]
    assert right.mean() >= 0.95
    assert 140 <= len(some.pairs) <= 300


@pytest.mark.parametrize("n", [2, 5, 12])
def test_a_handful_of_images_or_equal_ones_break_nothing(n: int) -> None:
    same = np.ones((n, 4), dtype=np.float32)
    assert not len(search(same, one_class(same), None).pairs)
    X = np.random.default_rng(0).normal(size=(n, 4)).astype(np.float32)
    assert not len(search(X, one_class(X), None).pairs)


def written(folder: Path, groups: Iterable[int] | None = None, **more: object) -> Path:
    X, patient = copied(12, 0.05)
    y = np.random.default_rng(1).permutation(np.arange(PATIENTS) % 2)[patient]
    meta = {} if groups is None else {"group": [f"p{number}" for number in groups]}
    split = {"split": ["val" if row % COPIES == 0 else "train" for row in range(len(X))]}
    return write_file(
        folder / "copies.h5", X, y, classes=["a", "b"], meta={**meta, **split}, **more  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.mark.parametrize("split", [False, True])
def test_without_patients_the_control_is_not_tested_and_the_copies_are_found(
    tmp_path: Path, split: bool
) -> None:
    """Labels were drawn by lot: what scores here scores by copies alone."""
    head = "knn" if split else "dummy"
    result = fit(written(tmp_path), head=[head], out=tmp_path / "run", split=split, report=False)
    assert result.ranking[0].mean["auroc"] > 0.9 or not split
    assert np.isnan(result.permuted["copies"])
    assert result.as_json()["permuted"] == {"copies": None}
    assert findings.PERMUTED not in codes(result)
    assert any("labels shuffled among patients cannot be tested" in one for one in result.notes)
    found = near(result)
    assert found.detail["share_of_tested"] > 0.95
    assert found.detail["images"] >= 570  # the other pairs fell into one fold
    assert len(found.detail["examples"]) == 10
    for one in found.detail["examples"]:
        a, b = (int(id_[:4]) // COPIES for id_ in one["images"])
        assert a == b
        assert one["cosine"] > 0.9
    assert "--group-column" in found.message


def test_where_every_image_has_a_patient_of_its_own_the_control_is_not_tested(
    tmp_path: Path,
) -> None:
    file = written(tmp_path, groups=range(PATIENTS * COPIES))
    result = fit(file, head=["dummy"], out=tmp_path / "run", report=False)
    assert np.isnan(result.permuted["copies"])
    assert any("no patient is known to have several images" in one for one in result.notes)
    assert near(result).detail["share_of_tested"] > 0.9


def test_with_patients_kept_together_the_control_stands_and_nothing_is_found(
    tmp_path: Path,
) -> None:
    result = fit(
        written(tmp_path, groups=np.arange(PATIENTS).repeat(COPIES)),
        head=["dummy"],
        out=tmp_path / "run",
        report=False,
    )
    assert result.permuted["copies"] == pytest.approx(0.5, abs=0.05)
    assert findings.NEAR_DUPLICATES_ACROSS not in codes(result)
    assert not any("shuffled" in note for note in result.notes)


def test_byte_identical_images_are_told_of_once_and_not_as_near_copies(tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(120, 32)).astype(np.float32)
    X[60:70] = X[:10]
    ids = [f"{row:04d}.png" for row in range(120)]
    same = {ids[row + 60 * k]: f"{row:064x}" for row in range(10) for k in range(2)}
    y = np.arange(120) % 2
    file = write_file(tmp_path / "bytes.h5", X, y, classes=["a", "b"], sha=same)
    result = fit(file, head=["knn"], out=tmp_path / "run", report=False)
    assert findings.DUPLICATES_ACROSS in codes(result)
    assert findings.NEAR_DUPLICATES_ACROSS not in codes(result)


def test_controls_are_looked_at_only_where_there_is_nothing_else(tmp_path: Path) -> None:
    file = written(tmp_path)
    X, _ = copied(12, 0.05)
    y = np.arange(len(X)) % 2
    blind = write_file(tmp_path / "blind.h5", X, y, classes=["a", "b"], weights="random-seed-0")
    alone = fit(blind, head=["dummy"], out=tmp_path / "alone", report=False)
    assert list(near(alone).detail["extractors"]) == ["blind"]
    blind = write_file(
        tmp_path / "blind.h5", X, np.random.default_rng(1).permutation(
            np.arange(PATIENTS) % 2)[np.repeat(np.arange(PATIENTS), COPIES)],
        classes=["a", "b"], weights="random-seed-0",
    )  # fmt: skip
    both = fit([file, blind], head=["dummy"], out=tmp_path / "both", report=False)
    assert list(near(both).detail["extractors"]) == ["copies"]


@pytest.mark.slow
def test_the_pairs_among_317_real_radiographs_are_copies_to_the_eye(
    tmp_path: Path, radiographs: Path, vgg16_weights: Path
) -> None:
    """They were looked at: one radiograph each, saved anew or with other contrast.

    A third pair, 057 and 078, is in one fold of each of these divisions.
    """
    extract(radiographs, backbone=["vgg16"], weights=[str(vgg16_weights)], out=tmp_path / "e")
    result = fit(tmp_path / "e", head=["dummy"], out=tmp_path / "run", repeats=4, report=False)
    pairs = {frozenset(one["images"]) for one in near(result).detail["examples"]}
    assert frozenset({"train/Covid/COVID-00033.jpg", "train/Covid/COVID-00037.jpg"}) in pairs
    windowed = "auntminnie-b-2020_01_28_23_51_6665_2020_01_28_Vietnam_coronavirus.jpeg"
    assert frozenset({"val/Covid/0108.jpeg", f"val/Covid/{windowed}"}) in pairs
    assert len(pairs) == 2
