"""Every copy is counted once, across what it stands is said, and the score is taken without it."""

from __future__ import annotations

import numpy as np
import pytest

from cxrfeat.evaluation.audit import copies
from cxrfeat.evaluation.audit.duplicate_words import across_folds
from cxrfeat.evaluation.audit.duplicates import duplicate_checks
from cxrfeat.evaluation.audit.prints import PlantedCopies, Prints
from cxrfeat.evaluation.study.folds import Fold
from cxrfeat.results.audit import Check, Verdict
from tests.evaluation.audit.made_copies import pictures, prints, subject

N = 120


@pytest.fixture(autouse=True)
def _few_references(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "REFERENCES", 200)


def embeddings(seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.normal(size=(N, 16)) @ random.normal(size=(16, 48))


def labels() -> np.ndarray:
    return np.random.default_rng(3).permutation(np.arange(N) % 2)


def by_code(checks: list[Check]) -> dict[str, Check]:
    return {check.code: check for check in checks}


def figure(check: Check, name: str) -> float:
    return next(one.value for one in check.figures if one.name == name)


def test_without_copies_nothing_is_found_and_the_score_is_not_taken_again() -> None:
    found = by_code(duplicate_checks(subject({"net": embeddings()}, labels()), None, []))
    assert {code: check.verdict for code, check in found.items()} == {
        "identical-bytes": Verdict.NOT_FOUND,
        "identical-pixels": Verdict.UNTESTED,
        "near-copies": Verdict.NOT_FOUND,
        "copies-across": Verdict.NOT_FOUND,
        "patient-under-two-ids": Verdict.UNTESTED,
        "score-without-copies": Verdict.NOT_FOUND,
    }
    assert "--images" in found["identical-pixels"].answer
    assert "--group-column" in found["patient-under-two-ids"].answer


def test_each_kind_of_copy_is_counted_once_and_told_across_what_it_stands() -> None:
    X, y = embeddings(), labels()
    X[1], X[3] = X[0], X[2]
    X[5] = X[4] + 0.02 * np.random.default_rng(5).normal(size=48)
    y[:6] = [0, 0, 0, 1, 1, 1]
    sha = [f"{row:064x}" for row in range(N)]
    sha[1] = sha[0]
    of = prints(pictures(N))
    pixels = of.pixels.copy()
    pixels[1], pixels[3] = pixels[0], pixels[2]
    of = Prints(pixels, of.hashes, of.readable, of.small)
    split = np.array(["train", "val"])[(np.arange(N) == 1).astype(int)]
    patients = np.array([f"p{row}" for row in range(N)])
    asked = subject({"net": X}, y, sha256=sha, meta={"split": split, "group": patients})
    found = by_code(duplicate_checks(asked, of, []))
    for code, ids in (
        ("identical-bytes", [0, 1]), ("identical-pixels", [2, 3]), ("near-copies", [4, 5])
    ):  # fmt: skip
        check = found[code]
        assert check.verdict is Verdict.FOUND
        assert figure(check, "pairs") == 1
        assert check.candidates[0].ids == [f"{row:04d}.png" for row in ids]
    assert found["identical-bytes"].candidates[0].facts["split"] == "train / val"
    across = found["copies-across"]
    assert figure(across, "pairs in two classes") == 1
    assert figure(across, "pairs across the split") == 1
    assert figure(across, "groups") == 3
    pairs, groups = across.tables
    assert len(pairs.rows) == 3
    assert all(len(row) == len(pairs.columns) for row in pairs.rows)
    assert len(groups.rows) == 6
    assert figure(found["patient-under-two-ids"], "pairs of patients") == 3


def test_copies_of_one_patient_are_no_patient_under_two_ids() -> None:
    sha = ["same", "same", *(f"{row}" for row in range(2, N))]
    patients = np.array(["p0", "p0", *(f"p{row}" for row in range(2, N))])
    asked = subject({"net": embeddings()}, labels(), sha256=sha, meta={"group": patients})
    found = by_code(duplicate_checks(asked, None, []))
    assert found["identical-bytes"].verdict is Verdict.FOUND
    assert found["patient-under-two-ids"].verdict is Verdict.NOT_FOUND


def test_a_score_that_copies_alone_make_falls_without_them() -> None:
    """Labels were drawn by lot for each of 40 images: what scores here scores by copies."""
    which = np.arange(N) % 40
    base = np.random.default_rng(0).normal(size=(40, 48))
    X = base[which] + 0.05 * np.random.default_rng(1).normal(size=(N, 48))
    y = (np.random.default_rng(3).permutation(40) % 2)[which]
    check = by_code(duplicate_checks(subject({"net": X}, y, cv=5), None, []))[
        "score-without-copies"
    ]
    assert check.verdict is Verdict.FOUND
    fall, *scores = check.figures
    assert fall.interval[0] > 0.1
    assert check.detectable > 0
    as_it_is, without, anew = (one.value for one in scores)
    assert as_it_is > 0.9
    assert max(without, anew) < 0.6


def test_where_nearly_all_are_copies_the_score_is_not_taken_without_them() -> None:
    y = labels()
    X = embeddings()[:6][3 * y + np.arange(N) % 3]
    sha = [f"{3 * of + row % 3:064x}" for row, of in enumerate(y)]
    check = by_code(duplicate_checks(subject({"net": X}, y, sha256=sha), None, []))[
        "score-without-copies"
    ]
    assert check.verdict is Verdict.UNTESTED
    assert "too few images" in check.answer


def test_planted_copies_are_counted_apart_from_what_was_there() -> None:
    X, small = embeddings(), pictures(N)
    X[1] = X[0] + 0.01  # was there before
    of = prints(small)
    rows = np.arange(0, 24, 2)
    noise = np.random.default_rng(2).normal(size=(len(rows), 48))
    near = PlantedCopies(
        "cropped",
        rows,
        Prints(of.pixels[rows], of.hashes[rows], of.readable[rows], small[rows]),
        {"net": (X[rows] + 0.05 * noise).astype(np.float32)},
    )
    other = np.random.default_rng(9).integers(0, 2**63, len(rows), dtype=np.uint64)
    strange = PlantedCopies(
        "painted over",
        rows,
        Prints(of.pixels[rows], other, of.readable[rows], pictures(len(rows), seed=8)),
        {"net": embeddings(8)[rows].astype(np.float32)},
    )
    elsewhere = PlantedCopies("cropped", rows, near.prints, {"another": near.X["net"]})
    asked = subject({"net": X}, labels())
    check = by_code(duplicate_checks(asked, of, [near, strange, elsewhere]))["near-copies"]
    assert figure(check, "pairs") == 1
    assert [proof.planted for proof in check.proofs] == ["cropped copies", "copies painted over"]
    assert check.proofs[0].recall == 1
    assert check.proofs[0].precision == 1
    assert check.proofs[0].rate == pytest.approx(0.1)
    assert check.proofs[1].recall == 0
    assert "cropped copies 100%" in check.seen


def test_a_pair_is_across_folds_only_where_one_is_learned_from_and_one_tested() -> None:
    fold = Fold("one", 0, np.array([0, 1]), np.array([2]))
    pairs = np.array([[0, 1], [0, 2], [2, 3]])
    assert across_folds(pairs, [fold]).tolist() == [False, True, False]


def test_labels_of_which_any_number_may_hold_are_searched_as_one_class() -> None:
    X = embeddings()
    X[1] = X[0] + 0.01
    many = np.random.default_rng(0).integers(0, 2, (N, 2)).astype(float)
    many[5, 0] = np.nan
    found = by_code(duplicate_checks(subject({"net": X}, many), None, []))
    assert found["near-copies"].candidates[0].ids == ["0000.png", "0001.png"]
