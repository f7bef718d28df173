"""Who is tested on whom: repeats, sources left out, given folds, fixed splits."""

from __future__ import annotations

from pathlib import Path

import pytest

from cxrfeat.errors import CxrfeatError, InputError, UnknownNameError
from cxrfeat.evaluation.outcome import findings
from tests.commands.fit_options.made import N, codes_of, fit, made


def test_repeats_draw_folds_anew_and_every_one_is_scored() -> None:
    result = fit(made(), head=["logreg"], cv=3, repeats=2)
    assert [(fold["repeat"], fold["name"]) for fold in result.ranking[0].folds] == [
        (repeat, f"fold {k}") for repeat in (0, 1) for k in (1, 2, 3)
    ]
    assert "2 times" in result.folds


def test_each_source_is_left_out_once() -> None:
    sources = ["north" if i % 3 else "south" for i in range(N)]
    result = fit(made(meta={"source": sources}), head=["logreg"], leave_out="source")
    assert [(f["name"], f["test"]) for f in result.ranking[0].folds] == [
        ("north", 60),
        ("south", 30),
    ]


def test_a_patient_of_the_tested_source_is_not_trained_on() -> None:
    sources = ["north" if i % 2 else "south" for i in range(N)]
    patients = ["both" if i < 2 else f"p{i}" for i in range(N)]
    path = made(meta={"source": sources, "group": patients})
    result = fit(path, head=["dummy"], leave_out="source", groups="group")
    assert [fold["train"] for fold in result.ranking[0].folds] == [44, 44]
    assert "2 images of patients who are also in the tested source not used" in result.folds


def test_one_source_cannot_be_left_out() -> None:
    with pytest.raises(InputError, match="leaving it out leaves nothing"):
        fit(made(meta={"source": ["only"] * N}), head=["dummy"], leave_out="source")
    with pytest.raises(UnknownNameError, match="did you mean source"):
        fit(made(meta={"source": ["only"] * N}), head=["dummy"], leave_out="sources")


def test_a_given_split_with_patients_on_both_sides_is_refused_unless_it_is_meant() -> None:
    split = ["val" if i % 3 == 0 else "train" for i in range(N)]
    path = made(meta={"split": split, "group": [f"p{i // 3}" for i in range(N)]})
    with pytest.raises(InputError, match=r"30 patients are on both sides of 'val'.*--groups none"):
        fit(path, head=["dummy"], split=True)
    assert findings.PATIENTS_ACROSS in codes_of(
        fit(path, head=["dummy"], split=True, groups="none")
    )


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"split": True, "leave_out": "source"}, InputError, "cannot both decide the folds"),
        ({"calibrate": "sigmoidal"}, UnknownNameError, "did you mean sigmoid"),
        ({"rope": -1}, InputError, "--rope"),
        ({"specificity": 90}, InputError, "--specificity 90: a share between 0 and 1"),
        ({"prevalence": 0}, InputError, "--prevalence"),
        ({"class_weight": "ballanced"}, UnknownNameError, "did you mean balanced"),
        ({"class_weight": "balanced"}, InputError, "none of the heads dummy can weigh"),
        ({"metric": "ece"}, InputError, "it cannot rank.*--metric brier"),
        ({"combine": ["good+bad"]}, UnknownNameError, "extractor"),
        ({"combine": ["good"]}, InputError, "two or more"),
        ({"head": ["sklearn.ensemble:NoTrees"]}, InputError, "cannot be imported"),
        ({"head": ["nowhere.at.all:Trees"]}, InputError, "cannot be imported"),
        ({"head": ["sklearn.linear_model:Ridge"]}, InputError, "is not a classifier"),
        ({"head": ["json:dumps"]}, InputError, "not a scikit-learn classifier"),
        ({"head": ["sklearn.ensemble:VotingClassifier"]}, InputError, "needs arguments"),
    ],
)
def test_wrong_use_is_one_line_with_the_mend(
    options: dict[str, object], error: type[CxrfeatError], message: str
) -> None:
    path = made(meta={"source": ["a", "b", "c"] * 30})
    with pytest.raises(error, match=message) as caught:
        fit(path, **({"head": ["dummy"]} | options))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert not Path("runs").exists()
