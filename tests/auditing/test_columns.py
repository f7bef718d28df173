from __future__ import annotations

import numpy as np

from cxrfeat.auditing.columns import attributes_of, names_images, of_files
from cxrfeat.auditing.seen import FileFacts


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


def test_a_column_of_names_is_not_what_images_are_like() -> None:
    assert names_images(np.array(["study 1", "study 2", "study 3", ""]))
    assert not names_images(np.array(["PA", "AP", "PA", "PA"]))
    assert not names_images(np.array([str(age) for age in range(20, 50)]))


def test_what_files_say_is_asked_once_and_only_where_it_differs() -> None:
    def facts(width: float, size: float, format: str) -> FileFacts:
        numbers = {"bytes": size, "height": 100.0, "width": width, "bits": 8.0}
        read = "colour to grey" if format == "PNG" else ""
        return FileFacts(numbers, {"format": format, "view": "PA", "read": read})

    files = [facts(100.0, 2000.0, "PNG"), None, facts(200.0, 2000.0, "JPEG")]
    found = of_files(files, known=["view"])
    assert list(found) == ["bytes per pixel", "pixels", "aspect", "format", "what reading did"]
    assert found["what reading did"].tolist() == ["colour to grey", "", "nothing"]
    assert found["format"].tolist() == ["PNG", "", "JPEG"]
    assert found["aspect"][[0, 2]].tolist() == [1.0, 2.0]
    assert np.isnan(found["aspect"][1])
