"""Who is kept apart: patients of several hospitals, and the images of a fixed test part."""

from __future__ import annotations

import csv
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from cxrfeat import model
from cxrfeat.commands.fit import fit as fit_with_page
from cxrfeat.errors import InputError
from cxrfeat.evaluation.outcome import findings
from cxrfeat.results import FitResult
from tests.evaluation.made import blobs, write_file
from tests.test_cli import run as command

fit = partial(fit_with_page, report=False)

N = 90
NORTH = ["north" if i < 45 else "south" for i in range(N)]
EQUAL = [f"{i % 45:03d}" for i in range(N)]
"""Patients numbered from 0 in either hospital."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made(name: str = "e.h5", **meta: list[str]) -> Path:
    X, y = blobs(N, 12, distance=2)
    return write_file(Path(name), X, y, meta=meta)


# Patients of several sources


def test_equal_patient_numbers_of_two_hospitals_are_two_patients() -> None:
    result = fit(made(group=EQUAL, source=NORTH), head=["dummy"])
    assert result.patients == N
    assert (
        "45 patient ids occur in several sources: each was taken for another patient in each"
        " source; where they are the same patients give --groups group" in result.notes
    )


def test_they_may_stand_on_both_sides_of_a_division() -> None:
    split = ["train" if source == "north" else "test" for source in NORTH]
    path = made(group=EQUAL, source=NORTH, split=split)
    assert fit(path, head=["dummy"], split=True).patients == N


def test_patients_who_were_in_both_hospitals_are_kept_together_when_that_is_said() -> None:
    path = made(
        group=EQUAL, source=NORTH, split=["train" if s == "north" else "test" for s in NORTH]
    )
    result = fit(path, head=["dummy"], groups="group")
    assert result.patients == 45
    assert not [note for note in result.notes if "several sources" in note]
    with pytest.raises(InputError, match="45 patients are on both sides"):
        fit(path, head=["dummy"], groups="group", split=True)


def test_where_the_source_is_not_known_of_all_equal_ids_stay_one_patient() -> None:
    source = ["" if i == 50 else one for i, one in enumerate(NORTH)]
    result = fit(made(group=EQUAL, source=source), head=["dummy"])
    assert result.patients == 45
    assert (
        "44 patient ids occur in several sources and 1 image has none: equal ids were taken for one"
        " patient" in result.notes
    )


def test_sources_without_a_common_patient_id_change_nothing() -> None:
    patients = [f"p{i // 2}" for i in range(N)]
    sources = ["north" if i < 44 else "south" for i in range(N)]
    with_sources = fit(made(group=patients, source=sources), head=["lda"])
    without = fit(made(group=patients), head=["lda"])
    assert with_sources.ranking[0].folds == without.ranking[0].folds
    assert with_sources.notes == without.notes


def test_patients_across_folds_are_found_by_source_too() -> None:
    """Only the patient with two images in one hospital has them on both sides."""
    group = [*EQUAL[:-1], EQUAL[-2]]
    split = ["test" if i % 2 else "train" for i in range(N)]
    result = fit(
        made(group=group, source=NORTH, split=split), head=["dummy"], split=True, groups="none"
    )
    (finding,) = (f for f in result.findings if f.code == findings.PATIENTS_ACROSS)
    assert finding.detail["patients"] == 1


# The model of a fixed division


def split_of(n_test: int = 30) -> list[str]:
    return ["test" if i < n_test else "val" if i < n_test + 15 else "train" for i in range(N)]


def scored(result: FitResult) -> tuple[list[str], np.ndarray]:
    with (result.run / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    p = [[float(row[f"p_{name}"]) for name in result.classes] for row in rows]
    return [row["id"] for row in rows], np.array(p)


def test_the_model_of_a_fixed_split_has_not_seen_its_test_images() -> None:
    result = fit(made(split=split_of()), head=["logreg"], split=True)
    saved = model.load(result.run / "model.skops")
    assert saved.training["images"] == 60
    ids, p = scored(result)
    X, _ = blobs(N, 12, distance=2)
    rows = [int(id_[:4]) for id_ in ids]
    np.testing.assert_allclose(saved.predict_proba(X[rows]), p, atol=2e-3)
    said = "the 60 images that the folds learn from; the 30 that test it are not among them"
    assert saved.training["fitted_on"] == result.winner["fitted_on"] == said
    card = (result.run / "model_card.md").read_text()
    assert said in card
    assert "not tested on others" not in card
    assert said in (result.run / "checklist.csv").read_text()


def test_all_images_can_be_asked_for_and_what_that_costs_is_said() -> None:
    result = fit(made(split=split_of()), head=["logreg"], split=True, refit="all")
    assert model.load(result.run / "model.skops").training["images"] == N
    assert result.winner["fitted_on"] == (
        "all 90 images, the 30 that test it among them: no score on these is a score of this model"
    )
    assert result.winner["fitted_on"] in (result.run / "model_card.md").read_text()
    assert any("fitted on all 90 images" in note for note in result.notes)


@pytest.mark.parametrize("options", [{}, {"leave_out": "source"}, {"repeats": 2}])
def test_where_every_image_is_tested_the_model_learns_from_all(options: dict[str, object]) -> None:
    result = fit(made(source=NORTH), head=["lda"], **options)  # type: ignore[arg-type]
    assert model.load(result.run / "model.skops").training["images"] == N
    assert result.winner["fitted_on"] == "all 90 images of the folds"


def test_a_saved_division_is_held_to_as_well() -> None:
    """Also the images of no part are left out."""
    parts = [*split_of()[:-5], *["unused"] * 5]
    first = fit(made(split=parts), head=["lda"], split=True)
    again = fit(made(split=parts), head=["lda"], splits=first.run / "splits.json")
    assert [r.winner["fitted_on"].split(" images")[0] for r in (first, again)] == ["the 55"] * 2


def test_an_outside_set_stays_outside_whatever_is_asked_for() -> None:
    Path("outside").mkdir()
    result = fit(made(), test=made("outside/e.h5"), head=["lda"], refit="all")
    assert model.load(result.run / "model.skops").training["images"] == N
    assert "the 90 that test it are not among them" in result.winner["fitted_on"]


def test_a_class_of_test_images_alone_is_not_one_that_the_model_knows() -> None:
    X, y = blobs(N, 12, distance=4)
    split = ["test" if k == 2 or i < 20 else "train" for i, k in enumerate(y)]
    path = write_file(Path("e.h5"), X, y, meta={"split": split})
    result = fit(path, head=["lda"], split=True)
    saved = model.load(result.run / "model.skops")
    assert saved.classes == ["clear", "opaque"]
    assert saved.predict_proba(X).shape == (N, 2)
    assert "the model does not know 'streaked': it was fitted on no image of it" in result.notes


def test_refit_is_one_of_two() -> None:
    with pytest.raises(InputError, match="did you mean all"):
        fit(made(), head=["dummy"], refit="al")


# Two folds


def test_two_hospitals_cannot_tell_extractors_apart_and_this_is_said_before_the_work() -> None:
    said: list[str] = []
    paths = [made("a.h5", source=NORTH), made("b.h5", source=NORTH)]
    result = fit(
        paths, head=["lda"], leave_out="source", warn=said.append,
        progress=lambda event: said.append("working"),
    )  # fmt: skip
    assert said[0].startswith("2 folds leave the paired test one degree of freedom")
    assert "--test" in said[0]
    assert said[1] == "working"
    assert said[0] in result.notes
    for options in ({"leave_out": "source", "head": ["lda"]}, {"head": ["lda"], "cv": 3}):
        said.clear()
        fit(paths[:1], warn=said.append, **options)  # type: ignore[arg-type]
        assert said == []


def test_the_command_says_so_before_it_works() -> None:
    made("a.h5", source=NORTH)
    made("b.h5", source=NORTH)
    done = command("fit", "a.h5", "b.h5", "--head", "dummy", "--leave-out", "source", "--no-report")
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("2 folds leave the paired test one degree of freedom")
    assert json.loads(Path("runs/fit-001/results.json").read_text())["notes"][-1] in " ".join(
        done.stdout.split()
    )
