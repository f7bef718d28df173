"""Noise must stay noise: embeddings that know nothing, with several near copies per patient."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from cxrfeat.commands.fit import fit as fit_with_page
from cxrfeat.evaluation.heads.registry import FLOOR, find_heads
from cxrfeat.evaluation.outcome import findings
from tests.evaluation.made import write_file

fit = partial(fit_with_page, report=False)  # the page has tests of its own

PATIENTS, COPIES, DIMENSION = 200, 3, 12


def noise(folder: Path, seed: int, patients: int = PATIENTS) -> Path:
    """Write embeddings of `patients` whose classes were drawn by lot."""
    random = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients), COPIES)
    X = random.normal(size=(patients, DIMENSION))[patient]
    X += 0.05 * random.normal(size=X.shape)
    y = random.permutation(np.arange(patients) % 2)[patient]
    groups = [f"p{i}" for i in patient]
    return write_file(
        folder / f"noise{seed}.h5",
        X.astype(np.float32),
        y,
        classes=["a", "b"],
        meta={"group": groups},
    )


def mean_scores(folder: Path, seeds: range, **options: object) -> dict[str, float]:
    scores: dict[str, list[float]] = {}
    for seed in seeds:
        result = fit(
            noise(folder, seed),
            out=folder / f"run{seed}",
            seed=seed,
            **options,  # type: ignore[arg-type]
        )
        for score in result.ranking:
            scores.setdefault(score.head, []).append(score.mean["auroc"])
    return {head: float(np.mean(values)) for head, values in scores.items()}


@pytest.mark.slow
@pytest.mark.parametrize("calibrate", [None, "sigmoid", "isotonic"])
def test_noise_scores_as_chance_with_every_head_when_patients_stay_together(
    tmp_path: Path, calibrate: str | None
) -> None:
    # The mean of 30 draws of 200 patients has a standard error of about 0.009.
    scores = mean_scores(tmp_path, range(30), calibrate=calibrate)
    assert set(scores) == {head.name for head in find_heads(None)}
    for head, score in scores.items():
        assert score == pytest.approx(0.5, abs=0.03), head


def test_noise_is_not_shown_to_be_better_than_guessing(tmp_path: Path) -> None:
    result = fit(noise(tmp_path, 0), out=tmp_path / "run", head=["logreg", "lda", "dummy"])
    codes = [finding.code for finding in result.findings]
    assert codes.count(findings.NOT_BETTER) == 2
    assert findings.PATIENTS_ACROSS not in codes
    assert findings.PERMUTED not in codes
    assert result.permuted["noise0"] == pytest.approx(0.5, abs=0.03)


def test_split_by_image_noise_looks_like_knowledge_and_the_findings_say_so(
    tmp_path: Path,
) -> None:
    heads = ["knn", "svm_rbf", "dummy"]
    result = fit(noise(tmp_path, 0), out=tmp_path / "run", head=heads, groups="none")
    leaked = {score.head: score.mean["auroc"] for score in result.ranking}
    assert min(leaked[head] for head in heads if head != FLOOR) > 0.9
    codes = [finding.code for finding in result.findings]
    assert findings.PATIENTS_ACROSS in codes
    assert findings.PERMUTED in codes
    assert findings.NOT_BETTER not in codes


def test_labels_are_shuffled_among_patients_and_keep_them_whole() -> None:
    from cxrfeat.evaluation.validation.label_shuffling import shuffled_labels

    groups = np.repeat(["a", "b", "c", "d"], 3)
    labels = np.eye(2)[np.repeat([0, 0, 1, 1], 3)]
    shuffled = shuffled_labels(labels, groups, seed=0)
    assert shuffled.shape == (12, 20, 2)
    for one in np.moveaxis(shuffled, 1, 0):
        assert one.sum(axis=0).tolist() == [6, 6]
        for patient in "abcd":
            assert len(np.unique(one[groups == patient], axis=0)) == 1
