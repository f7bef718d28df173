"""Folds may be worked on anywhere: in threads, in other processes, on other machines."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from cxrfeat.errors import InputError
from cxrfeat.evaluation.heads.registry import HEADS, find_heads
from cxrfeat.evaluation.statistics.metrics import METRICS
from cxrfeat.evaluation.study.folds import Fold, cross_validation
from cxrfeat.evaluation.study.study import Extractor, Study
from cxrfeat.evaluation.validation.cross_validation import (
    Common,
    FoldDone,
    cross_validate,
    score_extractor,
)
from cxrfeat.evaluation.validation.label_shuffling import shuffled_labels
from cxrfeat.evaluation.validation.learning_curve import learning_curves
from cxrfeat.evaluation.validation.pieces import SHUFFLED
from cxrfeat.evaluation.validation.side_by_side import in_threads
from cxrfeat.evaluation.validation.tuning import Plan
from tests.evaluation.made import CLASSES, blobs

CV = 3
IMPORTED = "sklearn.neighbors:KNeighborsClassifier"


def made() -> tuple[list[Extractor], np.ndarray, np.ndarray, list[Fold]]:
    """Two extractors, truth, patients and folds."""
    X, y = blobs(90, 24, distance=2)
    extractors = [
        Extractor("all", X, False, {}, "1"),
        Extractor("both", X[:, :20], False, {}, "2", (4, 16)),
    ]
    groups = np.array([f"p{i // 2}" for i in range(90)])
    folds = cross_validation(y, groups, cv=CV, repeats=1, seed=0, classes=CLASSES)
    return extractors, y, groups, folds


def plan_of(*names: str) -> Plan:
    return Plan(find_heads(names), METRICS["auroc"], calibrate="isotonic")


def in_a_process(work: Any, tasks: Sequence[tuple[Any, ...]]) -> Iterator[tuple[int, Any]]:
    """Work in a process that shares no memory with this one."""
    fresh = multiprocessing.get_context("spawn")
    one_thread = {"initializer": threadpool_limits, "initargs": (1,)}
    with ProcessPoolExecutor(1, mp_context=fresh, **one_thread) as pool:
        places = {pool.submit(work, *task): place for place, task in enumerate(tasks)}
        for future in as_completed(places):
            yield places[future], future.result()


def bits(value: Any) -> Any:
    """Write everything that came out of the folds so that it can be compared to the bit."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, Mapping):
        return [(key, bits(one)) for key, one in value.items()]
    if isinstance(value, list | tuple):
        return [bits(one) for one in value]
    if hasattr(value, "__dict__"):
        return type(value).__name__, bits(vars(value))
    return np.float64(value).tobytes() if isinstance(value, float) else value


def test_a_process_gives_the_bits_that_threads_give(monkeypatch: pytest.MonkeyPatch) -> None:
    side_by_side = "cxrfeat.evaluation.validation.side_by_side"
    monkeypatch.setattr(f"{side_by_side}.available_cores", lambda: 2)  # one thread for each of two
    extractors, y, groups, folds = made()
    labels, plan = np.eye(3)[y], plan_of("logreg", IMPORTED)
    told: list[FoldDone] = []
    here, elsewhere = (
        cross_validate(extractors, labels, groups, folds, plan, run=run, progress=told.append)
        for run in (in_threads(2), in_a_process)
    )
    assert bits(here) == bits(elsewhere)
    assert set(here.outcomes) == {(e.name, h.name) for e in extractors for h in plan.heads}
    # Two extractors on three folds; each task does two heads and the control.
    assert [one.done for one in told] == [*range(3, 19, 3), *range(3, 19, 3)]
    assert {one.total for one in told} == {18}
    assert [one.left for one in told if one.done == one.total] == [0, 0]


def test_a_learning_curve_is_the_same_wherever_it_is_drawn() -> None:
    extractors, y, groups, folds = made()
    study = Study(
        ids=[str(i) for i in range(len(y))], classes=CLASSES, kind="multiclass",
        labels=np.eye(3, dtype=np.float32)[y], sha256=[""] * len(y), meta={},
        extractors=extractors[:1], notes=[],
    )  # fmt: skip
    best = {extractors[0].name: HEADS["lda"]}
    sent = partial(learning_curves, study, groups, folds, best, plan_of("lda"))
    assert bits(sent(run=backwards)) == bits(sent(run=in_threads(2)))


def backwards(work: Any, tasks: Sequence[tuple[Any, ...]]) -> Iterator[tuple[int, Any]]:
    """Send copies, as to another machine, and do the last task first."""
    for place, task in reversed(list(enumerate(tasks))):
        there, arguments = pickle.loads(pickle.dumps((work, task)))
        yield place, pickle.loads(pickle.dumps(there(*arguments)))


@pytest.mark.parametrize("name", [*HEADS, IMPORTED])
@pytest.mark.parametrize("exclusive", [True, False], ids=["classes", "labels"])
def test_a_fold_and_what_came_out_of_it_survive_pickling(name: str, exclusive: bool) -> None:
    extractors, y, groups, folds = made()
    labels = np.eye(3)[y]
    plan = replace(plan_of(name), exclusive=exclusive)
    common = Common(labels, groups, folds, plan, shuffled_labels(labels, groups, 0))
    asked = (name, SHUFFLED)
    here = score_extractor(common, extractors[1], 0, asked)
    there = score_extractor(*pickle.loads(pickle.dumps((common, extractors[1], 0, asked))))
    assert bits(here) == bits(there) == bits(pickle.loads(pickle.dumps(here)))
    assert set(here.outcomes) == set(here.retrained) == {name}


def test_an_error_of_a_fold_arrives_as_it_was() -> None:
    def work(number: int) -> int:
        if number == 2:
            raise InputError("the third has no image")
        return number

    with pytest.raises(InputError, match="the third has no image"):
        list(in_threads(1)(work, [(number,) for number in range(5)]))
