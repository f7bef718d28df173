from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from cxrfeat.errors import FileFormatError, InputError
from cxrfeat.evaluation.study import folds as folding

CLASSES = ["a", "b", "c"]


@settings(max_examples=25, deadline=None)
@given(
    patients=st.integers(12, 40),
    per_patient=st.integers(1, 4),
    cv=st.integers(2, 4),
    repeats=st.integers(1, 2),
    seed=st.integers(0, 1000),
)
def test_a_patient_is_on_one_side_and_every_image_is_tested_once_per_repeat(
    patients: int, per_patient: int, cv: int, repeats: int, seed: int
) -> None:
    groups = np.repeat([f"p{i}" for i in range(patients)], per_patient)
    y = np.repeat(np.arange(patients) % 3, per_patient)

    folds = folding.cross_validation(y, groups, cv=cv, repeats=repeats, seed=seed, classes=CLASSES)

    for fold in folds:
        assert not set(groups[fold.train]) & set(groups[fold.test])
        assert sorted([*fold.train, *fold.test]) == list(range(len(y)))
    for repeat in range(repeats):
        tested = np.concatenate([fold.test for fold in folds if fold.repeat == repeat])
        assert sorted(tested) == list(range(len(y)))


@settings(max_examples=40, deadline=None)
@given(
    images=st.integers(30, 200),
    patients=st.integers(10, 60),
    strata=st.integers(2, 12),
    cv=st.integers(2, 6),
    seed=st.integers(0, 1000),
)
def test_folds_of_patients_are_those_of_scikit_learn(
    images: int, patients: int, strata: int, cv: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    y = np.concatenate([np.repeat(np.arange(strata), cv), random.integers(0, strata, images)])
    number = np.concatenate([np.arange(cv), random.integers(0, patients, len(y) - cv)])
    groups = np.array([f"p{one}" for one in number])
    found = folding.stratified(y, groups, cv, seed)
    plain = StratifiedGroupKFold(cv, shuffle=True, random_state=seed)
    for (train, test), (train_there, test_there) in zip(
        found, plain.split(y, y, groups), strict=True
    ):
        np.testing.assert_array_equal(train, train_there)
        np.testing.assert_array_equal(test, test_there)


def test_classes_keep_their_shares_in_every_fold() -> None:
    y = np.repeat([0, 1], [80, 20])
    folds = folding.cross_validation(y, None, cv=5, repeats=1, seed=0, classes=CLASSES)
    assert [int((y[fold.test] == 1).sum()) for fold in folds] == [4] * 5


def test_the_same_seed_gives_the_same_folds_and_another_seed_others() -> None:
    y = np.arange(60) % 3

    def tests_of(seed: int) -> list[list[int]]:
        folds = folding.cross_validation(y, None, cv=3, repeats=1, seed=seed, classes=CLASSES)
        return [fold.test.tolist() for fold in folds]

    assert tests_of(1) == tests_of(1)
    assert tests_of(1) != tests_of(2)


def test_repeats_draw_other_folds() -> None:
    y = np.arange(60) % 3
    folds = folding.cross_validation(y, None, cv=3, repeats=2, seed=0, classes=CLASSES)
    assert folds[0].test.tolist() != folds[3].test.tolist()


@pytest.mark.parametrize(
    ("y", "groups", "cv", "message"),
    [
        ([0] * 10, None, 5, "have a label are of one class .*none, nan"),
        ([0, 1] * 5, ["p"] * 10, 5, "all images are of one patient"),
        ([0] * 10 + [1] * 4, None, 5, r"class 'b' has 4 images, fewer than the 5 folds: use --cv"),
        ([0, 0, 1, 1] * 5, ["p", "q", "r", "r"] * 5, 2, "class 'b' has 1 patients, fewer"),
        ([0, 1] * 5, None, 1, "at least 2 folds"),
    ],
)
def test_folds_that_cannot_be_made_say_why(
    y: list[int], groups: list[str] | None, cv: int, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        folding.cross_validation(
            np.array(y),
            None if groups is None else np.array(groups),
            cv=cv,
            repeats=1,
            seed=0,
            classes=CLASSES,
        )


def test_inner_folds_keep_patients_together_and_every_class_fitted() -> None:
    y = np.repeat(np.arange(12) % 3, 3)
    groups = np.repeat(np.arange(12).astype(str), 3)
    pairs = folding.inner_folds(y, groups, seed=0)
    assert len(pairs) == 3
    for fit, val in pairs:
        assert not set(groups[fit]) & set(groups[val])
        assert set(y[fit]) == {0, 1, 2}


def test_a_training_set_too_small_to_divide_has_no_inner_folds() -> None:
    assert folding.inner_folds(np.array([0, 0, 0, 1]), None, seed=0) == []


def test_a_fixed_split_fits_on_train_and_scores_val() -> None:
    (fold,), sentence = folding.fixed_split(np.array(["train", "val", "train", "other"]))
    assert fold.train.tolist() == [0, 2]
    assert fold.test.tolist() == [1]
    assert "scored on val (1 images); 1 images of no part left out" in sentence


def test_with_a_test_part_train_and_val_are_fitted_together() -> None:
    (fold,), sentence = folding.fixed_split(np.array(["train", "Val", "TEST", "train"]))
    assert fold.train.tolist() == [0, 1, 3]
    assert fold.test.tolist() == [2]
    assert "fitted on train and val" in sentence


def test_a_split_column_without_the_parts_is_refused_with_what_was_found() -> None:
    with pytest.raises(InputError, match=r"found: \(empty\), one, two"):
        folding.fixed_split(np.array(["one", "two", ""]))


def saved(path: Path, ids: list[str]) -> list[folding.Fold]:
    y = np.arange(len(ids)) % 2
    folds = folding.cross_validation(y, None, cv=2, repeats=1, seed=0, classes=CLASSES)
    path.write_text(folding.to_json(folds, ids, {}), encoding="utf-8")
    return folds


def test_saved_folds_are_found_again_by_id_in_another_order(tmp_path: Path) -> None:
    ids = [f"{i}.png" for i in range(8)]
    before = saved(tmp_path / "splits.json", ids)
    other = ids[::-1]

    after, _ = folding.read(tmp_path / "splits.json", other)

    for ours, theirs in zip(before, after, strict=True):
        assert [ids[i] for i in ours.train] == [other[i] for i in theirs.train]
        assert [ids[i] for i in ours.test] == [other[i] for i in theirs.test]


def test_folds_over_other_images_are_refused(tmp_path: Path) -> None:
    saved(tmp_path / "splits.json", ["a", "b", "c", "d"])
    with pytest.raises(InputError, match=r"4 of its 4 ids are not in these embeddings, e.g. 'a'"):
        folding.read(tmp_path / "splits.json", ["x", "y"])


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(format="other"),
        lambda d: d.pop("ids"),
        lambda d: d["folds"][0].update(test=[99]),
        lambda d: d["folds"][0].update(test=d["folds"][0]["train"]),
        lambda d: d["folds"][0].pop("name"),
        lambda d: d.update(folds=[]),
    ],
)
def test_a_damaged_splits_file_is_refused(tmp_path: Path, change: object) -> None:
    path = tmp_path / "splits.json"
    ids = ["a", "b", "c", "d"]
    saved(path, ids)
    document = json.loads(path.read_text())
    change(document)  # type: ignore[operator]
    path.write_text(json.dumps(document))
    with pytest.raises(FileFormatError, match=r"splits\.json"):
        folding.read(path, ids)


def test_a_splits_path_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        folding.read(tmp_path / "none.json", ["a"])
