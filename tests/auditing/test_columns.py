from __future__ import annotations

import numpy as np

from cxrfeat.auditing.columns import attributes_of


def test_columns_of_many_numbers_are_numbers_and_all_others_are_categories() -> None:
    ages = [str(20 + i) for i in range(30)]
    meta = {
        "age": np.array(["", *ages]),
        "view": np.array(["PA", "AP", "", *["PA"] * 28]),
        "flag": np.array(["0", "1"] * 15 + ["0"]),
        "mixed": np.array(["unknown", *ages]),
        "constant": np.array(["CR"] * 30 + [""]),
        "other": np.array([*ages, "9"]),
    }
    found = attributes_of(meta, ["age", "view", "flag", "mixed", "constant"])
    assert list(found) == ["age", "view", "flag", "mixed"]
    assert found["age"].dtype == np.float64
    assert np.isnan(found["age"][0])
    assert found["age"][1:].tolist() == [float(text) for text in ages]
    for name in ("view", "flag", "mixed"):
        assert found[name] is meta[name]
