"""Rows chosen, repeated rows and one class against the rest: each is asked for, and said."""

from __future__ import annotations

from pathlib import Path
from unicodedata import normalize

import numpy as np
import pytest

from cxrfeat.errors import InputError, UnknownNameError
from cxrfeat.inputs import Dataset, against_the_rest, find
from cxrfeat.inputs.positive import holds
from cxrfeat.tables import write_table

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 200


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in "abcd":
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "images" / f"{name}.png").write_bytes(PNG)
    return tmp_path / "images"


def write(folder: Path, **columns: list[str]) -> Path:
    write_table(folder.parent / "labels.csv", columns)
    return folder.parent / "labels.csv"


def values(dataset: Dataset) -> dict[str, dict[str, float]]:
    """Per image, the value of each class or finding; unknown ones left out."""
    assert dataset.labels is not None
    return {
        name: {c: float(v) for c, v in zip(dataset.classes, row, strict=True) if not np.isnan(v)}
        for name, row in zip(dataset.ids, dataset.labels, strict=True)
    }


# --- rows of some values only -------------------------------------------------------------------


@pytest.fixture
def scans(folder: Path) -> Path:
    return write(
        folder,
        path=["a.png", "b.png", "c.png", "d.png"],
        modality=["X-ray", "CT", "X-ray", "DX"],
        view=["PA", "Axial", "AP", ""],
        label=["x|y", "y", "x", "y"],
    )


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        (["modality=X-ray"], "ac"),
        (["modality=X-ray", "modality=DX"], "acd"),
        (["modality = X-ray | DX"], "acd"),
        (["modality=X-ray|DX", "view=PA|"], "ad"),
        (["label=x|y"], "a"),
        ([], "abcd"),
    ],
)
def test_rows_are_chosen_by_their_values(
    folder: Path, scans: Path, where: list[str], ids: str
) -> None:
    dataset = find(folder, scans, where=where)
    assert dataset.ids == [f"{name}.png" for name in ids]
    if where:
        assert any(note.startswith(f"{len(ids)} of 4 rows, where ") for note in dataset.notes)


def test_an_equals_sign_may_be_part_of_a_column_or_a_value(folder: Path) -> None:
    table = write(folder, **{"path": ["a.png", "b.png"], "p=q": ["1=2", "3"]})
    assert find(folder, table, where=["p=q=1=2"]).ids == ["a.png"]


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("modality", "--where COLUMN=VALUE"),
        ("modalty=CT", r"unknown column 'modalty': did you mean modality\?.*path, modality, view"),
        ("modality=MR", r"unknown value of column 'modality' 'MR': .*X-ray, CT, DX"),
        ("modality=CT|MR", "'MR'"),
        ("view=LAO", r"PA, Axial, AP, \(blank\)"),
    ],
)
def test_a_condition_that_cannot_hold_is_refused_with_what_there_is(
    folder: Path, scans: Path, where: str, says: str
) -> None:
    with pytest.raises(InputError, match=says):
        find(folder, scans, where=[where])


def test_conditions_that_leave_nothing_are_refused(folder: Path, scans: Path) -> None:
    with pytest.raises(InputError, match="no row of the table has modality=CT and view=PA"):
        find(folder, scans, where=["modality=CT", "view=PA"])
    with pytest.raises(InputError, match="--labels"):
        find(folder, where=["modality=CT"])


# --- an image in several rows -------------------------------------------------------------------


def test_an_image_listed_twice_is_refused_with_its_rows_and_the_mend(folder: Path) -> None:
    table = write(folder, path=["a.png", "b.png", "./a.png", "c.png", "a.png"])
    with pytest.raises(
        InputError, match=r"'a.png' in rows 2, 4 and 6\): .*--repeated-rows first or join"
    ):
        find(folder, table)


def test_rows_are_counted_in_the_table_also_where_only_some_are_taken(folder: Path) -> None:
    table = write(folder, path=["b.png", "a.png", "c.png", "a.png"], kind=["x", "y", "x", "y"])
    with pytest.raises(InputError, match=r"'a.png' in rows 3 and 5"):
        find(folder, table, where=["kind=y"])


def test_the_first_row_is_kept_where_asked(folder: Path) -> None:
    table = write(
        folder,
        path=["b.png", "a.png", "a.png"],
        label=["x", "x", "y"],
        patient=["p1", "p2", "p3"],
    )
    dataset = find(folder, table, repeated_rows="first")
    assert values(dataset) == {"a.png": {"x": 1}, "b.png": {"x": 1}}
    assert dataset.meta["group"].tolist() == ["p2", "p1"]
    assert "the first row taken of 1 image(s) that stand in several" in dataset.notes
    with pytest.raises(UnknownNameError, match="error, first, join"):
        find(folder, table, repeated_rows="last")


def test_joined_rows_let_1_win_over_0_and_known_over_unknown(folder: Path) -> None:
    table = write(
        folder,
        path=["a.png", "b.png", "a.png", "a.png"],
        Edema=["0", "1", "1", ""],
        Mass=["", "", "0", ""],
        Nodule=["", "0", "", ""],
        patient=["", "p1", normalize("NFC", "Özil"), normalize("NFD", "Özil")],
        age=["60", "50", "", "61"],
    )
    dataset = find(folder, table, label_column="Edema,Mass,Nodule", repeated_rows="join")
    assert values(dataset) == {"a.png": {"Edema": 1, "Mass": 0}, "b.png": {"Edema": 1, "Nodule": 0}}
    assert dataset.meta["group"].tolist() == [normalize("NFC", "Özil"), "p1"]
    assert dataset.meta["age"].tolist() == ["60", "50"]
    assert "labels of 1 image(s) that stand in several rows joined, as findings" in dataset.notes


@pytest.mark.parametrize(("uncertain", "joined"), [("ignore", 0), ("zeros", 0), ("ones", 1)])
def test_an_uncertain_row_is_joined_as_its_policy_counts_it(
    folder: Path, uncertain: str, joined: float
) -> None:
    table = write(folder, path=["a.png", "a.png"], Edema=["-1", "0"], Mass=["1", ""])
    dataset = find(
        folder, table, label_column="Edema,Mass", uncertain=uncertain, repeated_rows="join"
    )
    assert values(dataset) == {"a.png": {"Edema": joined, "Mass": 1}}


def test_joined_classes_become_findings_only_where_an_image_has_several(folder: Path) -> None:
    table = write(
        folder,
        path=["a.png", "a.png", "b.png", "c.png", "c.png"],
        label=["Mass", "Edema", "Normal", "Edema", ""],
    )
    dataset = find(folder, table, repeated_rows="join")
    assert (dataset.kind, dataset.classes) == ("multilabel", ["Edema", "Mass"])
    assert values(dataset) == {
        "a.png": {"Edema": 1, "Mass": 1},
        "b.png": {"Edema": 0, "Mass": 0},
        "c.png": {"Edema": 1, "Mass": 0},
    }
    table = write(folder, path=["a.png", "a.png", "b.png"], label=["Mass", "Mass", "Normal"])
    dataset = find(folder, table, repeated_rows="join")
    assert (dataset.kind, dataset.classes) == ("multiclass", ["Mass", "Normal"])


def test_one_column_of_0_and_1_stays_one_when_joined(folder: Path) -> None:
    table = write(folder, path=["a.png", "b.png", "a.png"], label=["0", "0", "1"])
    dataset = find(folder, table, repeated_rows="join")
    assert dataset.kind == "multiclass"
    assert values(dataset) == {"a.png": {"0": 0, "1": 1}, "b.png": {"0": 1, "1": 0}}


@pytest.mark.parametrize(("column", "word"), [("patient", "patient"), ("split", "split")])
def test_an_image_of_two_patients_or_splits_is_not_joined(
    folder: Path, column: str, word: str
) -> None:
    table = write(folder, **{"path": ["b.png", "a.png", "a.png"], column: ["u", "v", "w"]})
    with pytest.raises(
        InputError, match=rf"'a.png' has several values of {word} \(v, w\) in rows 3 and 4"
    ):
        find(folder, table, repeated_rows="join")


# --- one class against the rest -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "name", "expected"),
    [
        ("COVID-19", "COVID-19", True),
        ("Pneumonia/Viral/COVID-19", "COVID-19", True),
        ("Pneumonia/Viral/COVID-19", "Pneumonia", True),
        ("Pneumonia/Viral/COVID-19", "Viral/COVID-19", True),
        ("Pneumonia/Viral/COVID-19", "Pneumonia/COVID-19", False),
        ("COVID-19, ARDS", "COVID-19", True),
        ("COVID-19, ARDS", "ARDS", True),
        ("COVID-19, ARDS", "COVID-19, ARDS", True),
        ("Edema|Pneumonia/Viral", "Viral", True),
        ("Pneumonia", "Pneumonia/Viral", False),
        ("No Lung Opacity / Not Normal", "Lung Opacity", False),
        ("No Lung Opacity / Not Normal", "Normal", False),
        ("Pneumonia/Viral/COVID-19", "COVID", False),
        ("Pneumonia/Viral,", "", False),
    ],
)
def test_what_a_label_says(label: str, name: str, expected: bool) -> None:
    assert holds(label, name) is expected


def test_labels_of_any_kind_are_reduced_to_two_classes() -> None:
    nan = np.nan
    findings = np.array([[1, 0, 0], [0, nan, 1], [0, 0, nan], [nan, 1, 0], [nan, 0, 1]], np.float32)
    classes, labels = against_the_rest(["A/x", "A/y", "B"], findings, "A")
    assert classes == ["not A", "A"]
    assert labels.dtype == np.float32
    np.testing.assert_array_equal(labels, [[0, 1], [nan, nan], [1, 0], [0, 1], [nan, nan]])


def test_one_class_against_the_rest_by_a_level_of_its_path(folder: Path) -> None:
    table = write(
        folder,
        path=["a.png", "b.png", "c.png", "d.png"],
        finding=["Pneumonia/Viral/COVID-19", "COVID-19, ARDS", "Pneumonia", "todo"],
    )
    dataset = find(folder, table, positive="COVID-19")
    assert (dataset.kind, dataset.classes) == ("multiclass", ["not COVID-19", "COVID-19"])
    assert values(dataset) == {
        "a.png": {"not COVID-19": 0, "COVID-19": 1},
        "b.png": {"not COVID-19": 0, "COVID-19": 1},
        "c.png": {"not COVID-19": 1, "COVID-19": 0},
        "d.png": {},
    }
    assert (
        "'COVID-19' against the rest: 2 image(s) with it ('COVID-19, ARDS' 1, "
        "'Pneumonia/Viral/COVID-19' 1), 1 without, 1 of which it is not known" in dataset.notes
    )
    assert any("'Pneumonia' 1 name only a level above" in note for note in dataset.notes)


def test_without_it_classes_that_overlap_are_said(folder: Path) -> None:
    table = write(folder, path=["a.png", "b.png"], label=["Pneumonia", "Pneumonia/Viral"])
    dataset = find(folder, table)
    assert dataset.classes == ["Pneumonia", "Pneumonia/Viral"]
    assert any("'Pneumonia' stands above 'Pneumonia/Viral'" in note for note in dataset.notes)


def test_class_folders_and_findings_have_a_positive_too(folder: Path, tmp_path: Path) -> None:
    for name in ("sick", "well"):
        (tmp_path / "f" / name).mkdir(parents=True)
        (tmp_path / "f" / name / "1.png").write_bytes(PNG)
    assert values(find(tmp_path / "f", positive="sick"))["sick/1.png"] == {"not sick": 0, "sick": 1}
    table = write(folder, path=["a.png", "b.png"], findings=["Mass|Edema", "Mass"])
    assert values(find(folder, table, positive="Edema"))["b.png"] == {"not Edema": 1, "Edema": 0}


def test_a_row_that_says_the_positive_makes_a_joined_image_positive(folder: Path) -> None:
    table = write(folder, path=["a.png", "a.png", "b.png"], label=["ARDS", "COVID-19", "ARDS"])
    dataset = find(folder, table, positive="COVID-19", repeated_rows="join")
    assert values(dataset) == {
        "a.png": {"not COVID-19": 0, "COVID-19": 1},
        "b.png": {"not COVID-19": 1, "COVID-19": 0},
    }


def test_a_positive_that_no_label_says_is_refused(folder: Path) -> None:
    table = write(folder, path=["a.png", "b.png"], label=["Pneumonia/Viral/COVID-19", "x"])
    with pytest.raises(UnknownNameError, match="unknown class 'COVID19': did you mean COVID-19"):
        find(folder, table, positive="COVID19")
    with pytest.raises(InputError, match="no labels in which 'x' could stand"):
        find(folder, write(folder, path=["a.png"]), positive="x")
