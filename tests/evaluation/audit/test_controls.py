"""How far controls come is measured from chance, with intervals, and answered by a stated rule."""

import numpy as np
import pytest

from cxrfeat.evaluation.audit.control_checks import control_checks_of, headline
from cxrfeat.evaluation.audit.controls import EDGES, NO_LUNGS, WHOLE, Control, Ladder, climb
from cxrfeat.evaluation.audit.subject import Subject
from cxrfeat.evaluation.heads.registry import HEADS
from cxrfeat.evaluation.statistics import metrics
from cxrfeat.evaluation.study.design import Asked, make_folds
from cxrfeat.evaluation.study.study import Extractor, Study
from cxrfeat.results.audit import Verdict
from tests.evaluation.made import blobs


def subject_of(
    X: np.ndarray, y: np.ndarray, metric: str = "auroc", groups: np.ndarray | None = None
) -> Subject:
    n_classes = int(y.max()) + 1
    study = Study(
        ids=[f"{number:04d}" for number in range(len(X))],
        classes=[f"class {k}" for k in range(n_classes)],
        kind="multiclass",
        labels=np.eye(n_classes, dtype=np.float32)[y],
        sha256=[""] * len(X),
        meta={} if groups is None else {"group": groups},
        extractors=[Extractor("net", X.astype(np.float32), False, {}, "")],
        notes=[],
    )
    return Subject(
        study, make_folds(study, Asked()), HEADS["logreg"], metrics.metric(metric), jobs=1
    )


def noise(n: int, seed: int = 0, dimension: int = 4) -> np.ndarray:
    return np.random.default_rng((seed, 7)).normal(size=(n, dimension)).astype(np.float32)


def leak(y: np.ndarray, strength: float) -> np.ndarray:
    X = noise(len(y))
    X[:, 0] += strength * y
    return X


def test_a_control_that_knows_nothing_is_not_found() -> None:
    X, y = blobs(240, 20, distance=6.0)
    ladder = climb(subject_of(X, y), "net", [Control("frame", NO_LUNGS, noise(240))])
    blind, untrained = control_checks_of(ladder)
    assert (blind.verdict, untrained.verdict) == (Verdict.NOT_FOUND, Verdict.NOT_FOUND)
    assert blind.detectable < 0.5
    share = blind.figures[0]
    assert share.interval[0] < 0 < share.interval[1]


def test_a_control_that_sees_no_lungs_and_the_label_is_found_with_its_share() -> None:
    X, y = blobs(240, 20, distance=6.0, n_classes=2)
    controls = [
        Control("frame", NO_LUNGS, leak(y, 2.0)),
        Control("pixels", WHOLE, noise(240, 1)),
    ]
    ladder = climb(subject_of(X, y), "net", controls)
    blind, untrained = control_checks_of(ladder)
    assert blind.verdict is Verdict.FOUND
    frame, full = ladder.rungs[1].score.mean, ladder.full.score.mean
    assert blind.figures[0].value == pytest.approx((frame - 0.5) / (full - 0.5))
    assert blind.figures[1].value == pytest.approx((full - frame) / (1 - frame))
    low, high = blind.figures[0].interval
    assert low < blind.figures[0].value < high
    assert f"{blind.figures[0].value:.0%}" in headline(ladder)
    assert "frame" in headline(ladder)
    assert untrained.figures[0].value == pytest.approx(full - frame)
    (table,) = blind.tables
    assert [row[0] for row in table.rows] == ["majority", "frame", "pixels", "net"]
    assert all(len(row) == len(table.columns) for row in table.rows)


def test_a_share_of_no_score_and_one_below_chance_are_said_in_words() -> None:
    """A headline of -28 % (-183 % to 127 %) stood beside "not above chance"."""
    X, y = blobs(60, 20, distance=0.0, n_classes=2)
    said = headline(climb(subject_of(X, y), "net", [Control("frame", NO_LUNGS, noise(60))]))
    assert "net is not shown to be above chance on these images (macro AUROC 0." in said
    assert "%" not in said
    X, y = blobs(240, 20, distance=6.0, n_classes=2)
    worse = np.random.default_rng(1).normal(size=(240, 2)).astype(np.float32)
    ladder = climb(subject_of(X, y), "net", [Control("frame", NO_LUNGS, worse)])
    assert ladder.rungs[1].score.mean < 0.5
    assert headline(ladder).startswith(
        "Without seeing the lungs, 'frame' is no better than chance (macro AUROC 0."
    )


def test_the_best_control_of_all_may_see_the_lungs() -> None:
    X, y = blobs(240, 20, distance=6.0, n_classes=2)
    controls = [
        Control("frame", NO_LUNGS, noise(240)),
        Control("margins", EDGES, leak(y, 1.0)),
        Control("the same again", WHOLE, X),
    ]
    ladder = climb(subject_of(X, y), "net", controls)
    blind, untrained = control_checks_of(ladder)
    assert blind.verdict is Verdict.NOT_FOUND  # what sees the margins of the lungs is not blind
    assert untrained.verdict is Verdict.FOUND  # practically the same as itself
    assert "The best control of all, 'the same again'" in headline(ladder)


def test_with_few_patients_not_finding_anything_is_no_answer() -> None:
    X, y = blobs(30, 10, distance=8.0, n_classes=2)
    ladder = climb(subject_of(X, y), "net", [Control("frame", NO_LUNGS, noise(30))])
    blind, _ = control_checks_of(ladder)
    assert blind.verdict is Verdict.UNTESTED
    assert blind.detectable > 0.5
    assert "too few patients" in blind.answer


def test_where_the_full_image_is_at_chance_there_is_nothing_to_explain() -> None:
    y = np.arange(120) % 2
    ladder = climb(subject_of(noise(120, 3), y), "net", [Control("frame", NO_LUNGS, noise(120))])
    blind, _ = control_checks_of(ladder)
    assert blind.verdict is Verdict.UNTESTED
    assert "not above chance" in blind.answer


def test_without_pictures_both_questions_are_untested() -> None:
    X, y = blobs(60, 10, distance=6.0, n_classes=2)
    checks = control_checks_of(climb(subject_of(X, y), "net", []))
    assert [check.verdict for check in checks] == [Verdict.UNTESTED] * 2
    assert all("--images" in check.answer for check in checks)


@pytest.mark.parametrize(
    ("metric", "chance", "within"),
    [
        ("auroc", 0.5, 1e-12),
        ("accuracy", 0.75, 1e-12),
        ("balanced_accuracy", 0.5, 0.04),
        ("mcc", 0.0, 0.08),
        ("f1", 0.5, 0.05),
        ("auprc", 0.5, 1e-2),
        ("log_loss", 0.5623, 1e-3),
        ("brier", 0.375, 1e-3),
    ],
)
def test_chance_is_what_needs_no_picture(metric: str, chance: float, within: float) -> None:
    """With three quarters in one class; F1, of which the majority has 0.43, by dealing out."""
    random = np.random.default_rng(0)
    y = (np.arange(240) % 4 == 0).astype(int)
    X = random.normal(size=(240, 10)).astype(np.float32)
    X[:, 0] += 4 * y
    ladder = climb(subject_of(X, y, metric), "net", [Control("frame", NO_LUNGS, noise(240))])
    assert ladder.chance == pytest.approx(chance, abs=within)
    share = ladder.share_reached(ladder.full)
    assert share.value == pytest.approx(1)
    assert np.ptp(share.interval) == pytest.approx(0, abs=1e-9)
    assert control_checks_of(ladder)[0].verdict is Verdict.NOT_FOUND


def verdicts(draws: int, strength: float) -> list[Verdict]:
    found = []
    for draw in range(draws):
        X, y = blobs(150, 8, distance=5.0, n_classes=2, seed=draw)
        controls = [Control(f"c{k}", NO_LUNGS, noise(150, 100 * draw + k)) for k in range(3)]
        controls[0].X[:, 0] += np.float32(strength) * y
        found.append(control_checks_of(_climbed(X, y, controls))[0].verdict)
    return found


def _climbed(X: np.ndarray, y: np.ndarray, controls: list[Control]) -> Ladder:
    return climb(subject_of(X, y), "net", controls)


@pytest.mark.slow
def test_controls_that_know_nothing_are_rarely_found_and_one_that_does_nearly_always() -> None:
    assert verdicts(60, 0.0).count(Verdict.FOUND) <= 5  # 5 % of 60 are 3; more than 5 has p 0.03
    assert verdicts(20, 1.2).count(Verdict.FOUND) >= 19
