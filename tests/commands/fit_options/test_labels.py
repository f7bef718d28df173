"""Any number of labels for an image, known or not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from cxrfeat import model
from cxrfeat.errors import InputError
from cxrfeat.evaluation.study import scorable_labels
from tests.commands.fit_options.made import N, fit, multilabel
from tests.evaluation.made import blobs, write_file


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
