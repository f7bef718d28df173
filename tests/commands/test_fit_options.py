"""What `cxrfeat fit` can be asked for beyond plain cross-validation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm
from jsonschema import Draft202012Validator, ValidationError
from sklearn.metrics import average_precision_score, roc_auc_score

from cxrfeat import model
from cxrfeat.commands.fit import fit as fit_with_page
from cxrfeat.errors import CxrfeatError, InputError, SpecMismatchError, UnknownNameError
from cxrfeat.evaluation.outcome import findings
from cxrfeat.evaluation.study import scorable_labels
from cxrfeat.results import latex_table, markdown_table
from cxrfeat.tables import read_table
from tests.evaluation.made import blobs, write_file

fit = partial(fit_with_page, report=False)  # the page has tests of its own

N = 90


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made(name: str = "good.h5", n: int = N, seed: int = 0, **options: object) -> Path:
    X, y = blobs(n, 12, distance=4, seed=seed)
    return write_file(Path(name), X, y, **options)  # type: ignore[arg-type]


def codes_of(result: object) -> list[str]:
    return [finding.code for finding in result.findings]  # type: ignore[attr-defined]


# Folds


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


# Calibration and net benefit


def test_calibration_and_net_benefit_of_all_repeats_are_in_the_results() -> None:
    X, y = blobs(N, 12, distance=1.5)
    patients = [f"p{i // 2}" for i in range(N)]
    path = write_file(Path("hard.h5"), X, y, meta={"group": patients})
    result = fit(path, head=["logreg"], repeats=2)
    (report,) = result.reports
    assert "ece" not in report.intervals
    table = read_table(result.run / "predictions.csv")
    for entry in report.classes:
        slopes, benefits = [], []
        for repeat in ("0", "1"):
            rows = [row for row, of in enumerate(table["repeat"]) if of == repeat]
            truth = np.array([table["label"][row] == entry.name for row in rows], dtype=float)
            p = np.array([float(table[f"p_{entry.name}"][row]) for row in rows])
            line = sm.GLM(
                truth, sm.add_constant(np.log(p / (1 - p))), family=sm.families.Binomial()
            ).fit()
            slopes.append(line.params[1])
            called = p >= 0.25
            benefits.append((np.sum(called & (truth == 1)) - np.sum(called & (truth == 0)) / 3) / N)
        assert entry.calibration_slope == pytest.approx(np.mean(slopes), rel=1e-3)
        low, high = entry.calibration_slope_interval
        assert low < entry.calibration_slope < high
        low, high = entry.calibration_intercept_interval
        assert low < entry.calibration_intercept < high
        place = entry.decision_curve["threshold"].index(0.25)
        assert entry.decision_curve["net_benefit"][place] == pytest.approx(
            np.mean(benefits), abs=1e-6
        )


def test_classes_that_are_separated_have_no_slope_and_the_run_says_so() -> None:
    X, y = blobs(N, 12, distance=30)
    result = fit(write_file(Path("easy.h5"), X, y), head=["logreg", "dummy"])
    assert all(np.isnan(entry.calibration_slope) for entry in result.reports[0].classes)
    (note,) = [note for note in result.notes if "calibration slope" in note]
    assert note.startswith(
        "easy with logreg has no calibration slope for clear, opaque, streaked: "
    )


# An outside test set


def test_an_outside_set_is_scored_by_what_was_fitted_on_the_first() -> None:
    inside, outside = made(), made("outside.h5", n=30, seed=0)
    with pytest.raises(SpecMismatchError, match="made in another way"):
        fit(inside, test=outside, head=["logreg"])
    Path("outside").mkdir()
    outside = made("outside/good.h5", n=30, seed=0)
    result = fit(inside, test=outside, head=["logreg", "dummy"])
    assert "fitted on 90 images, scored on 30" in result.folds
    rows = (result.run / "predictions.csv").read_text().splitlines()
    assert len(rows) == 1 + 2 * 30
    assert all(row.startswith("test:") for row in rows[1:])
    assert model.load(result.run / "model.skops").training["images"] == 90


def test_an_outside_set_of_other_classes_is_refused() -> None:
    Path("outside").mkdir()
    outside = made("outside/good.h5", classes=["x", "y", "z"])
    with pytest.raises(InputError, match="--test has other classes"):
        fit(made(), test=outside, head=["dummy"])


def two_extractors(folder: str, n: int, seed: int, patients: int) -> None:
    Path(folder).mkdir()
    X, y = blobs(n, 12, distance=3, seed=seed)
    noise = np.random.default_rng(seed).normal(size=X.shape)
    groups = {"group": [f"{folder}{i % patients}" for i in range(n)]}
    write_file(Path(folder) / "good.h5", X, y, meta=groups)
    write_file(Path(folder) / "worse.h5", (X + 6 * noise).astype(np.float32), y, meta=groups)


def two_classes_of_two_extractors(folder: str, keep: Sequence[int]) -> Path:
    """Write the images of some classes, as two extractors see them, less well the second."""
    Path(folder).mkdir()
    X, y = blobs(N, 12, distance=3)
    rows = np.isin(y, keep)
    noise = np.random.default_rng(0).normal(size=X.shape)
    write_file(Path(folder) / "good.h5", X[rows], y[rows])
    write_file(Path(folder) / "worse.h5", (X + noise)[rows].astype(np.float32), y[rows])
    return Path(folder)


def test_an_outside_set_of_one_class_has_no_auroc_and_this_is_said_before_the_work() -> None:
    inside = two_classes_of_two_extractors("inside", [0, 1, 2])
    outside = two_classes_of_two_extractors("outside", [1])
    worked = []
    with pytest.raises(
        InputError, match="macro AUROC is not defined: the 30 test images are all"
    ) as e:
        fit(inside, test=outside, head=["logreg"], progress=worked.append)
    assert "('opaque'); add images of another class, or give --metric accuracy" in str(e.value)
    assert not worked
    assert not Path("runs").exists()


def test_on_an_outside_set_of_one_class_the_accuracy_is_scored_and_the_rest_is_said() -> None:
    inside = two_classes_of_two_extractors("inside", [0, 1, 2])
    outside = two_classes_of_two_extractors("outside", [1])
    result = fit_with_page(inside, test=outside, head=["logreg", "dummy"], metric="accuracy")
    best = result.ranking[0]
    assert best.mean["accuracy"] == best.mean["sensitivity"] > 0.8
    assert np.isnan(best.mean["auroc"])
    assert "not defined on the test images of test: auroc, auprc" in result.notes
    assert result.comparisons[0].difference > 0
    assert (result.run / "report.html").exists()


def test_training_images_of_one_class_are_refused_before_the_work() -> None:
    inside = two_classes_of_two_extractors("inside", [0])
    outside = two_classes_of_two_extractors("outside", [0, 1])
    with pytest.raises(
        InputError, match=r"training images of 'test' are all of one class \('clear'"
    ):
        fit(inside, test=outside, head=["logreg"])


def test_delong_and_mcnemar_only_on_a_fixed_set_with_one_image_per_patient() -> None:
    two_extractors("inside", 90, seed=0, patients=90)
    two_extractors("single", 60, seed=0, patients=60)
    two_extractors("several", 60, seed=0, patients=20)
    single = fit("inside", test="single", head=["logreg"]).comparisons[0]
    assert [test["class"] for test in single.delong] == ["clear", "opaque", "streaked"]
    assert single.mcnemar is not None
    assert single.difference > 0
    several = fit("inside", test="several", head=["logreg"]).comparisons[0]
    assert several.delong == []
    assert several.mcnemar is None
    assert fit("inside", head=["logreg"]).comparisons[0].delong == []


def test_delong_is_adjusted_over_all_classes_and_pairs() -> None:
    two_extractors("inside", 90, seed=0, patients=90)
    two_extractors("single", 60, seed=0, patients=60)
    for folder, n in (("inside", 90), ("single", 60)):
        X, y = blobs(n, 12, distance=4)
        patients = {"group": [f"{folder}{i}" for i in range(n)]}
        write_file(Path(folder) / "third.h5", X[:, :3], y, meta=patients)
    result = fit("inside", test="single", head=["logreg"])
    tests = [test for pair in result.comparisons for test in pair.delong]
    assert len(tests) == 9  # three classes, three pairs
    order = sorted(tests, key=lambda test: test["p"])
    running = 0.0
    for place, test in enumerate(order):
        running = max(running, min(1.0, (9 - place) * test["p"]))
        assert test["p_holm"] == pytest.approx(running)


# Heads


def test_any_scikit_learn_classifier_goes_by_its_import_path() -> None:
    heads = ["sklearn.naive_bayes:GaussianNB", "sklearn.linear_model:RidgeClassifier", "dummy"]
    result = fit(made(), head=heads)
    assert {score.head for score in result.ranking} == set(heads)
    assert result.ranking[0].mean["auroc"] > 0.9
    saved = model.load(result.run / "model.skops")
    assert saved.head == result.winner["head"]


def test_a_forest_is_saved_and_loaded_too() -> None:
    result = fit(made(), head=["sklearn.ensemble:ExtraTreesClassifier"], cv=2)
    X, _ = blobs(N, 12, distance=4)
    p = model.load(result.run / "model.skops").predict_proba(X)
    np.testing.assert_allclose(p.sum(axis=1), 1)


def test_class_weights_are_in_options_settings_model_and_notes() -> None:
    heads = ["logreg", "knn", "dummy"]
    result = fit(made(), head=heads, class_weight="balanced", cv=3)
    assert result.options["class_weight"] == "balanced"
    of_logreg = next(score for score in result.ranking if score.head == "logreg")
    for fold in of_logreg.folds:
        assert fold["tuned"][0]["setting"]["class_weight"] == "balanced"
    assert [note for note in result.notes if note.startswith("knn cannot weigh classes")]
    alone = fit(made(), head=["logreg"], class_weight="balanced", cv=3)
    (settings,) = model.load(alone.run / "model.skops").training["settings"]
    assert settings["class_weight"] == "balanced"
    table = read_table(alone.run / "checklist.csv")
    row = table["topic"].index("class imbalance")
    assert "weigh balanced in the loss" in table["value"][row]
    assert "no class is resampled or weighted" not in table["value"][row]


def test_extractors_can_be_used_side_by_side() -> None:
    X, y = blobs(N, 12, distance=3)
    write_file(Path("left.h5"), X[:, :4], y)
    write_file(Path("right.h5"), X[:, 4:], y)
    result = fit(["left.h5", "right.h5"], head=["logreg"], combine=["left+right"])
    best = result.ranking[0]
    assert best.extractor == "left+right"
    saved = model.load(result.run / "model.skops")
    assert saved.dimension == 12
    assert set(saved.spec["combined"]) == {"left", "right"}
    np.testing.assert_allclose(saved.predict_proba(X).sum(axis=1), 1)


def test_blocks_have_the_same_weight_whatever_their_dimension() -> None:
    from cxrfeat.evaluation.heads.standardised_fold import SharedFold

    X = np.random.default_rng(0).normal(size=(50, 10)).astype(np.float32)
    standardised = SharedFold(X, X[:0], (2, 8)).X
    assert np.sum(standardised[:, :2] ** 2) == pytest.approx(np.sum(standardised[:, 2:] ** 2))


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_calibration_brings_probabilities_closer_to_the_truth(method: str) -> None:
    X, y = blobs(300, 40, distance=2)
    path = write_file(Path("noisy.h5"), X, y)
    head = ["sklearn.naive_bayes:GaussianNB"]
    X[:, 20:] = X[:, :20]  # copies make naive Bayes far too sure
    write_file(path, X, y)
    plain = fit(path, head=head).ranking[0]
    calibrated = fit(path, head=head, calibrate=method).ranking[0]
    assert calibrated.mean["ece"] < plain.mean["ece"] - 0.02
    assert calibrated.mean["brier"] < plain.mean["brier"]


def test_a_metric_where_less_is_better_ranks_and_compares_the_right_way_round() -> None:
    X, y = blobs(N, 12, distance=4)
    noise = np.random.default_rng(0).normal(size=X.shape).astype(np.float32)
    write_file(Path("good.h5"), X, y)
    write_file(Path("poor.h5"), X + 8 * noise, y)
    result = fit(["good.h5", "poor.h5"], head=["logreg", "linear_svm", "dummy"], metric="brier")
    assert result.ranking[0].extractor == "good"
    assert result.winner["extractor"] == "good"
    pair = result.comparisons[0]
    assert (pair.first, pair.second) == ("good", "poor")
    assert pair.difference > 0


# Multi-label


def multilabel(n: int = 240) -> tuple[Path, np.ndarray]:
    """Three findings as in NIH: any number may hold, 30 % are not known, one is very rare."""
    random = np.random.default_rng(5)
    X = random.normal(size=(n, 10)).astype(np.float32)
    labels = np.stack(
        [X[:, 0] + 0.5 * random.normal(size=n) > 0, X[:, 1] - X[:, 2] > 0.5, np.arange(n) < 3],
        axis=1,
    ).astype(np.float32)
    labels[random.random(labels.shape) < 0.3] = np.nan
    labels[:3, 2] = 1
    path = write_file(
        Path("nih.h5"),
        X,
        labels,
        classes=["Effusion", "Mass", "Hernia"],
        kind="multilabel",
        meta={"group": [f"p{i // 2}" for i in range(n)]},
    )
    return path, labels


def test_every_label_is_scored_where_it_is_known_as_by_hand() -> None:
    path, labels = multilabel()
    result = fit(path, head=["logreg", "linear_svm", "dummy"], prevalence=0.02)
    assert result.classes == ["Effusion", "Mass"]
    report = result.reports[0]
    assert report.confusion == []

    import csv

    with (result.run / "predictions.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["head"] == report.head]
    position = {f"{i:04d}.png": i for i in range(len(labels))}
    above = {
        fold["name"]: fold["thresholds"]
        for score in result.ranking
        if score.head == report.head
        for fold in score.folds
    }
    for k, entry in enumerate(report.classes):
        truth, p, fold = [], [], []
        for row in rows:
            value = labels[position[row["id"]], k]
            if np.isfinite(value):
                truth.append(int(value))
                p.append(float(row[f"p_{entry.name}"]))
                fold.append(row["fold"])
        t, q, f = np.array(truth), np.array(p), np.array(fold)
        areas = [roc_auc_score(t[f == name], q[f == name]) for name in np.unique(f)]
        precisions = [average_precision_score(t[f == n], q[f == n]) for n in np.unique(f)]
        called = q > np.array([above[name][k] for name in fold])
        tp, fn = np.sum(t[called]), np.sum(t[~called])
        tn, fp = np.sum(1 - t[~called]), np.sum(1 - t[called])
        assert (entry.support, entry.known) == (t.sum(), len(t))
        assert entry.prevalence == pytest.approx(t.mean())
        assert entry.auroc == pytest.approx(np.mean(areas), abs=1e-4)
        assert entry.auprc == pytest.approx(np.mean(precisions), abs=1e-4)
        assert entry.recall == pytest.approx(tp / (tp + fn))
        assert entry.specificity == pytest.approx(tn / (tn + fp))
        assert entry.precision == pytest.approx(tp / (tp + fp))
        assert entry.npv == pytest.approx(tn / (tn + fn))
        share = entry.recall * 0.02 + (1 - entry.specificity) * 0.98
        assert entry.ppv_at_prevalence == pytest.approx(entry.recall * 0.02 / share)


def test_a_label_with_too_few_positives_is_reported_not_scored() -> None:
    path, _ = multilabel()
    result = fit(path, head=["logreg"])
    (finding,) = (f for f in result.findings if f.code == scorable_labels.TOO_RARE)
    assert finding.detail == {
        "label": "Hernia",
        "positive": 3,
        "negative": finding.detail["negative"],
        "needed": 10,
    }
    with pytest.raises(InputError, match="no label has"):
        fit(path, head=["logreg"], cv=100)


def test_a_multi_label_model_gives_a_probability_per_label() -> None:
    path, _ = multilabel()
    result = fit(path, head=["logreg"])
    saved = model.load(result.run / "model.skops")
    X = np.random.default_rng(5).normal(size=(7, 10)).astype(np.float32)
    assert saved.kind == "multilabel"
    assert saved.predict_proba(X).shape == (7, 2)
    assert len(result.winner["settings"]) == 2


@pytest.mark.parametrize("head", ["lda", "knn", "svm_rbf", "xgboost"])
def test_every_head_takes_labels_that_are_partly_unknown(head: str) -> None:
    path, _ = multilabel(120)
    assert fit(path, head=[head], cv=3).ranking[0].mean["auroc"] > 0.7


def hospitals(**where: float) -> Path:
    """Write two labels of 90 images of 45 patients in three hospitals.

    The second label holds for half of the images of one hospital and is unknown or absent
    elsewhere.
    """
    random = np.random.default_rng(7)
    X = random.normal(size=(90, 6)).astype(np.float32)
    site = np.arange(90) // 30
    second = np.where(site == 0, X[:, 1] > 0, where["elsewhere"])
    labels = np.stack([X[:, 0] > 0, second], axis=1).astype(np.float32)
    return write_file(
        Path("sites.h5"), X, labels, classes=["Effusion", "Mass"], kind="multilabel",
        meta={
            "group": [f"p{i // 2}" for i in range(90)], "site": [f"s{k}" for k in site],
            "split": ["test" if k == 0 else "train" for k in site],
        },
    )  # fmt: skip


@pytest.mark.parametrize("elsewhere", [0.0, np.nan], ids=["absent elsewhere", "unknown elsewhere"])
def test_a_label_that_one_fold_cannot_learn_is_not_scored_there_and_this_is_said(
    elsewhere: float,
) -> None:
    path = hospitals(elsewhere=elsewhere)
    result = fit(path, head=["logreg", "linear_svm"], leave_out="site")
    (finding,) = (f for f in result.findings if f.code == scorable_labels.NOT_LEARNED)
    assert finding.detail["label"] == "Mass"
    if np.isnan(elsewhere):  # no fold that learned the label has it known among its test images
        assert result.classes == ["Effusion"]
        return
    assert finding.detail["folds"] == ["s0"]
    for score in result.ranking:
        of_fold = {fold["name"]: fold["metrics"] for fold in score.folds}
        assert np.isfinite(list(score.mean.values())).all()
        assert 0.8 < of_fold["s0"]["auroc"] < 1  # of Effusion alone
    report = result.reports[0].classes[1]
    assert sum(row["images"] for row in report.reliability) == 60
    assert model.load(result.run / "model.skops").classes == ["Effusion", "Mass"]


def test_a_label_that_no_fold_can_learn_is_left_out_and_this_is_said() -> None:
    result = fit(hospitals(elsewhere=0.0), head=["logreg"], split=True)
    assert result.classes == ["Effusion"]
    (finding,) = (f for f in result.findings if f.code == scorable_labels.NOT_LEARNED)
    assert "label 'Mass' is not scored" in finding.message


def test_a_label_whose_positives_are_all_of_one_patient_is_too_rare() -> None:
    """Twelve images suffice for five folds, one patient does not: four folds would have none."""
    random = np.random.default_rng(3)
    X = random.normal(size=(120, 6)).astype(np.float32)
    labels = np.stack([X[:, 0] > 0, np.arange(120) < 12], axis=1).astype(np.float32)
    path = write_file(
        Path("one.h5"), X, labels, classes=["Effusion", "Hernia"], kind="multilabel",
        meta={"group": [f"p{i // 12}" for i in range(120)]},
    )  # fmt: skip
    result = fit(path, head=["logreg"])
    assert result.classes == ["Effusion"]
    (finding,) = (f for f in result.findings if f.code == scorable_labels.TOO_RARE)
    assert finding.detail["patients"] == [1, 9]
    by_image = fit(path, head=["logreg"], groups="none")
    assert by_image.classes == ["Effusion", "Hernia"]


def test_a_class_that_a_left_out_hospital_has_alone_is_said_to_be_missed() -> None:
    X, y = blobs(N, 12, distance=4)
    site = ["alone" if k == 2 else ("first", "second")[i % 2] for i, k in enumerate(y)]
    result = fit(
        write_file(Path("s.h5"), X, y, meta={"site": site}), head=["lda"], leave_out="site"
    )
    (finding,) = (f for f in result.findings if f.code == scorable_labels.NOT_LEARNED)
    assert finding.detail == {"label": "streaked", "folds": ["alone"]}
    assert "never the answer" in finding.message


# Findings


def test_equal_images_on_both_sides_of_a_fold_and_of_the_split_are_found() -> None:
    split = ["val" if i % 2 else "train" for i in range(N)]
    path = made(sha={"0001.png": "a" * 64, "0004.png": "a" * 64}, meta={"split": split})
    result = fit(path, head=["dummy"], split=True)
    found = {f.code: f for f in result.findings}
    assert found[findings.DUPLICATES_ACROSS].detail["copies"] == [["0001.png", "0004.png"]]
    assert found[findings.DUPLICATES_SPLIT].detail["images"] == 1


def test_a_class_smaller_than_the_folds_is_found() -> None:
    X, y = blobs(N, 12, distance=4)
    y[np.flatnonzero(y == 2)[2:]] = 0
    sources = [f"s{i % 5}" for i in range(N)]
    path = write_file(Path("few.h5"), X, y, meta={"source": sources})
    assert findings.SMALL_CLASS in codes_of(fit(path, head=["logreg"], leave_out="source"))


def test_the_best_of_many_is_said_to_be_flattered_and_a_single_one_is_not() -> None:
    path = made()
    several, single = fit(path, head=["logreg", "lda"]), fit(path, head=["logreg"])
    assert findings.FLATTERED in codes_of(several)
    assert findings.FLATTERED not in codes_of(single)


def test_the_model_records_what_choosing_its_head_scored_and_not_the_flattered_best() -> None:
    X, y = blobs(N, 12, distance=0.5)
    heads = ["logreg", "lda", "knn", "svm_rbf", "linear_svm"]
    result = fit(write_file(Path("weak.h5"), X, y), head=heads)
    training = model.load(result.run / "model.skops").training
    (honest,) = result.extractors
    assert training["scores"]["auroc"] == pytest.approx(honest.mean, abs=1e-6)
    assert training["scores_as_ranked"]["auroc"] == pytest.approx(
        result.ranking[0].mean["auroc"], abs=1e-6
    )
    assert training["scores"]["auroc"] < training["scores_as_ranked"]["auroc"]


def test_a_control_that_does_as_well_is_found() -> None:
    X, y = blobs(N, 12, distance=4)
    write_file(Path("real.h5"), X, y)
    better, _ = blobs(N, 12, distance=9)
    write_file(Path("control.h5"), better, y, weights="random")
    result = fit(["real.h5", "control.h5"], head=["logreg"])
    assert findings.CONTROL_WINS in codes_of(result)


@pytest.mark.parametrize("options", [{}, {"split": True}], ids=["folds", "one test set"])
def test_a_control_is_beaten_by_a_test_and_not_by_a_hair(options: dict[str, bool]) -> None:
    """Twins but for a little noise: whichever is ahead, neither is shown to be better."""
    X, y = blobs(N, 12, distance=2)
    noise = X.std(axis=0) * np.random.default_rng(0).normal(size=X.shape).astype(np.float32)
    hardly = X + 0.2 * noise
    meta = {"split": ["test" if i % 3 else "train" for i in range(N)]}
    controls = []
    for first, second in ((X, hardly), (hardly, X)):
        real = write_file(Path("real.h5"), first, y, meta=meta)
        control = write_file(Path("control.h5"), second, y, weights="random:0", meta=meta)
        result = fit([real, control], head=["logreg"], **options)  # type: ignore[arg-type]
        means = {score.extractor: score.mean for score in result.extractors}
        controls.append(means["real"] > means["control"])
        (finding,) = (f for f in result.findings if f.code == findings.CONTROL_WINS)
        words = "is not shown to be better than" if controls[-1] else "random weights do as well"
        assert words in finding.message
    assert sorted(controls) == [False, True]
    control = write_file(Path("control.h5"), X + 30 * noise, y, weights="random:0", meta=meta)
    result = fit([real, control], head=["logreg"], **options)  # type: ignore[arg-type]
    assert findings.CONTROL_WINS not in codes_of(result)
    assert result.winner["extractor"] == "real"


def test_every_code_is_described_in_the_docs() -> None:
    text = (Path(__file__).parents[2] / "docs" / "results.md").read_text()
    codes = [v for k, v in vars(findings).items() if k.isupper() and isinstance(v, str)]
    assert len(codes) >= 8
    for code in [*codes, scorable_labels.TOO_RARE]:
        assert f"`{code}`" in text


# Comparison and results


def test_every_pair_has_a_sentence() -> None:
    X, y = blobs(N, 12, distance=4)
    noise = np.random.default_rng(0).normal(size=X.shape).astype(np.float32)
    write_file(Path("good.h5"), X, y)
    write_file(Path("twin.h5"), X.copy(), y)
    write_file(Path("poor.h5"), 100 * noise, y)
    result = fit(["good.h5", "twin.h5", "poor.h5"], head=["logreg"], repeats=3)
    by_pair = {(c.first, c.second): c for c in result.comparisons}
    assert by_pair["good", "twin"].verdict == "same"
    assert (
        "practically the same (within 0.01), probability 1.00" in by_pair["good", "twin"].sentence
    )
    worse = by_pair["good", "poor"]
    assert worse.verdict == "better"
    assert worse.sentence.startswith(
        f"good over poor by {worse.difference:.3f} AUROC (95 % interval"
    )
    assert worse.sentence.endswith(f"better, probability {worse.better:.2f}")
    assert worse.p_holm >= worse.p


def test_extractors_are_compared_with_heads_that_the_training_rows_chose() -> None:
    result = fit(made(), head=["logreg", "lda", "knn", "dummy"])
    (score,) = result.extractors
    by_head = {row.head: row for row in result.ranking}
    for number, head in enumerate(score.heads):
        assert head != "dummy"
        gains = {name: row.folds[number]["gain"] for name, row in by_head.items()}
        assert gains[head] == max(value for name, value in gains.items() if name != "dummy")
        expected = by_head[head].folds[number]["metrics"]["auroc"]
        assert score.values[number] == expected
    low, high = score.interval
    assert low <= score.mean <= high


def test_the_learning_curve_grows_to_all_training_images() -> None:
    result = fit(made(), head=["lda"], cv=3, learning_curve=True)
    (curve,) = result.curves
    assert [point["share"] for point in curve.points] == [0.2, 0.4, 0.6, 0.8, 1.0]
    assert curve.points[-1]["images"] == 60
    assert curve.points[-1]["mean"] == pytest.approx(result.ranking[0].mean["auroc"], abs=1e-9)
    images = [point["images"] for point in curve.points]
    assert images == sorted(images)
    assert "more images of this kind would probably help little" in curve.sentence


def test_tables_are_drawn_from_the_saved_results_without_fitting_again() -> None:
    result = fit(made(), head=["logreg", "linear_svm"])
    saved = json.loads((result.run / "results.json").read_text())
    assert markdown_table(saved) == (result.run / "table.md").read_text()
    assert latex_table(saved) == (result.run / "table.tex").read_text()
    assert r"good & linear\_svm & $" in latex_table(saved)
    assert markdown_table(saved).count("\n") == 4


def test_sensitivity_is_also_given_at_the_specificity_that_was_asked_for() -> None:
    X, y = blobs(300, 12, distance=1.5)
    path = write_file(Path("hard.h5"), X, y)
    report = fit(path, head=["logreg"], specificity=0.8).reports[0]
    for entry in report.classes:
        assert entry.specificity_at == pytest.approx(0.8, abs=0.1)
        assert 0.2 < entry.sensitivity_at < 1


def test_results_follow_the_published_schema() -> None:
    schema = json.loads((Path(__file__).parents[2] / "docs/results.schema.json").read_text())
    validator = Draft202012Validator(schema)
    X, y = blobs(N, 12, distance=4)
    write_file(Path("good.h5"), X, y)
    write_file(Path("other.h5"), X[:, :6], y, weights="random")
    several = fit(["good.h5", "other.h5"], head=["logreg", "dummy"], learning_curve=True)
    split = ["val" if i % 3 == 0 else "train" for i in range(N)]
    single = fit(made("single.h5", meta={"split": split}), head=["dummy"], split=True)
    labelled = fit(multilabel()[0], head=["lda"])
    for result in (several, single, labelled):
        document = json.loads((result.run / "results.json").read_text())
        assert [error.message for error in validator.iter_errors(document)] == []
        with pytest.raises(ValidationError):
            validator.validate(document | {"metric": 7})
