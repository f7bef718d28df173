"""Other labels for a study: renamed, merged, dropped, one against the rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cxrfeat.errors import InputError, UnknownNameError
from cxrfeat.evaluation.study.relabelling import Relabelling
from cxrfeat.evaluation.study.study import Extractor, Study

CLASSES = [
    "Pneumonia", "Pneumonia/Bacterial", "Pneumonia/Viral/COVID-19", "COVID-19, ARDS", "normal"
]  # fmt: skip


def study(labels: np.ndarray, classes: list[str], kind: str = "multiclass") -> Study:
    n = len(labels)
    X = np.arange(n, dtype=np.float32)[:, None]
    return Study(
        ids=[f"{row}.png" for row in range(n)],
        classes=classes,
        kind=kind,  # type: ignore[arg-type]
        labels=labels.astype(np.float32),
        sha256=[str(row) for row in range(n)],
        meta={"group": np.array([f"p{row}" for row in range(n)])},
        extractors=[Extractor("net", X, False, {}, "")],
        notes=[],
    )


def of_classes() -> Study:
    return study(np.eye(5)[[0, 1, 2, 3, 4, 4]], CLASSES)


def called(found: Study) -> list[str]:
    return [found.classes[k] for k in found.labels.argmax(axis=1)]


def test_classes_are_renamed_merged_and_dropped() -> None:
    names = {"Pneumonia": "", "Pneumonia/Bacterial": "bacterial", "COVID-19": "covid"}
    found = Relabelling.asked_for(names, None).of(of_classes())
    assert found.classes == ["bacterial", "covid", "normal"]
    assert called(found) == ["bacterial", "covid", "covid", "normal", "normal"]
    assert found.ids == [f"{row}.png" for row in range(1, 6)]
    assert found.extractors[0].X.ravel().tolist() == [1, 2, 3, 4, 5]
    assert found.meta["group"].tolist() == ["p1", "p2", "p3", "p4", "p5"]
    assert any("1 images without such a label were left out" in note for note in found.notes)
    assert any("'Pneumonia' dropped" in note for note in found.notes)


def test_a_level_stands_for_all_below_it_unless_a_more_particular_one_is_named_too() -> None:
    found = Relabelling.asked_for({"Pneumonia": "any pneumonia"}, None).of(of_classes())
    assert called(found)[:4] == [*["any pneumonia"] * 3, "COVID-19, ARDS"]
    names = {"Pneumonia": "other pneumonia", "Viral": "viral"}
    found = Relabelling.asked_for(names, None).of(of_classes())
    assert called(found)[:3] == ["other pneumonia", "other pneumonia", "viral"]


def test_findings_that_become_one_hold_where_any_of_them_does() -> None:
    unknown = np.nan
    labels = np.array([[1, 0, 0], [0, unknown, 1], [0, 0, 1], [unknown, 1, 0]])
    findings = study(labels, ["Mass", "Nodule", "Edema"], "multilabel")
    found = Relabelling.asked_for({"Mass": "lesion", "Nodule": "lesion", "Edema": None}, None)
    merged = found.of(findings)
    assert merged.classes == ["lesion"]
    assert merged.labels.ravel().tolist() == [1, 0, 1]  # unknown where no 1 and not all 0
    assert merged.ids == ["0.png", "2.png", "3.png"]


def test_one_against_the_rest_comes_after_the_renaming() -> None:
    names = {"Pneumonia": None}
    found = Relabelling.asked_for(names, "COVID-19").of(of_classes())
    assert found.classes == ["not COVID-19", "COVID-19"]
    assert found.kind == "multiclass"
    assert called(found) == ["COVID-19", "not COVID-19", "not COVID-19"]
    assert found.ids == ["3.png", "4.png", "5.png"]
    whole = Relabelling.asked_for(None, "COVID-19").of(of_classes())
    assert called(whole).count("COVID-19") == 2


def test_a_table_of_names_is_read(tmp_path: Path) -> None:
    table = tmp_path / "names.csv"
    table.write_text("from,to\nPneumonia,\nnormal,healthy\n")
    assert Relabelling.asked_for(table, None).names == {"Pneumonia": "", "normal": "healthy"}
    table.write_text("from,to\nPneumonia,\nPneumonia,x\n")
    with pytest.raises(InputError, match="names 'Pneumonia' twice"):
        Relabelling.asked_for(table, None)
    table.write_text("old,new\na,b\n")
    with pytest.raises(InputError, match="has two, 'from' and 'to'"):
        Relabelling.asked_for(table, None)


def test_names_are_written_as_they_can_be_given_again() -> None:
    asked = Relabelling.asked_for(["Pneumonia=", "normal=healthy"], "COVID-19")
    assert asked.names == {"Pneumonia": "", "normal": "healthy"}
    assert Relabelling.asked_for(asked.written(), "COVID-19") == asked
    with pytest.raises(InputError, match="OLD=NEW"):
        Relabelling.asked_for("normal", None)


def test_what_no_class_says_is_asked_back_and_nothing_left_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="Viral"):
        Relabelling.asked_for({"Viral1": "x"}, None).of(of_classes())
    with pytest.raises(InputError, match="every class is dropped"):
        Relabelling.asked_for(dict.fromkeys(CLASSES, ""), None).of(of_classes())
    assert not Relabelling.asked_for(None, None)
