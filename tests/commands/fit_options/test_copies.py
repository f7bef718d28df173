"""Copies of images stay on one side of every fold where this is asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cxrfeat.errors import InputError
from cxrfeat.evaluation.outcome import findings
from tests.commands.fit_options.made import codes_of, fit
from tests.evaluation.made import blobs, write_file

N = 120
COPIES = {findings.DUPLICATES_ACROSS, findings.NEAR_DUPLICATES_ACROSS}


def with_copies(**options: object) -> Path:
    """Images 90 to 104 are near copies of 0 to 14, and 105 to 119 are 15 to 29 byte for byte."""
    X, y = blobs(90, 64, distance=4)
    noise = np.random.default_rng(1).normal(size=(15, 64)) * X.std(axis=0) * 0.05
    X = np.concatenate([X, X[:15] + noise, X[15:30]]).astype(np.float32)
    y = np.concatenate([y, y[:30]])
    sha = {f"{i:04d}.png": f"{(i - 90 if i >= 105 else i):064x}" for i in range(N)}
    return write_file(Path("copied.h5"), X, y, sha=sha, **options)  # type: ignore[arg-type]


def test_copies_are_found_and_the_finding_names_the_option_that_keeps_them_together() -> None:
    path = with_copies()
    apart = fit(path, head=["lda"], cv=3)
    told = {one.code: one.message for one in apart.findings if one.code in COPIES}
    assert set(told) == COPIES
    assert all("--keep-copies-together" in message for message in told.values())

    together = fit(path, head=["lda"], cv=3, keep_copies_together=True)
    assert not COPIES & set(codes_of(together))
    assert together.folds == "3-fold cross-validation, stratified, copies kept together"
    assert together.options["keep_copies_together"] is True
    assert together.patients is None
    assert any("60 images in 30 groups of copies stay on one side" in n for n in together.notes)


def test_patients_who_share_a_copy_stay_together_too() -> None:
    path = with_copies(meta={"group": [f"p{i // 2}" for i in range(N)]})
    result = fit(path, head=["lda"], cv=3, keep_copies_together=True)
    assert not {*COPIES, findings.PATIENTS_ACROSS} & set(codes_of(result))
    assert (result.patients, "patients and copies kept together" in result.folds) == (60, True)


def test_where_the_division_is_given_copies_of_tested_images_are_not_learned_from() -> None:
    split = ["val" if i >= 90 else "train" for i in range(N)]
    path = with_copies(meta={"split": split})
    result = fit(path, head=["lda"], split=True, keep_copies_together=True)
    assert result.ranking[0].folds[0]["train"] == 60
    assert "30 training images that are copies of tested ones not used" in result.folds
    assert not COPIES & set(codes_of(result))


def test_copies_of_one_image_alone_cannot_be_divided() -> None:
    X, y = blobs(30, 8, distance=4)
    sha = {f"{i:04d}.png": "a" * 64 for i in range(30)}
    path = write_file(Path("one.h5"), X, y, sha=sha)
    with pytest.raises(InputError, match="all images are copies of each other"):
        fit(path, head=["lda"], keep_copies_together=True)
