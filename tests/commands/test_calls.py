"""Several labels an image: one rule calls them, in scores, reports, predictions and the model."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

import cxrfeat
from cxrfeat import model
from cxrfeat.commands.fit import fit as fit_with_page
from cxrfeat.commands.report import report
from cxrfeat.errors import InputError
from cxrfeat.evaluation.outcome.image_difficulty import answers
from cxrfeat.evaluation.outcome.saved_run import read_run
from cxrfeat.prediction.called_labels import called as calls_of
from cxrfeat.results import FitResult, HeadReport
from tests.evaluation.made import blobs, write_file

fit = partial(fit_with_page, report=False)

LABELS = ["Effusion", "Hernia"]
HEADS = ["logreg", "lda", "linear_svm"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made(name: str = "nih.h5", n: int = 400, seed: int = 0) -> Path:
    """Write one label that a third of the images have and one that 4 % have, hard to predict."""
    random = np.random.default_rng(seed)
    X = random.normal(size=(n, 10)).astype(np.float32)
    noise = random.normal(size=(n, 2))
    labels = np.stack(
        [X[:, 0] + noise[:, 0] > 0.6, X[:, 1] + X[:, 2] + 2 * noise[:, 1] > 4.6], axis=1
    ).astype(np.float32)
    Path(name).parent.mkdir(exist_ok=True)
    return write_file(
        Path(name), X, labels, classes=LABELS, kind="multilabel",
        meta={"group": [f"{name}{i // 2}" for i in range(n)]},
    )  # fmt: skip


def rows_of(result: FitResult) -> list[dict[str, str]]:
    with (result.run / "predictions.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> FitResult:
    folder = tmp_path_factory.mktemp("calls")
    return fit(made(str(folder / "nih.h5")), head=HEADS, out=folder / "run", cv=3, repeats=2)


@pytest.mark.parametrize("head", ["lda", "logreg", "linear_svm", "knn"])
def test_a_rare_label_that_can_be_ranked_is_also_called(head: str) -> None:
    rare = fit(made(), head=[head]).reports[0].classes[1]
    assert rare.support == 16
    assert rare.auroc > 0.7
    assert rare.f1 > 0.1


def test_predict_calls_what_the_run_called() -> None:
    """The model that is saved scored the outside images: it calls them as the run did."""
    inside, outside = made(), made("outside/nih.h5", seed=1)
    result = fit(inside, test=outside, head=["logreg"], metric="f1")
    of_run = {row["id"].removeprefix("test:"): row["predicted"] for row in rows_of(result)}
    predicted = cxrfeat.predict(result.run / "model.skops", outside).predictions
    assert {one.id: "|".join(one.labels) for one in predicted} == of_run


def called(rows: list[dict[str, str]]) -> np.ndarray:
    return np.array([[name in row["predicted"].split("|") for name in LABELS] for row in rows])


def test_scores_and_predictions_come_from_the_thresholds_of_each_fold(run: FitResult) -> None:
    rows, every = rows_of(run), LABELS
    assert {len(fold["thresholds"]) for score in run.ranking for fold in score.folds} == {2}
    for score in run.ranking:
        for fold in score.folds:
            of_fold = [
                row for row in rows
                if (row["head"], row["fold"], row["repeat"])
                == (score.head, fold["name"], str(fold["repeat"]))
            ]  # fmt: skip
            p = np.array([[float(row[f"p_{name}"]) for name in every] for row in of_fold])
            np.testing.assert_array_equal(called(of_fold), p > fold["thresholds"])
            truth = np.array(
                [[name in row["label"].split("|") for name in every] for row in of_fold]
            )
            for name, reference in (
                ("f1", f1_score),
                ("balanced_accuracy", balanced_accuracy_score),
            ):
                by_hand = np.mean(
                    [reference(t, c) for t, c in zip(truth.T, called(of_fold).T, strict=True)]
                )
                assert fold["metrics"][name] == pytest.approx(by_hand)


def test_class_reports_and_the_interval_count_the_same_calls(run: FitResult) -> None:
    for best in run.reports:
        rows = [row for row in rows_of(run) if row["head"] == best.head and row["repeat"] == "0"]
        for name, entry in zip(LABELS, best.classes, strict=True):
            truth = np.array([name in row["label"].split("|") for row in rows])
            said = called(rows)[:, LABELS.index(name)]
            assert entry.recall == pytest.approx(np.mean(said[truth]))
            assert entry.precision == pytest.approx(np.mean(truth[said]))
        mean = next(s.mean["f1"] for s in run.ranking if s.head == best.head)
        low, high = best.intervals["f1"]
        assert low < mean < high


def test_the_images_that_a_page_shows_as_wrong_were_called_wrongly(run: FitResult) -> None:
    saved = read_run(run.run)
    rows = [row for row in rows_of(run) if row["head"] == "logreg"]
    said: dict[str, set[str]] = {}
    for row in rows:
        said.setdefault(row["id"], set()).add(row["predicted"])
    truth = {row["id"]: row["label"] for row in rows}
    found = answers(saved, "nih", "logreg")
    agreed = [place for place, id_ in enumerate(saved.ids) if len(said[id_]) == 1]
    assert len(agreed) > 200  # of 400 images both repeats say the same
    for place in agreed:
        (of_csv,) = said[saved.ids[place]]
        assert found.predicted[place] == (of_csv or "none")
        assert found.wrong[place] == (of_csv != truth[saved.ids[place]])


def test_the_rule_stands_in_results_model_and_card(run: FitResult) -> None:
    said = json.loads((run.run / "results.json").read_text())["decisions"]
    assert said == (
        "every label above its threshold, which is near the best for F1 on held-out training images"
    )
    saved = model.load(run.run / "model.skops")
    assert saved.training["decisions"] == said
    assert run.winner["thresholds"] == saved.thresholds
    assert said in (run.run / "model_card.md").read_text()
    checklist = (run.run / "checklist.csv").read_text()
    assert f"decisions: {said}" in checklist


@pytest.mark.parametrize(
    ("threshold", "holds"),
    [
        ("specificity", lambda report: all(c.specificity > 0.8 for c in report.classes)),
        ("youden", lambda report: report.classes[1].recall > 0.4),
        (0.99, lambda report: all(c.recall == 0 for c in report.classes)),
        ("0.01", lambda report: all(c.recall > 0.9 for c in report.classes)),
    ],
)
def test_another_rule_can_be_asked_for(
    threshold: str | float, holds: Callable[[HeadReport], bool]
) -> None:
    result = fit(made(), head=["logreg"], threshold=threshold)
    assert holds(result.reports[0])
    if threshold == "specificity":
        for entry in result.reports[0].classes:
            assert entry.recall == pytest.approx(entry.sensitivity_at, abs=0.03)


def test_every_image_is_called_by_a_share_for_all_where_f1_decides() -> None:
    """The floor of F1 is to call every image, not none."""
    report = fit(made(), head=["dummy"]).reports[0]
    for entry in report.classes:
        assert entry.recall == 1
        assert entry.f1 == pytest.approx(2 * entry.prevalence / (1 + entry.prevalence))


def test_classes_that_exclude_each_other_take_the_largest_probability() -> None:
    X, y = blobs(90, 12, distance=2, n_classes=2)
    path = write_file(Path("two.h5"), X, y, classes=["no", "yes"])
    first, second = (fit(path, head=["logreg"], threshold=t) for t in ("f1", "0.99"))
    assert [row["predicted"] for row in rows_of(first)] == [
        row["predicted"] for row in rows_of(second)
    ]
    assert first.decisions == second.decisions == "the most probable class"
    assert first.ranking[0].folds[0]["thresholds"] == []


@pytest.mark.parametrize(
    ("threshold", "message"),
    [("f2", "did you mean f1"), ("1.5", "a number between 0 and 1"), (0.0, "between 0 and 1")],
)
def test_a_rule_that_there_is_not_is_refused(threshold: str | float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit(made(), head=["logreg"], threshold=threshold)


def test_a_run_of_before_there_were_rules_is_read_as_it_was(run: FitResult, tmp_path: Path) -> None:
    """Then a label was called from a probability of one half on."""
    old = shutil.copytree(run.run, tmp_path / "old")
    document = json.loads((old / "results.json").read_text())
    del document["decisions"]
    for score in document["ranking"]:
        for fold in score["folds"]:
            del fold["thresholds"]
    (old / "results.json").write_text(json.dumps(document))
    saved = read_run(old)
    found = answers(saved, "nih", "lda")
    decided = (found.probability >= 0.5) != (saved.truth == 1)
    np.testing.assert_array_equal(found.wrong, decided.any(axis=1))
    assert report(old, no_images=True).page.exists()


@pytest.mark.parametrize("name", ["format2/knn-multilabel", "format3/linear_svm-multilabel"])
def test_an_older_model_calls_labels_above_the_thresholds_it_holds(name: str) -> None:
    golden = Path(__file__).parents[1] / "model" / "golden"
    folder, stem = name.split("/")
    gave = json.loads((golden / folder / "probabilities.json").read_text())[stem]
    loaded = model.load(golden / f"{name}.skops")
    p = loaded.predict_proba(np.array(gave["embeddings"], dtype=np.float32))
    assert "decisions" not in loaded.training
    assert calls_of(loaded, p) == [
        [label for label, value in zip(loaded.classes, row, strict=True)
         if value > loaded.thresholds[label]]
        for row in p.tolist()
    ]  # fmt: skip
