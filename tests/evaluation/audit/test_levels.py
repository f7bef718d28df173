"""Which levels of an attribute are judged, and which classes cannot be told apart from one."""

from __future__ import annotations

import numpy as np

from cxrfeat.evaluation.audit.levels import class_table, levels_of, single
from cxrfeat.evaluation.study.study import Study


def study(y: np.ndarray, classes: list[str]) -> Study:
    labels = np.eye(len(classes), dtype=np.float32)[y]
    ids = [str(number) for number in range(len(y))]
    return Study(ids, classes, "multiclass", labels, [""] * len(y), {}, [], [])


def test_unknown_images_and_rare_levels_are_left_out_and_counted() -> None:
    values = np.array(["PA"] * 20 + ["AP"] * 12 + ["LL"] * 3 + [""] * 5)
    found = levels_of("view", values, None)
    assert found.names == ["PA", "AP"]
    assert (found.unknown, found.rare) == (5, 3)
    assert (found.code[:20] == 0).all()
    assert (found.code[20:32] == 1).all()
    assert (found.code[32:] == -1).all()


def test_levels_are_counted_by_patient() -> None:
    values = np.array(["a"] * 40 + ["b"] * 40)
    patients = np.array([f"p{number}" for number in [*range(40), *np.arange(40) % 9 + 40]])
    assert levels_of("scanner", values, patients).names == ["a"]


def test_numbers_are_cut_at_their_quartiles_and_ties_stay_together() -> None:
    age = np.array([20.0] * 30 + [40.0] * 30 + list(range(50, 110)) + [np.nan])
    found = levels_of("age", age, None)
    assert found.cut
    assert found.names == ["20 to 20", "40 to 40", "50 to 79", "80 to 109"]
    assert found.unknown == 1
    assert found.code[-1] == -1
    assert np.bincount(found.code[:-1]).tolist() == [30, 30, 30, 30]


def test_few_distinct_numbers_are_levels_as_they_are() -> None:
    found = levels_of("grade", np.array([1.0, 2.0] * 10 + [np.nan]), None)
    assert sorted(found.names) == ["1", "2"]
    assert not found.cut


def test_a_class_of_one_level_only_cannot_be_identified() -> None:
    y = np.repeat([0, 1, 2], 20)
    source = np.array(["north"] * 30 + ["south"] * 30)
    made = study(y, ["clear", "opaque", "streaked"])
    levels = levels_of("source", source, None)
    assert single(made, levels) == {"clear": "north", "streaked": "south"}
    assert class_table(made, levels).rows == [
        ["clear", 20, 0, "cannot be identified"],
        ["opaque", 10, 10, "yes"],
        ["streaked", 0, 20, "cannot be identified"],
    ]
