from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cxrfeat.commands.fit import fit
from cxrfeat.reporting.checklist_files import about
from cxrfeat.results import FitResult, model_card
from tests.evaluation.made import blobs, write_file

N = 90
BLANK = "**[to be filled in by the author: "


@pytest.fixture
def fitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FitResult:
    monkeypatch.chdir(tmp_path)
    X, y = blobs(N, 12, distance=4)
    (tmp_path / "embeddings").mkdir()
    write_file(tmp_path / "embeddings" / "good.h5", X, y)
    return fit(head=["logreg", "dummy"])


def card_of(fitted: FitResult) -> str:
    return (fitted.run / "model_card.md").read_text(encoding="utf-8")


def test_the_card_beside_the_model_says_what_the_model_is(fitted: FitResult) -> None:
    card = card_of(fitted)
    saved = about(fitted.run / "model.skops")
    assert saved is not None
    assert card.startswith("# Model card: logreg on good\n\n**For research only. Not for diagno")
    for known in (
        saved["fingerprint"],
        "clear, opaque, streaked",
        "IMAGENET1K_V1",
        "| clear | 30 |",
    ):
        assert known in card
    assert "most probable class" in card
    assert "an unknown number of patients" in card


def test_the_card_gives_scores_with_spread_interval_and_findings(fitted: FitResult) -> None:
    card = card_of(fitted)
    score, report = fitted.ranking[0], fitted.reports[0]
    low, high = report.intervals["auroc"]
    row = (
        f"| auroc | {score.mean['auroc']:.3f} | {score.sd['auroc']:.3g} | {low:.3f} to {high:.3f} |"
    )
    assert row in card
    for finding in fitted.findings:
        assert f"- `{finding.code}`: {finding.message}" in card


def test_what_only_the_author_knows_is_a_marked_blank(fitted: FitResult) -> None:
    card = card_of(fitted)
    assert card.count(BLANK) == 6
    ethics = card.partition("## Ethical considerations\n\n")[2].partition("\n\n##")[0]
    assert ethics.startswith(BLANK)
    assert ethics.count("\n") == 0


def test_a_model_without_its_run_has_a_card_with_less(fitted: FitResult) -> None:
    saved = about(fitted.run / "model.skops")
    assert saved is not None
    card = model_card(saved)
    assert f"| auroc | {saved['training']['scores']['auroc']:.3f} |" in card
    assert "Spread and intervals: not at hand." in card
    assert "95 % interval |" not in card


def test_thresholds_and_random_weights_are_said(fitted: FitResult) -> None:
    saved = about(fitted.run / "model.skops")
    assert saved is not None
    chosen = {"clear": 0.25, "opaque": 0.5}
    card = model_card({**saved, "thresholds": chosen})
    assert "| thresholds | the most probable class is given; " in card
    assert "for the wanted specificity: clear 0.250, opaque 0.500 |" in card
    card = model_card({**saved, "kind": "multilabel", "thresholds": chosen})
    assert "| thresholds | clear 0.250, opaque 0.500 |" in card
    spec = {**saved["spec"], "weights": {"name": "random-seed-0"}}
    assert "never trained on a picture" in model_card({**saved, "spec": spec})


def test_no_card_without_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    X, y = blobs(N, 12, distance=4)
    write_file(tmp_path / "good.h5", X, y)
    result = fit("good.h5", head=["sklearn.gaussian_process:GaussianProcessClassifier"], cv=2)
    saved = (result.run / "model.skops").exists()
    assert (result.run / "model_card.md").exists() == saved
    assert ("model_card.md" in result.files) == saved
    assert np.isfinite(result.ranking[0].mean["auroc"])
