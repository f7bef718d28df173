from __future__ import annotations

import csv
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from cxrfeat import model
from cxrfeat.commands.fit import fit as fit_with_page
from cxrfeat.errors import CxrfeatError, FileFormatError, InputError, UnknownNameError
from tests.evaluation.made import blobs, write_file

fit = partial(fit_with_page, report=False)  # the page has tests of its own

FAST = ["logreg", "lda", "dummy"]
N = 90


@pytest.fixture
def embeddings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A good extractor and a random one over the same images, in the current folder."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "embeddings"
    folder.mkdir()
    X, y = blobs(N, 12, distance=4)
    write_file(folder / "good.h5", X, y)
    noise = np.random.default_rng(1).normal(size=(N, 8)).astype(np.float32)
    write_file(folder / "blind.h5", noise, y, weights="random")
    return folder


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_fit_works_as_typed_on_the_current_folder(embeddings: Path) -> None:
    result = fit(head=FAST)
    assert result.run == Path("runs/fit-001")
    assert result.ranking[0].extractor == "good"
    assert result.images == N
    assert {path.name for path in result.run.iterdir()} == {
        "scores.csv", "predictions.csv", "splits.json", "results.json", "model.skops",
        "table.md", "table.tex", "checklist.csv", "model_card.md", "folds",
    }  # fmt: skip
    assert fit(head=["dummy"]).run == Path("runs/fit-002")


def test_scores_have_a_row_per_extractor_and_head_and_say_which_is_a_control(
    embeddings: Path,
) -> None:
    result = fit(head=FAST)
    rows = rows_of(result.run / "scores.csv")
    assert [(row["extractor"], row["head"]) for row in rows] == [
        (score.extractor, score.head) for score in result.ranking
    ]
    assert {(row["extractor"], row["control"]) for row in rows} == {
        ("good", "no"),
        ("blind", "yes"),
    }
    assert float(rows[0]["auroc"]) == pytest.approx(result.ranking[0].mean["auroc"], abs=1e-6)
    assert float(rows[0]["auroc_sd"]) == pytest.approx(result.ranking[0].sd["auroc"], abs=1e-6)


def test_every_image_is_predicted_out_of_fold_once_per_extractor_and_head(
    embeddings: Path,
) -> None:
    result = fit(head=FAST)
    rows = rows_of(result.run / "predictions.csv")
    assert len(rows) == 2 * len(FAST) * N
    assert len({(row["id"], row["extractor"], row["head"]) for row in rows}) == len(rows)
    for row in rows:
        assert sum(float(row[f"p_{name}"]) for name in result.classes) == pytest.approx(1, abs=1e-4)


def test_the_saved_scores_can_be_computed_again_from_the_saved_predictions(
    embeddings: Path,
) -> None:
    result = fit(head=["logreg"])
    rows = [row for row in rows_of(result.run / "predictions.csv") if row["extractor"] == "good"]
    for fold in {row["fold"] for row in rows}:
        of_fold = [row for row in rows if row["fold"] == fold]
        right = np.mean([row["label"] == row["predicted"] for row in of_fold])
        saved = next(f for f in result.ranking[0].folds if f["name"] == fold)
        assert saved["metrics"]["accuracy"] == pytest.approx(right)


def test_results_json_is_strict_json_with_everything(embeddings: Path) -> None:
    result = fit(head=FAST, split=False)

    def refuse(token: str) -> None:
        raise AssertionError(token)

    text = (result.run / "results.json").read_text()
    document = json.loads(text, parse_constant=refuse)
    assert document["format"] == "cxrfeat-results"
    assert document["metric"] == "auroc"
    assert document["winner"] == result.winner
    assert len(document["ranking"]) == len(result.ranking)
    assert document["ranking"][0]["folds"][0]["tuned"][0]["tried"]


def test_the_confusion_matrix_counts_every_image_once(embeddings: Path) -> None:
    result = fit(head=FAST)
    report = result.reports[0]
    assert np.sum(report.confusion) == N
    assert [row.support for row in report.classes] == [30, 30, 30]
    assert [report.extractor for report in result.reports] == ["good", "blind"]


def test_the_winner_is_refitted_on_everything_and_saved(embeddings: Path) -> None:
    result = fit(head=FAST)
    saved = model.load(result.run / "model.skops")
    assert (saved.extractor, saved.head) == ("good", result.winner["head"])
    assert saved.training["images"] == N
    assert saved.classes == result.classes
    assert saved.spec["backbone"] == "good"


def test_neither_a_control_nor_the_floor_wins(embeddings: Path) -> None:
    """The control is made better than the real one, and the floor is always there."""
    X, y = blobs(N, 12, distance=9)
    write_file(embeddings / "lucky.h5", X, y, weights="random-7")
    result = fit(head=FAST)
    assert result.ranking[0].extractor == "lucky"
    assert result.winner["extractor"] == "good"
    assert result.winner["head"] != "dummy"


def test_saved_folds_give_the_same_scores_again(embeddings: Path) -> None:
    first = fit(head=["logreg"], seed=3)
    again = fit(head=["logreg"], seed=3, splits=first.run / "splits.json", fresh=True)
    assert again.ranking[0].mean == first.ranking[0].mean


def test_the_number_of_jobs_does_not_change_a_score(embeddings: Path) -> None:
    one, two = (fit(head=["logreg", "lda"], jobs=jobs, fresh=True) for jobs in (1, 2))
    for left, right in zip(one.ranking, two.ranking, strict=True):
        assert left.mean["auroc"] == pytest.approx(right.mean["auroc"], abs=1e-6)


def test_progress_is_told_after_each_fold(embeddings: Path) -> None:
    seen = []
    fit(head=["dummy"], cv=3, progress=seen.append)
    assert [event.done for event in seen] == list(range(1, 7))
    assert {event.extractor for event in seen} == {"good", "blind"}


def grouped(folder: Path, **columns: list[str]) -> Path:
    X, y = blobs(N, 12, distance=4)
    order = np.argsort(y, kind="stable")
    return write_file(folder / "patients.h5", X[order], y[order], meta=columns)


def test_patients_of_the_group_column_never_cross_folds(embeddings: Path) -> None:
    patients = [f"p{i // 3}" for i in range(N)]
    result = fit(grouped(embeddings, group=patients), head=["dummy"])
    assert result.patients == 30
    assert "patients kept together" in result.folds
    document = json.loads((result.run / "splits.json").read_text())
    for fold in document["folds"]:
        train, test = ({patients[i] for i in fold[side]} for side in ("train", "test"))
        assert not train & test


def test_images_without_a_patient_are_patients_of_their_own(embeddings: Path) -> None:
    patients = ["" if i % 3 else f"p{i}" for i in range(N)]
    result = fit(grouped(embeddings, group=patients), head=["dummy"])
    assert result.patients == N
    assert any("60 images have no group" in note for note in result.notes)


def test_another_column_can_be_the_patient(embeddings: Path) -> None:
    path = grouped(embeddings, site=[f"s{i % 10}" for i in range(N)])
    assert fit(path, head=["dummy"], groups="site").patients == 10
    with pytest.raises(UnknownNameError, match="did you mean site"):
        fit(path, head=["dummy"], groups="sites")


def test_groups_none_switches_patients_off_and_says_so(embeddings: Path) -> None:
    result = fit(grouped(embeddings, group=["p"] * N), head=["dummy"], groups="none")
    assert "by image" in result.folds
    assert any("patients may cross folds" in note for note in result.notes)


def test_no_patient_column_is_a_plain_warning(embeddings: Path) -> None:
    assert any("no patient column" in note for note in fit(head=["dummy"]).notes)


def test_the_fixed_split_is_used_and_named(embeddings: Path) -> None:
    parts = ["val" if i % 5 == 0 else "train" for i in range(N)]
    result = fit(grouped(embeddings, split=parts), head=["logreg"], split=True)
    assert "fitted on train (72 images), scored on val (18 images)" in result.folds
    assert np.isnan(result.ranking[0].sd["auroc"])
    assert rows_of(result.run / "scores.csv")[0]["auroc_sd"] == ""


def test_images_that_are_not_in_every_file_are_left_out_and_counted(embeddings: Path) -> None:
    X, y = blobs(N, 12, distance=4)
    write_file(embeddings / "fewer.h5", X[:80], y[:80], pending=["0003.png"])
    result = fit(head=["dummy"])
    assert result.images == 79
    assert "1 images of fewer were left out: failed or not done" in result.notes
    assert "11 images of good were left out: not in every file" in result.notes


def test_images_without_a_label_are_left_out_and_counted(embeddings: Path) -> None:
    X, y = blobs(N, 12, distance=4)
    labels = np.eye(3, dtype=np.float32)[y]
    labels[:6] = np.nan
    result = fit(write_file(embeddings / "part.h5", X, labels), head=["dummy"])
    assert result.images == 84
    assert "6 images without a label were left out" in result.notes


def test_a_class_without_images_is_dropped_with_a_note(embeddings: Path) -> None:
    X, y = blobs(N, 12, distance=4, n_classes=2)
    result = fit(write_file(embeddings / "two.h5", X, y), head=["dummy"])
    assert result.classes == ["clear", "opaque"]
    assert "classes without an image were left out: streaked" in result.notes


def test_embeddings_without_labels_borrow_those_of_another_file(embeddings: Path) -> None:
    X, _ = blobs(N, 12, distance=4)
    bare = write_file(embeddings / "bare.h5", X, None)
    assert fit([bare, embeddings / "good.h5"], head=["dummy"]).images == N


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"head": ["logrek"]}, UnknownNameError, "did you mean logreg"),
        ({"metric": "auc"}, UnknownNameError, "auroc"),
        ({"embeddings": "nowhere"}, InputError, "run cxrfeat extract first"),
        ({"embeddings": "."}, InputError, "no embedding file"),
        ({"cv": 40}, InputError, "fewer than the 40 folds: use --cv 30"),
        ({"cv": 1}, InputError, "at least 2 folds"),
        ({"repeats": 0}, InputError, "--repeats 0"),
        ({"jobs": 0}, InputError, "--jobs 0"),
        ({"split": True}, InputError, "needs a split column"),
        ({"split": True, "splits": "s.json"}, InputError, "cannot both decide the folds: give one"),
        ({"splits": "s.json"}, InputError, "cannot be read"),
        ({"out": "embeddings"}, InputError, "exists already"),
    ],
)
def test_wrong_use_is_one_line_with_the_mend_and_leaves_nothing(
    embeddings: Path, options: dict[str, object], error: type[CxrfeatError], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        fit(**({"head": ["dummy"]} | options))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert not Path("runs").exists()


def bad_file(folder: Path, kind: str) -> list[Path]:
    X, y = blobs(N, 12, distance=4)
    good, bad = folder / "good.h5", folder / "bad.h5"
    if kind == "no labels":
        return [write_file(bad, X, None)]
    if kind == "all labels missing":
        return [write_file(bad, X, np.full((N, 3), np.nan))]
    if kind == "one class":
        return [write_file(bad, X, np.zeros(N, int))]
    if kind == "one patient":
        return [write_file(bad, X, y, meta={"group": ["p"] * N})]
    if kind == "no common image":
        return [good, write_file(bad, X, y, ids=[f"other/{i}" for i in range(N)])]
    if kind == "nothing done":
        return [write_file(bad, X, y, pending=[f"{i:04d}.png" for i in range(N)])]
    if kind == "another image":
        return [good, write_file(bad, X, y, sha={"0007.png": "0" * 64})]
    if kind == "other labels":
        return [good, write_file(bad, X, (y + 1) % 3)]
    if kind == "other classes":
        return [good, write_file(bad, X, y, classes=["x", "y", "z"])]
    (folder / "twin").mkdir()
    return [good, write_file(folder / "twin" / "good.h5", X, y)]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("no labels", "has no labels"),
        ("all labels missing", "all labels are missing"),
        ("one class", "all images that have a label are of one class"),
        ("one patient", "all images are of one patient"),
        ("no common image", "no image in common"),
        ("nothing done", "no finished row"),
        ("another image", "'0007.png' is another image"),
        ("other labels", "90 images have another label"),
        ("other classes", "extract both with the same labels"),
        ("two of one name", "two extractors are called 'good'"),
    ],
)
def test_files_that_cannot_be_compared_say_why(embeddings: Path, kind: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit(bad_file(embeddings, kind), head=["dummy"])
    assert not Path("runs").exists()


def test_a_done_row_that_is_not_finite_is_refused(embeddings: Path) -> None:
    import h5py

    with h5py.File(embeddings / "good.h5", "r+") as file:
        file["embeddings"][5] = np.nan
    with pytest.raises(InputError, match=r"1 rows of .*good\.h5 are not finite.*'0005\.png'"):
        fit(embeddings / "good.h5", head=["dummy"])


def test_a_file_that_is_not_ours_is_refused(embeddings: Path) -> None:
    (embeddings / "other.h5").write_text("hello")
    with pytest.raises(FileFormatError, match=r"other\.h5"):
        fit(head=["dummy"])


def test_an_interrupted_fit_leaves_no_run_behind_but_what_it_found(embeddings: Path) -> None:
    def interrupt(event: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(head=["dummy"], progress=interrupt)
    (left,) = Path("runs").iterdir()
    assert left.name == ".fit-001.partial"
    assert {path.name for path in left.iterdir()} == {"asked.json", "folds"}
    assert [path.suffix for path in (left / "folds").iterdir()] == [".piece"]
