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
    "ranking", "winner", "winner_nested", "reports", "extractors", "comparisons", "permuted",
    "findings", "search_notes", "report_notes", "intervals_over", "learning_curves",
)  # fmt: skip


def made() -> ComparedStudy:
    X, y = blobs(90, 12, distance=1)
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
    assert set(vars(one)) - given == {"out_of_fold", "ranking", "winner"}


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
