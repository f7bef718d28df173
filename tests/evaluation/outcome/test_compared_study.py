"""A compared study answers when it is asked, once, and in any order the same."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from cxrfeat.evaluation.heads.registry import find_heads
from cxrfeat.evaluation.outcome.compared_study import ComparedStudy
from cxrfeat.evaluation.statistics.metrics import METRICS
from cxrfeat.evaluation.study.design import Asked, make_folds, plan_comparison
from cxrfeat.evaluation.study.study import Extractor, Study
from cxrfeat.evaluation.validation.cross_validation import cross_validate
from cxrfeat.evaluation.validation.side_by_side import in_threads
from cxrfeat.evaluation.validation.tuning import Plan
from tests.evaluation.made import CLASSES, blobs

ANSWERS = (
    "ranking", "heads", "winner", "why_winner", "winner_nested", "reports", "extractors",
    "comparisons", "permuted", "findings", "search_notes", "report_notes", "intervals_over",
    "learning_curves",
)  # fmt: skip


def made(seed: int = 0, distance: float = 1) -> ComparedStudy:
    X, y = blobs(90, 12, distance=distance, seed=seed)
    study = Study(
        ids=[str(i) for i in range(90)],
        classes=CLASSES,
        kind="multiclass",
        labels=np.eye(3, dtype=np.float32)[y],
        sha256=[""] * 90,
        meta={"group": np.array([f"p{i // 2}" for i in range(90)])},
        extractors=[
            Extractor("whole", X, False, {}, "1"),
            Extractor("half", X[:, :6], False, {}, "2"),
        ],
        notes=[],
    )
    design = make_folds(study, Asked(cv=3))
    plan = Plan(find_heads(["lda", "knn", "dummy"]), METRICS["auroc"])
    labels = study.labels.astype(float)
    validated = cross_validate(study.extractors, labels, design.groups, design.folds, plan)
    return ComparedStudy(study, design, validated, plan)


@pytest.fixture(scope="module")
def compared() -> ComparedStudy:
    return made()


def test_nothing_is_computed_before_it_is_asked_for() -> None:
    one = made()
    given = {field.name for field in fields(one)}
    assert set(vars(one)) == given
    assert one.winner.head in ("lda", "knn")
    # The winner needs the ranking, and neither intervals of pairs nor models trained anew.
    assert set(vars(one)) - given == {"out_of_fold", "ranking", "heads", "winner"}


def test_answers_do_not_depend_on_the_order_of_the_questions(compared: ComparedStudy) -> None:
    forwards = {name: repr(getattr(compared, name)) for name in ANSWERS}
    other = made()
    backwards = {name: repr(getattr(other, name)) for name in reversed(ANSWERS)}
    assert forwards == backwards


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_is_computed_once(compared: ComparedStudy, name: str) -> None:
    assert getattr(compared, name) is getattr(compared, name)


def test_the_number_of_threads_changes_no_bit() -> None:
    """Of whatever is counted and drawn, on unequal patients with unknown labels."""
    random = np.random.default_rng(0)
    X, _ = blobs(150, 12, distance=1)
    labels = (random.random((150, 3)) < [0.5, 0.3, 0.2]).astype(np.float32)
    labels[random.random((150, 3)) < 0.1] = np.nan
    study = replace(
        made().study,
        ids=[str(i) for i in range(150)],
        kind="multilabel",
        labels=labels,
        sha256=[""] * 150,
        meta={"group": np.array([f"p{number}" for number in random.integers(0, 60, 150)])},
        extractors=[Extractor(name, X[:, k:], False, {}, name) for k, name in enumerate("abc")],
    )
    study, design = plan_comparison(study, Asked(cv=3))
    for metric in ("auprc", "brier"):
        plan = Plan(find_heads(["lda", "dummy"]), METRICS[metric], exclusive=False)
        validated = cross_validate(
            study.extractors, study.labels.astype(float), design.groups, design.folds, plan
        )
        found = []
        for jobs in (1, 3):
            one = ComparedStudy(study, design, validated, plan, run=in_threads(jobs))
            found.append(
                [repr(getattr(one, name)) for name in ANSWERS if name != "learning_curves"]
            )
            found[-1].append(repr([pair.bootstrap for pair in one.comparisons]))
        assert found[0] == found[1]


@pytest.mark.parametrize("seed", [0, 1, 4, 5])
def test_what_is_called_best_leads_the_extractors_with_the_head_that_training_rows_chose(
    seed: int,
) -> None:
    """Whatever stands first in the ranking, which is flattered; reports are of the same heads."""
    one = made(seed)
    leader = one.extractors[0].extractor
    gained = {
        head: np.mean([of_heads[head] for of_heads in one.out_of_fold.gained[leader]])
        for head in ("lda", "knn")
    }
    best = (leader, max(gained, key=gained.__getitem__))
    assert (one.winner.extractor, one.winner.head) == best
    assert (one.reports[0].extractor, one.reports[0].head) == best
    assert one.why_winner.startswith(f"{leader} leads the extractors (macro AUROC ")
    assert f"of its heads {best[1]} does best on held-out training images" in one.why_winner


def test_extractors_and_heads_that_do_equally_well_are_said_to() -> None:
    why = made(distance=100).why_winner
    assert why.startswith("whole is the first of equals, with half (macro AUROC 1.000, heads")
    assert "is the first of those that do best on held-out training images (1.000, as " in why


def test_the_best_is_not_called_flattered_where_choosing_inside_the_folds_scores_as_much() -> None:
    one = made(distance=100)
    assert one.ranking[0].mean["auroc"] == one.extractors[0].mean == 1.0
    assert "winner-chosen-on-its-scores" not in {finding.code for finding in one.findings}


def test_the_ranking_may_begin_with_another_extractor_than_what_is_called_best() -> None:
    one = next(one for one in map(made, range(20)) if one.ranking[0] is not one.winner)
    (flattered,) = (f for f in one.findings if f.code == "winner-chosen-on-its-scores")
    first, best = one.ranking[0], one.winner
    assert flattered.message.startswith(f"{first.extractor} with {first.head} is the best of 4")
    assert f"so {best.extractor} with {best.head} is called best" in flattered.message
